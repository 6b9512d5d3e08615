package servicetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// An Authority issues certificates that nobody else trusts.
type Authority struct {
	tb   testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

// NewAuthority makes an authority. What it does not succeed in ends the test.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	a := &Authority{tb: tb}
	template := a.template("authority")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign
	a.key = a.newKey()
	a.cert = a.sign(template, template, a.key)
	return a
}

// Roots returns a pool with this authority alone.
func (a *Authority) Roots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return roots
}

// WriteRoots writes the authority's certificate to a PEM file.
func (a *Authority) WriteRoots(path string) {
	a.tb.Helper()
	a.write(path, "CERTIFICATE", a.cert.Raw)
}

// Issue returns a certificate for the DNS name, good for servers at 127.0.0.1 and for clients.
func (a *Authority) Issue(name string) tls.Certificate {
	a.tb.Helper()
	key, template := a.newKey(), a.template(name)
	template.DNSNames, template.IPAddresses = []string{name}, []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf := a.sign(template, a.cert, key)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// Write issues a certificate for name into two PEM files. An empty path is not written to.
func (a *Authority) Write(name, certificate, key string) {
	a.tb.Helper()
	issued := a.Issue(name)
	der, err := x509.MarshalPKCS8PrivateKey(issued.PrivateKey)
	if err != nil {
		a.tb.Fatal(err)
	}
	if certificate != "" {
		a.write(certificate, "CERTIFICATE", issued.Certificate[0])
	}
	if key != "" {
		a.write(key, "PRIVATE KEY", der)
	}
}

func (a *Authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatal(err)
	}
	return key
}

func (a *Authority) template(name string) *x509.Certificate {
	a.next++
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.next),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(time.Hour),
	}
}

func (a *Authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		a.tb.Fatal(err)
	}
	issued, err := x509.ParseCertificate(der)
	if err != nil {
		a.tb.Fatal(err)
	}
	return issued
}

func (a *Authority) write(path, kind string, der []byte) {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		a.tb.Fatal(err)
	}
}
