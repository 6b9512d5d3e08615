package access

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
}

// issued is a certificate and its key in PEM.
type issued struct{ cert, key []byte }

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, pem: encode("CERTIFICATE", der)}
}

func (a *authority) issue(t *testing.T, with func(*x509.Certificate)) issued {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	with(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issued{encode("CERTIFICATE", der), encode("PRIVATE KEY", pkcs8)}
}

func (i issued) parse(t *testing.T) *x509.Certificate {
	t.Helper()
	all, err := parseCertificates(i.cert)
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

func TestCertificateIdentity(t *testing.T) {
	const id = "spiffe://example.org/ns/web/sa/login"
	tests := []struct {
		name  string
		uris  []string
		names []string
		want  identity
		err   string
	}{
		{name: "a URI", uris: []string{id}, want: identity{kind: spiffeID, value: id}},
		{name: "a URI with capitals in its path", uris: []string{"spiffe://td/Login"},
			want: identity{kind: spiffeID, value: "spiffe://td/Login"}},
		{name: "a URI counts before DNS names", uris: []string{id}, names: []string{"a.example", "b.example"},
			want: identity{kind: spiffeID, value: id}},
		{name: "a DNS name", names: []string{"Login.Example.ORG"}, want: identity{kind: dnsName, value: "login.example.org"}},
		{name: "two URIs", uris: []string{id, id + "2"}, err: "ambiguous"},
		{name: "the same URI twice", uris: []string{id, id}, err: "ambiguous"},
		{name: "two DNS names", names: []string{"a.example", "b.example"}, err: "ambiguous"},
		{name: "nothing", err: "neither"},
		{name: "a URI of another kind is not passed over for the DNS name", uris: []string{"https://example.org/x"},
			names: []string{"a.example"}, err: "not a SPIFFE id"},
		{name: "a wildcard", names: []string{"*.example.org"}, err: "not a host's name"},
	}
	ca := newAuthority(t, "clients")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cert := ca.issue(t, func(c *x509.Certificate) {
				c.Subject.CommonName = "subjects.are.not.looked.at"
				c.DNSNames = tt.names
				for _, uri := range tt.uris {
					u, err := url.Parse(uri)
					if err != nil {
						t.Fatal(err)
					}
					c.URIs = append(c.URIs, u)
				}
			}).parse(t)
			got, err := certificateIdentity(cert)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestSPIFFEID(t *testing.T) {
	tests := []struct {
		name, id string
		want     bool
	}{
		{"a workload", "spiffe://example.org/ns/web/sa/login", true},
		{"every character", "spiffe://a-b_c.9/aZ09.-_", true},
		{"dots in a segment", "spiffe://td/...", true},
		{"2048 characters", "spiffe://td/" + strings.Repeat("x", 2036), true},
		{"2049 characters", "spiffe://td/" + strings.Repeat("x", 2037), false},
		{"trust domain of 256", "spiffe://" + strings.Repeat("x", 256) + "/a", false},
		{"empty", "", false},
		{"another scheme", "https://td/a", false},
		{"scheme in capitals", "SPIFFE://td/a", false},
		{"trust domain in capitals", "spiffe://TD/a", false},
		{"no trust domain", "spiffe:///a", false},
		{"no path", "spiffe://td", false},
		{"empty path", "spiffe://td/", false},
		{"slash at the end", "spiffe://td/a/", false},
		{"empty segment", "spiffe://td/a//b", false},
		{"dot", "spiffe://td/a/./b", false},
		{"dot dot", "spiffe://td/a/../b", false},
		{"port", "spiffe://td:1/a", false},
		{"user", "spiffe://u@td/a", false},
		{"query", "spiffe://td/a?b", false},
		{"fragment", "spiffe://td/a#b", false},
		{"escape", "spiffe://td/%61", false},
		{"comma", "spiffe://td/a,URI=spiffe://td/b", false},
		{"semicolon", "spiffe://td/a;b", false},
		{"space", "spiffe://td/a b", false},
		{"space before", " spiffe://td/a", false},
		{"line feed after", "spiffe://td/a\n", false},
		{"not ASCII", "spiffe://td/é", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := validSPIFFEID(tt.id); got != tt.want {
				t.Errorf("%q: got %v, want %v", tt.id, got, tt.want)
			}
		})
	}
}
