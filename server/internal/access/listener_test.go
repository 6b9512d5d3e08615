package access

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const looked = 10 * time.Second

// door holds the files of a door's TLS.
type door struct {
	t      *testing.T
	dir    string
	files  TLSFiles
	failed []string
}

func newDoor(t *testing.T, server issued, clients *authority) *door {
	t.Helper()
	d := &door{t: t, dir: t.TempDir()}
	d.files = TLSFiles{Certificate: d.path("tls.crt"), Key: d.path("tls.key")}
	d.put(server)
	if clients != nil {
		d.files.ClientCA = d.path("ca.crt")
		d.write("ca.crt", clients.pem)
	}
	return d
}

func (d *door) path(name string) string { return filepath.Join(d.dir, name) }

func (d *door) write(name string, data []byte) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), data, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *door) put(i issued) {
	d.write("tls.crt", i.cert)
	d.write("tls.key", i.key)
}

func (d *door) open() *TLS {
	d.t.Helper()
	served, err := NewTLS(d.files, looked, func(err error) { d.failed = append(d.failed, err.Error()) })
	if err != nil {
		d.t.Fatal(err)
	}
	return served
}

func serverCertificate(t *testing.T, ca *authority) issued {
	t.Helper()
	return ca.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} })
}

func clientCertificate(t *testing.T, ca *authority) issued {
	t.Helper()
	return ca.issue(t, func(c *x509.Certificate) {
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/login"}}
	})
}

// client is how a client connects: trusting, showing, up to a version.
func client(t *testing.T, trusting *authority, showing *issued) *tls.Config {
	t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	config.RootCAs.AddCert(trusting.cert)
	if showing != nil {
		pair, err := tls.X509KeyPair(showing.cert, showing.key)
		if err != nil {
			t.Fatal(err)
		}
		// Shown whether or not the server names its authority, as an attacker would.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return config
}

// shake makes one handshake, and passes a byte each way, since under TLS 1.3 a client learns only from the first answer
// that its certificate was refused.
func shake(t *testing.T, server, client *tls.Config) (serverSide, clientSide tls.ConnectionState, err error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = conn.Close() }()
		_, err = io.ReadFull(conn, make([]byte, 1))
		if err == nil {
			_, err = conn.Write([]byte("y"))
		}
		if accepted, ok := conn.(*tls.Conn); ok {
			serverSide = accepted.ConnectionState()
		}
		done <- err
	}()
	plain, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(plain, client)
	_, err = conn.Write([]byte("x"))
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
	}
	_ = plain.Close()
	err = errors.Join(err, <-done)
	return serverSide, conn.ConnectionState(), err
}

func TestTLSVersionsAndClients(t *testing.T) {
	servers, clients, strangers := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "strangers")
	good, strange := clientCertificate(t, clients), clientCertificate(t, strangers)
	expired := clients.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	forServers := clients.issue(t, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	tests := []struct {
		name     string
		min      uint16
		clients  *authority
		showing  *issued
		change   func(*tls.Config)
		refused  bool
		verified bool
	}{
		{name: "no client certificate is asked for", showing: &good},
		{name: "none is shown", clients: clients},
		{name: "a good one", clients: clients, showing: &good, verified: true},
		{name: "another authority's", clients: clients, showing: &strange, refused: true},
		{name: "an expired one", clients: clients, showing: &expired, refused: true},
		{name: "a server's", clients: clients, showing: &forServers, refused: true},
		{name: "TLS 1.2 without leave", change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, refused: true},
		{name: "TLS 1.2 with leave", min: tls.VersionTLS12, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		{name: "a good one in TLS 1.2", min: tls.VersionTLS12, clients: clients, showing: &good,
			change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, verified: true},
		{name: "TLS 1.1", min: tls.VersionTLS12, refused: true,
			change: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }},
		{name: "a cipher suite without authenticated encryption", min: tls.VersionTLS12, refused: true,
			change: func(c *tls.Config) {
				c.MaxVersion = tls.VersionTLS12
				c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA}
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(t, serverCertificate(t, servers), tt.clients)
			d.files.MinVersion = tt.min
			config := client(t, servers, tt.showing)
			if tt.change != nil {
				tt.change(config)
			}
			server, _, err := shake(t, d.open().Config("h2"), config)
			if (err != nil) != tt.refused {
				t.Fatalf("got error %v, refused should be %v", err, tt.refused)
			}
			if err == nil && (len(server.VerifiedChains) > 0) != tt.verified {
				t.Errorf("verified chains %d, verified should be %v", len(server.VerifiedChains), tt.verified)
			}
			if tt.verified {
				id, err := certificateIdentity(server.PeerCertificates[0])
				if err != nil || id.value != "spiffe://example.org/login" {
					t.Errorf("the peer is %+v, %v", id, err)
				}
			}
		})
	}
}

