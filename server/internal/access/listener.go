package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"recoverycodes.internal/server/internal/reload"
)

// TLSFiles is how a door speaks TLS.
type TLSFiles struct {
	Certificate, Key string // PEM files: the server's chain, its own certificate first, and the private key
	// ClientCA is a PEM file of the authorities whose client certificates are accepted. When it is empty, none is
	// asked for. When it is not, a client need not show one, but one that it shows must be good.
	ClientCA string
	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13, which is also what zero means.
	MinVersion uint16
}

// suites are those of TLS 1.2 with forward secrecy and authenticated encryption; TLS 1.3 has no others.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// TLS holds the certificates that the doors use, and exchanges them when their files change. Connections that are open
// stay, with what they were opened with. It is safe for concurrent use.
type TLS struct {
	files   TLSFiles
	watcher *reload.Watcher
	current atomic.Pointer[loadedTLS]
}

// loadedTLS is what the files held at one time.
type loadedTLS struct {
	certificate tls.Certificate
	clientCAs   *x509.CertPool // nil when clients are not asked
	notAfter    time.Time
}

// NewTLS reads the files. Files that are missing, do not belong together, or hold a certificate that is not valid now
// are an error. Once Run looks at them, every so often, such files change nothing and are told to failed, once for
// each state.
func NewTLS(files TLSFiles, every time.Duration, failed func(error)) (*TLS, error) {
	if files.Certificate == "" || files.Key == "" {
		return nil, errors.New("TLS: needs a certificate and a key")
	}
	if files.MinVersion == 0 {
		files.MinVersion = tls.VersionTLS13
	}
	if files.MinVersion != tls.VersionTLS12 && files.MinVersion != tls.VersionTLS13 {
		return nil, errors.New("TLS: the lowest version is neither 1.2 nor 1.3")
	}
	t := &TLS{files: files}
	paths := []string{files.Certificate, files.Key}
	if files.ClientCA != "" {
		paths = append(paths, files.ClientCA)
	}
	var err error
	t.watcher, err = reload.New(every, paths, t.apply, func(err error) {
		failed(fmt.Errorf("TLS: not reloaded: %w", err))
	})
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return t, nil
}

// Run looks after the files until ctx ends.
func (t *TLS) Run(ctx context.Context) { t.watcher.Run(ctx) }

// NotAfter is when the server's certificate in use ends.
func (t *TLS) NotAfter() time.Time { return t.current.Load().notAfter }

// Config returns a door's configuration, which follows the files. nextProtos are the protocols of the door, the
// favourite first: they must be complete, since what a server adds to them later is not heeded.
func (t *TLS) Config(nextProtos ...string) *tls.Config {
	base := &tls.Config{
		MinVersion:   t.files.MinVersion,
		CipherSuites: suites,
		NextProtos:   slices.Clone(nextProtos),
		// A resumed session would bring the identity of a certificate that is not looked at again, perhaps of an
		// authority that has been removed since.
		SessionTicketsDisabled: true,
	}
	whole := base.Clone()
	whole.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := t.current.Load()
		config := base.Clone()
		config.Certificates = []tls.Certificate{now.certificate}
		if now.clientCAs != nil {
			config.ClientAuth = tls.VerifyClientCertIfGiven
			config.ClientCAs = now.clientCAs
		}
		return config, nil
	}
	return whole
}

// apply checks the contents of the files and puts them in force. Its errors name the file's role.
func (t *TLS) apply(contents [][]byte) error {
	chain, err := parseCertificates(contents[0])
	if err != nil {
		return fmt.Errorf("certificate %s: %w", t.files.Certificate, err)
	}
	next := &loadedTLS{notAfter: chain[0].NotAfter}
	switch now := time.Now(); {
	case now.After(chain[0].NotAfter):
		return fmt.Errorf("certificate %s: expired on %s", t.files.Certificate, chain[0].NotAfter.UTC().Format(time.RFC3339))
	case now.Before(chain[0].NotBefore):
		return fmt.Errorf("certificate %s: not valid before %s", t.files.Certificate,
			chain[0].NotBefore.UTC().Format(time.RFC3339))
	}
	if next.certificate, err = tls.X509KeyPair(contents[0], contents[1]); err != nil {
		return fmt.Errorf("key %s: does not fit the certificate %s, or is none: %w", t.files.Key, t.files.Certificate, err)
	}
	if t.files.ClientCA != "" {
		if next.clientCAs, err = authorities(contents[2]); err != nil {
			return fmt.Errorf("client CA %s: %w", t.files.ClientCA, err)
		}
	}
	t.current.Store(next)
	return nil
}

// authorities reads the certificates of authorities from PEM.
func authorities(data []byte) (*x509.CertPool, error) {
	all, err := parseCertificates(data)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, cert := range all {
		if !cert.IsCA {
			return nil, errors.New("holds a certificate that is not an authority's")
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

// parseCertificates reads the certificates in PEM, at least one. Other blocks are passed over, a certificate that
// cannot be read is not.
func parseCertificates(data []byte) (all []*x509.Certificate, err error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("holds a certificate that cannot be read")
		}
		all = append(all, cert)
	}
	if all == nil {
		return nil, errors.New("holds no certificate in PEM")
	}
	return all, nil
}
