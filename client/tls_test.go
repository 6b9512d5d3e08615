package client_test

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
)

// A tlsService is served with the certificate that it shows at the time, and tells which one each call's client showed.
type tlsService struct {
	*servicetest.Server
	shows   atomic.Pointer[tls.Certificate]
	callers chan string
}

// startTLS asks clients for a certificate of trusted, unless that is nil.
func startTLS(t *testing.T, shown tls.Certificate, trusted *servicetest.Authority) *tlsService {
	t.Helper()
	s := &tlsService{callers: make(chan string, 1)}
	s.shows.Store(&shown)
	config := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.shows.Load(), nil },
	}
	if trusted != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, trusted.Roots()
	}
	svc := reporting(func(ctx context.Context) {
		p, _ := peer.FromContext(ctx)
		name := ""
		if shown := p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates; len(shown) > 0 {
			name = shown[0].Subject.CommonName
		}
		s.callers <- name
	})
	s.Server = servicetest.Start(t, svc, grpc.Creds(credentials.NewTLS(config)))
	return s
}

// caller makes a Get, which is tried again if it meets a connection that is being cut, and returns whose certificate came
// with it.
func (s *tlsService) caller(t *testing.T, c *client.Client) string {
	t.Helper()
	if err := rpcs["Get"](t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return <-s.callers
}

func TestCAFile(t *testing.T) {
	first, second := servicetest.NewAuthority(t), servicetest.NewAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	first.WriteRoots(file)
	srv := startTLS(t, first.Issue("service"), nil)
	c := newClient(t, srv.Addr, client.WithCAFile(file))
	srv.caller(t, c)

	// The service goes over to another authority, and the file follows.
	moved := second.Issue("service")
	srv.shows.Store(&moved)
	second.WriteRoots(file)
	srv.Break()
	srv.caller(t, c)

	// What is not good counts for nothing.
	if err := os.WriteFile(file, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	srv.Break()
	srv.caller(t, c)

	// The negative control: an authority that the file does not name.
	first.WriteRoots(file)
	srv.Break()
	if err := rpcs["Get"](t.Context(), c); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Get ended with %v, want UNAVAILABLE for the certificate", err)
	}
}

func TestCertificateFiles(t *testing.T) {
	authority := servicetest.NewAuthority(t)
	dir := t.TempDir()
	roots, certificate, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	authority.WriteRoots(roots)
	authority.Write("one", certificate, key)
	srv := startTLS(t, authority.Issue("service"), authority)

	t.Run("none is refused", func(t *testing.T) {
		c := newClient(t, srv.Addr, client.WithCAFile(roots))
		if err := rpcs["Get"](t.Context(), c); status.Code(err) != codes.Unavailable {
			t.Errorf("Get ended with %v, want UNAVAILABLE", err)
		}
	})

	c := newClient(t, srv.Addr, client.WithCAFile(roots), client.WithCertificateFiles(certificate, key))
	expect := func(want string) {
		t.Helper()
		srv.Break() // so that the call needs a new connection
		if got := srv.caller(t, c); got != want {
			t.Errorf("the certificate shown is of %q, want %q", got, want)
		}
	}
	expect("one")
	authority.Write("two", certificate, key)
	expect("two")
	authority.Write("three", certificate, "") // and the key has not followed yet
	expect("two")
	authority.Write("four", certificate, key)
	expect("four")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	expect("four")
}

// The system's roots do not become optional because there is a client certificate.
func TestCertificateFilesAloneKeepTheSystemsRoots(t *testing.T) {
	authority := servicetest.NewAuthority(t)
	dir := t.TempDir()
	authority.Write("one", filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	srv := startTLS(t, authority.Issue("service"), nil)
	c := newClient(t, srv.Addr, client.WithCertificateFiles(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")))
	if err := rpcs["Get"](t.Context(), c); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("Get ended with %v, want an unknown authority", err)
	}
}

func TestTLSFilesThatNewRefuses(t *testing.T) {
	authority, other := servicetest.NewAuthority(t), servicetest.NewAuthority(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	authority.WriteRoots(at("ca.pem"))
	authority.Write("one", at("tls.crt"), at("tls.key"))
	other.Write("two", "", at("other.key"))
	if err := os.WriteFile(at("empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("large"), make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		opts []client.Option
		want []string // what the error names
	}{
		{"no such roots", []client.Option{client.WithCAFile(at("none"))}, []string{"WithCAFile", at("none")}},
		{"no certificate among the roots", []client.Option{client.WithCAFile(at("empty"))}, []string{"WithCAFile", at("empty")}},
		{"too large", []client.Option{client.WithCAFile(at("large"))}, []string{"WithCAFile", at("large"), "1048576"}},
		{"a directory", []client.Option{client.WithCAFile(dir)}, []string{"WithCAFile", dir, "regular"}},
		{"no such key", []client.Option{client.WithCertificateFiles(at("tls.crt"), at("none"))}, []string{"WithCertificateFiles", at("none")}},
		{"the key of another", []client.Option{client.WithCertificateFiles(at("tls.crt"), at("other.key"))},
			[]string{"WithCertificateFiles", at("tls.crt"), "private key"}},
		{"with plaintext", []client.Option{client.WithInsecure(), client.WithCAFile(at("ca.pem"))}, []string{"WithInsecure", "exclude"}},
		{"with a mesh", []client.Option{client.WithMeshEncryption(), client.WithCAFile(at("ca.pem"))}, []string{"WithMeshEncryption", "exclude"}},
		{"with other credentials", []client.Option{
			client.WithTransportCredentials(credentials.NewTLS(nil)), client.WithCertificateFiles(at("tls.crt"), at("tls.key")),
		}, []string{"WithTransportCredentials", "exclude"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := client.New("127.0.0.1:1", tt.opts...)
			if err == nil {
				_ = c.Close()
				t.Fatal("New succeeded")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %q", err, want)
				}
			}
		})
	}
}
