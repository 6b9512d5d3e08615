package mesh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"recoverycodes.internal/test/daemon"
)

// policy trusts whoever reaches the sockets to say who calls, which is to be the proxy alone.
const policy = `
trusted_sidecars:
  unix_socket: true
callers:
  - name: login
    match: { spiffe_id: "spiffe://example.org/login" }
    methods: [Get]
    organizations: ["*"]
`

// TestForwardedIdentity has a caller write x-forwarded-client-cert himself: a proxy that is not told about the header
// passes it, and the caller is whom he claims to be. One that is told takes it away, and one that speaks mutual TLS puts
// the caller's own workload in its place.
func TestForwardedIdentity(t *testing.T) {
	keys := newKeys(t)
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, policy)
	r := newReplica(t, daemon.StartSandbox(t, false), "--policy="+path)
	forged := []string{"x-forwarded-client-cert", "By=spiffe://example.org/proxy;Hash=00;URI=spiffe://example.org/login"}
	for _, program := range programs {
		t.Run(program.name, func(t *testing.T) {
			passing := program.run(t, setup{Doors: before(r)})
			stripping := program.run(t, setup{Doors: before(r), Strip: true})
			naming := program.run(t, setup{Doors: before(r), Keys: keys.dir})
			for name, test := range map[string]struct {
				proxy  *proxy
				peer   credentials.TransportCredentials
				header []string
				reason string // "": the caller is login
			}{
				"forged, and passed":                 {passing, nil, forged, ""},
				"forged, and taken away":             {stripping, nil, forged, "CALLER_UNKNOWN"},
				"login by certificate":               {naming, keys.of("login"), nil, ""},
				"login by certificate, and forged":   {naming, keys.of("login"), forged, ""},
				"another by certificate":             {naming, keys.of("other"), nil, "CALLER_UNKNOWN"},
				"another by certificate, and forged": {naming, keys.of("other"), forged, "CALLER_UNKNOWN"},
				"forged in a certificate":            {naming, keys.of("x,URI=spiffe://example.org/login"), nil, "CALLER_UNKNOWN"},
			} {
				for _, door := range doors {
					call := door.dial(t, test.proxy.socket(door.name), test.peer)
					if a := call(t.Context(), "Get", faulty("slow-0", "identity"), test.header...); a.ok != (test.reason == "") || a.reason != test.reason {
						t.Errorf("%s, %s: %+v", name, door.name, a)
					}
				}
			}
		})
	}
}

// keys are an authority, and the files by which a proxy is a server that asks for its certificates.
type keys struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	t    *testing.T
}

func newKeys(t *testing.T) *keys {
	t.Helper()
	k := &keys{dir: t.TempDir(), t: t}
	template := k.template("authority")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	k.cert, k.key = k.sign(template, nil, nil)
	write(t, k.dir+"/authority.pem", block("CERTIFICATE", k.cert.Raw))
	template = k.template("proxy")
	template.DNSNames = []string{"grpc.example", "rest.example"}
	cert, key := k.sign(template, k.cert, k.key)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain, private := block("CERTIFICATE", cert.Raw), block("EC PRIVATE KEY", der)
	write(t, k.dir+"/server.pem", chain)
	write(t, k.dir+"/server.key", private)
	write(t, k.dir+"/server.both", chain+private)
	return k
}

// of are the credentials of a workload, whose certificate has its name in the subject and in a URI.
func (k *keys) of(workload string) credentials.TransportCredentials {
	template := k.template(workload)
	template.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/" + workload}}
	cert, key := k.sign(template, k.cert, k.key)
	roots := x509.NewCertPool()
	roots.AddCert(k.cert)
	return credentials.NewTLS(&tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}, NextProtos: []string{"h2"},
	})
}

func (k *keys) template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// sign makes a certificate with a key of its own; without a parent it signs itself.
func (k *keys) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	k.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		k.t.Fatal(err)
	}
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		k.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		k.t.Fatal(err)
	}
	return cert, key
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
