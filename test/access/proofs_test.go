package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// secretOf is the secret of a caller, and hashOf what the policy says of it.
func secretOf(caller string) string { return "rcs_SECRET-OF-" + caller }

func hashOf(caller string) string {
	sum := sha256.Sum256([]byte(secretOf(caller)))
	return hex.EncodeToString(sum[:])
}

func bearer(caller string) headers { return authorization("Bearer " + secretOf(caller)) }

func basic(user, caller string) headers {
	return authorization("Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secretOf(caller))))
}

// xfcc is what a sidecar says of the caller for whom it speaks.
func xfcc(caller string) headers {
	return headers{"x-forwarded-client-cert", `By=spiffe://example.org/server;Hash=00;Subject="CN=x";URI=` + spiffe(caller)}
}

func spiffe(caller string) string { return "spiffe://example.org/" + caller }

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         string
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = block("CERTIFICATE", der)
	return a
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// issued is a certificate with its key, as files hold them.
type issued struct{ certificate, key string }

func (i issued) pair(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(i.certificate), []byte(i.key))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// issue signs what change makes of a certificate that is valid from an hour ago to an hour from now.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) issued {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "test"}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	change(template)
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issued{block("CERTIFICATE", der), block("PRIVATE KEY", text)}
}

// server is a certificate for loopback.
func (a *authority) server(t *testing.T) issued {
	t.Helper()
	return a.issue(t, func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
}

// uri and dns are client certificates.
func (a *authority) uri(t *testing.T, id string) tls.Certificate {
	t.Helper()
	return a.issue(t, func(c *x509.Certificate) {
		u, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs, c.ExtKeyUsage = []*url.URL{u}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}).pair(t)
}

func (a *authority) dns(t *testing.T, name string) tls.Certificate {
	t.Helper()
	return a.issue(t, func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}).pair(t)
}

// served is a directory with the files by which a server speaks TLS.
type served struct{ dir string }

// serve writes the files, that of the clients' authority only if there is one, and returns the settings that name them.
func serve(t *testing.T, server issued, clients *authority) (served, []string) {
	t.Helper()
	s := served{t.TempDir()}
	args := []string{"--tls-certificate-file=" + s.path("tls.crt"), "--tls-key-file=" + s.path("tls.key")}
	put(t, s.path("tls.crt"), server.certificate)
	put(t, s.path("tls.key"), server.key)
	if clients != nil {
		put(t, s.path("ca.crt"), clients.pem)
		args = append(args, "--tls-client-ca-file="+s.path("ca.crt"))
	}
	return s, args
}

func (s served) path(name string) string { return filepath.Join(s.dir, name) }

// issuer signs JWTs.
type issuer struct {
	name   string
	key    *ecdsa.PrivateKey
	signer jose.Signer
}

const audience = "recoverycodes"

func newIssuer(t *testing.T, name string) *issuer {
	t.Helper()
	i := &issuer{name: name, key: newKey(t)}
	var err error
	i.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "k1"}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// keys is the set of the issuer's public keys.
func (i *issuer) keys(t *testing.T) []byte {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &i.key.PublicKey, KeyID: "k1", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// token is a JWT of the issuer's about a subject, for this server and for an hour, as a header. change may be nil.
func (i *issuer) token(t *testing.T, subject string, change func(*jwt.Claims)) headers {
	t.Helper()
	claims := jwt.Claims{
		Issuer: i.name, Subject: subject, Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(time.Now()), Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
	}
	if change != nil {
		change(&claims)
	}
	text, err := jwt.Signed(i.signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return authorization("Bearer " + text)
}

// socketDir is a directory whose name is short enough for sockets in it.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "doors")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