// TestNoResumption: a session from before an authority was removed does not bring its client in again.
func TestNoResumption(t *testing.T) {
	servers, clients, others := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "others")
	good := clientCertificate(t, clients)
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, serverCertificate(t, servers), clients)
			d.files.MinVersion = tls.VersionTLS12
			served := d.open()
			server, config := served.Config("h2"), client(t, servers, &good)
			config.MaxVersion, config.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
			for range 2 {
				_, state, err := shake(t, server, config)
				if err != nil {
					t.Fatal(err)
				}
				if state.DidResume {
					t.Error("a session was resumed")
				}
			}
			if err := served.apply([][]byte{read(t, d.files.Certificate), read(t, d.files.Key), others.pem}); err != nil {
				t.Fatal(err)
			}
			if _, _, err := shake(t, server, config); err == nil {
				t.Error("a client whose authority was removed came in")
			}
		})
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestNewTLSRefuses(t *testing.T) {
	servers := newAuthority(t, "servers")
	good, another := serverCertificate(t, servers), serverCertificate(t, servers)
	expired := servers.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	early := servers.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	tests := []struct {
		name   string
		change func(*door)
		want   []string
	}{
		{"no certificate given", func(d *door) { d.files.Certificate = "" }, []string{"needs"}},
		{"no key given", func(d *door) { d.files.Key = "" }, []string{"needs"}},
		{"TLS 1.1", func(d *door) { d.files.MinVersion = tls.VersionTLS11 }, []string{"lowest version"}},
		{"certificate missing", func(d *door) { d.files.Certificate += "x" }, []string{"tls.crtx"}},
		{"key missing", func(d *door) { d.files.Key += "x" }, []string{"tls.keyx"}},
		{"CA missing", func(d *door) { d.files.ClientCA += "x" }, []string{"ca.crtx"}},
		{"another's key", func(d *door) { d.write("tls.key", another.key) }, []string{"key", "tls.key", "does not fit"}},
		{"no key", func(d *door) { d.write("tls.key", []byte("CANARY")) }, []string{"key", "tls.key", "is none"}},
		{"a certificate for a key", func(d *door) { d.write("tls.key", good.cert) }, []string{"key", "tls.key"}},
		{"no certificate", func(d *door) { d.write("tls.crt", good.key) },
			[]string{"certificate", "tls.crt", "no certificate"}},
		{"a broken certificate", func(d *door) { d.write("tls.crt", encode("CERTIFICATE", []byte("CANARY"))) },
			[]string{"certificate", "tls.crt", "cannot be read"}},
		{"expired", func(d *door) { d.put(expired) }, []string{"certificate", "tls.crt", "expired on"}},
		{"not valid yet", func(d *door) { d.put(early) }, []string{"certificate", "tls.crt", "not valid before"}},
		{"an empty CA file", func(d *door) { d.write("ca.crt", nil) }, []string{"client CA", "ca.crt", "no certificate"}},
		{"a broken CA", func(d *door) {
			d.write("ca.crt", slices.Concat(servers.pem, encode("CERTIFICATE", []byte("CANARY"))))
		}, []string{"client CA", "ca.crt", "cannot be read"}},
		{"a CA that is none", func(d *door) { d.write("ca.crt", good.cert) },
			[]string{"client CA", "ca.crt", "not an authority"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(t, good, servers)
			tt.change(d)
			_, err := NewTLS(d.files, looked, nil)
			if err == nil {
				t.Fatal("not refused")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "CANARY") {
				t.Errorf("the error repeats a file: %v", err)
			}
		})
	}
}

