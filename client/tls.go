package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
)

// WithCAFile trusts the certificates in a PEM file, instead of the system's, to vouch for the service. The file is looked at
// for each new connection, so that it may be replaced. While what is there is not good, what was there before counts.
func WithCAFile(path string) Option {
	return func(s *settings) (err error) {
		if s.tls.roots, err = readFiles(parseRoots, path); err != nil {
			return fmt.Errorf("WithCAFile: %w", err)
		}
		return nil
	}
}

// WithCertificateFiles shows the service a client certificate: a PEM file of the certificate, with its intermediates if
// it has any, and one of its private key. The files are looked at for each new connection, so that they may be replaced,
// in any order: while they do not fit together, the pair that was there before is used.
func WithCertificateFiles(certificate, key string) Option {
	return func(s *settings) (err error) {
		if s.tls.certificate, err = readFiles(parseCertificate, certificate, key); err != nil {
			return fmt.Errorf("WithCertificateFiles: %w", err)
		}
		return nil
	}
}

func parseRoots(contents [][]byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(contents[0]) {
		return nil, errors.New("no PEM certificate in it")
	}
	return roots, nil
}

func parseCertificate(contents [][]byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	return &pair, err
}

// tlsFiles are the files of a TLS connection. Without roots the system's count; without a certificate none is shown.
type tlsFiles struct {
	roots       *fileValue[*x509.CertPool]
	certificate *fileValue[*tls.Certificate]
}

func (f tlsFiles) given() bool { return f.roots != nil || f.certificate != nil }

func (f tlsFiles) config() *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.roots != nil {
		config.RootCAs = f.roots.get()
	}
	if f.certificate != nil {
		config.Certificates = []tls.Certificate{*f.certificate.get()}
	}
	return config
}

// handshakeTLS is TLS whose files are looked at for each handshake.
type handshakeTLS struct {
	credentials.TransportCredentials // TLS as well, for what it says of itself

	files tlsFiles
}

func newHandshakeTLS(files tlsFiles) handshakeTLS {
	return handshakeTLS{TransportCredentials: credentials.NewTLS(nil), files: files}
}

// ClientHandshake implements credentials.TransportCredentials.
func (h handshakeTLS) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(h.files.config()).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (h handshakeTLS) Clone() credentials.TransportCredentials { return h }
