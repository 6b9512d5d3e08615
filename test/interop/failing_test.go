package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// A spoiler answers in place of the upstream, which has done what it was asked.
type spoiler func(w http.ResponseWriter, body []byte)

func failed(w http.ResponseWriter, _ []byte) { w.WriteHeader(http.StatusInternalServerError) }

func halved(w http.ResponseWriter, body []byte) { _, _ = w.Write(body[:len(body)/2]) }

func cut(http.ResponseWriter, []byte) { panic(http.ErrAbortHandler) }

// inFrontOf starts a proxy that relays Get, and whose answers to Recover and Rotate are the spoiler's. It returns the
// proxy's address.
func inFrontOf(t *testing.T, upstream string, spoil spoiler) string {
	t.Helper()
	target, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	relay := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			relay.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		relay.ServeHTTP(answer, r)
		spoil(w, answer.Body.Bytes())
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// A failure is how a stub fails Recover and Rotate: with a status, or by breaking every connection to it.
type failure struct {
	code           codes.Code
	domain, reason string // of ErrorInfo; the service's domain if none is given, and no ErrorInfo without a reason
	broken         bool
}

func (f failure) err() error {
	st := status.New(f.code, "failed on purpose")
	if f.reason == "" {
		return st.Err()
	}
	info := &errdetails.ErrorInfo{Domain: f.domain, Reason: f.reason}
	if f.domain == "" {
		info.Domain = "recoverycodes.internal"
	}
	with, err := st.WithDetails(info)
	if err != nil {
		return err
	}
	return with.Err()
}

// A stub is a service of one code whose Get is unavailable twice before it works, and whose Recover and Rotate fail.
type stub struct {
	recoverycodesv1.UnimplementedRecoveryCodesServiceServer

	address  string
	fail     failure
	listener *listener

	unavailable, recovers, rotates atomic.Int32
	answered                       atomic.Bool // a Get
	withoutKey, withoutDeadline    atomic.Bool
}

func startStub(t *testing.T, fail failure) *stub {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{address: tcp.Addr().String(), fail: fail, listener: &listener{Listener: tcp}}
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	recoverycodesv1.RegisterRecoveryCodesServiceServer(server, s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(s.listener) // it fails only by being stopped
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return s
}

// calls returns how often Get was called until it first succeeded, and how often the others were.
func (s *stub) calls() (first, recovers, rotates int32) {
	return s.unavailable.Load() + 1, s.recovers.Load(), s.rotates.Load()
}

func (s *stub) Get(ctx context.Context, _ *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
	s.look(ctx)
	if !s.answered.Load() && s.unavailable.Load() < 2 {
		s.unavailable.Add(1)
		return nil, status.Error(codes.Unavailable, "not yet")
	}
	s.answered.Store(true)
	return &recoverycodesv1.GetResponse{RecoveryCodes: []string{"aaaa-bbbb-cccc"}}, nil
}

func (s *stub) Recover(ctx context.Context, _ *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
	s.recovers.Add(1)
	return nil, s.effect(ctx)
}

func (s *stub) Rotate(ctx context.Context, _ *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error) {
	s.rotates.Add(1)
	return nil, s.effect(ctx)
}

func (s *stub) effect(ctx context.Context) error {
	s.look(ctx)
	if md, _ := metadata.FromIncomingContext(ctx); len(md.Get("idempotency-key")) != 1 {
		s.withoutKey.Store(true)
	}
	if s.fail.broken {
		s.listener.breakAll()
		return io.EOF
	}
	return s.fail.err()
}

func (s *stub) look(ctx context.Context) {
	if at, ok := ctx.Deadline(); !ok || time.Until(at) > time.Minute {
		s.withoutDeadline.Store(true)
	}
}

// A listener remembers its connections, so that they can be broken.
type listener struct {
	net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns = append(l.conns, conn)
	}
	return conn, err
}

func (l *listener) breakAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

// selfSigned writes a certificate for loopback, which is its own authority, and its key.
func selfSigned(t *testing.T, dir string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "interop"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: signed}, key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}