// TestTLSReload exchanges certificate, key and authority under a door's configuration, which stays the same.
func TestTLSReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers, clients, others := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "others")
		first, second := serverCertificate(t, servers), serverCertificate(t, servers)
		d := newDoor(t, first, clients)
		served := d.open()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go served.Run(ctx)
		server := served.Config("h2")
		byClients, byOthers := clientCertificate(t, clients), clientCertificate(t, others)
		want := func(cert issued, comesIn, stays issued) {
			t.Helper()
			_, state, err := shake(t, server, client(t, servers, &comesIn))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(state.PeerCertificates[0].Raw, cert.parse(t).Raw) {
				t.Error("the door shows another certificate")
			}
			if _, _, err := shake(t, server, client(t, servers, &stays)); err == nil {
				t.Error("a client of another authority came in")
			}
			if !served.NotAfter().Equal(cert.parse(t).NotAfter) {
				t.Errorf("NotAfter is %v, want %v", served.NotAfter(), cert.parse(t).NotAfter)
			}
		}
		pass := func() { time.Sleep(3 * looked); synctest.Wait() }

		want(first, byClients, byOthers)
		d.put(second)
		d.write("ca.crt", others.pem)
		pass()
		want(second, byOthers, byClients)

		d.write("tls.key", first.key) // does not fit: the old ones stay
		pass()
		want(second, byOthers, byClients)
		d.write("tls.key", second.key)
		d.write("ca.crt", []byte("no authority"))
		pass()
		want(second, byOthers, byClients)
		d.write("ca.crt", others.pem)
		d.put(servers.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))
		pass()
		want(second, byOthers, byClients)

		for i, want := range []string{"does not fit", "client CA", "expired on"} {
			if len(d.failed) != 3 || !strings.Contains(d.failed[i], want) {
				t.Fatalf("reported %q, want three of which number %d says %q", d.failed, i, want)
			}
		}
	})
}

// TestTLSAtTheDoors serves HTTP and gRPC with it, as the two doors do.
func TestTLSAtTheDoors(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	servers, clients := newAuthority(t, "servers"), newAuthority(t, "clients")
	shown := clientCertificate(t, clients)
	served := newDoor(t, serverCertificate(t, servers), clients).open()

	t.Run("HTTP", func(t *testing.T) {
		for protocol, next := range map[string][]string{"HTTP/2.0": {"h2", "http/1.1"}, "HTTP/1.1": {"http/1.1"}} {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.Proto != protocol || len(r.TLS.VerifiedChains) == 0 {
					t.Errorf("came by %s with %d chains, want %s", r.Proto, len(r.TLS.VerifiedChains), protocol)
				}
			}))
			listener := s.Listener
			server := &http.Server{Handler: s.Config.Handler, TLSConfig: served.Config(next...)}
			go func() { _ = server.ServeTLS(listener, "", "") }()
			transport := &http.Transport{TLSClientConfig: client(t, servers, &shown), ForceAttemptHTTP2: true}
			resp, err := (&http.Client{Transport: transport}).Get("https://" + listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			transport.CloseIdleConnections()
			_ = server.Close()
		}
	})
	t.Run("gRPC", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(grpc.Creds(credentials.NewTLS(served.Config("h2"))))
		go func() { _ = server.Serve(listener) }()
		defer server.Stop()
		conn, err := grpc.NewClient(listener.Addr().String(),
			grpc.WithTransportCredentials(credentials.NewTLS(client(t, servers, &shown))))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		err = conn.Invoke(t.Context(), "/no.Such/Method", &emptypb.Empty{}, &emptypb.Empty{})
		if status.Code(err) != codes.Unimplemented { // the answer of a server without services
			t.Errorf("got %v", err)
		}
	})
}
