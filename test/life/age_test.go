package life

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"recoverycodes.internal/test/daemon"
)

// certified returns settings of a certificate for the doors, and a client's configuration that trusts it.
func certified(t *testing.T) (args []string, trust *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil) // for its certificate
	s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return []string{
		"--tls-certificate-file=" + write("certificate.pem", "CERTIFICATE", s.Certificate().Raw),
		"--tls-key-file=" + write("key.pem", "PRIVATE KEY", key),
	}, &tls.Config{RootCAs: roots, ServerName: "example.com"}
}

// TestRESTConnectionsAge calls through one client until it has made a second connection, over both versions of HTTP. No
// call fails, and while a connection is young it is kept.
func TestRESTConnectionsAge(t *testing.T) {
	secure, trust := certified(t)
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(version, func(t *testing.T) {
			for age, ends := range map[string]bool{"500ms": true, "0s": false} {
				args, scheme, transport := []string{"--sandbox", "--connection-age=" + age}, "http", &http.Transport{}
				if version == "HTTP/2.0" {
					args, scheme = append(args, secure...), "https"
					transport.TLSClientConfig, transport.ForceAttemptHTTP2 = trust.Clone(), true
				}
				d := daemon.Start(t, nil, args...)
				defer transport.CloseIdleConnections()
				var connections, calls int
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
					if !info.Reused {
						connections++
					}
				}})
				for start := time.Now(); connections < 2 && time.Since(start) < 30*time.Second; time.Sleep(5 * time.Millisecond) {
					if !ends && time.Since(start) > time.Second {
						break
					}
					req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+d.HTTP+pathGet, nil)
					if err != nil {
						t.Fatal(err)
					}
					resp, err := transport.RoundTrip(req)
					if err != nil {
						t.Fatalf("call %d: %v", calls, err)
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if calls++; resp.Proto != version {
						t.Fatalf("spoke %s", resp.Proto)
					}
				}
				if (connections == 2) != ends || ends && calls < 3 {
					t.Errorf("age %s: %d calls on %d connections", age, calls, connections)
				}
			}
		})
	}
}

// TestGRPCConnectionsAge is the same for gRPC.
func TestGRPCConnectionsAge(t *testing.T) {
	d := daemon.Start(t, behind(t, answering), "--connection-age=500ms")
	var dials atomic.Int32
	conn, err := grpc.NewClient(d.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	calls := 0
	await(t, "a second connection", func() bool {
		calls++
		if err := invoke(t.Context(), conn, "Recover"); err != nil {
			t.Fatalf("call %d: %v", calls, err)
		}
		return dials.Load() >= 2
	})
	if calls < 3 {
		t.Errorf("a connection was kept for %d calls", calls)
	}
}

// TestAgeCutsNoCall has a call take longer than its connection may live.
func TestAgeCutsNoCall(t *testing.T) {
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	d := daemon.Start(t, behind(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		answering(w, r)
	}), "--connection-age=50ms")
	results := make(chan error, 1)
	go func() { results <- invoke(t.Context(), d.Dial(t), "Recover") }()
	rest := make(chan int, 1)
	go func() {
		status, _, _ := try(t.Context(), http.MethodPost, d.HTTP+pathRecover, body)
		rest <- status
	}()
	<-arrived
	<-arrived
	time.Sleep(500 * time.Millisecond) // ten lives of a connection
	close(release)
	if err := <-results; err != nil {
		t.Error(err)
	}
	if status := <-rest; status != http.StatusOK {
		t.Errorf("REST: %d", status)
	}
	if log := d.Log(); strings.Count(log, `"outcome":"done"`) != 2 {
		await(t, "both lines", func() bool { return strings.Count(d.Log(), `"outcome":"done"`) == 2 })
	}
}
