package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// TestDeadline reads the deadline where it counts, in the handler.
func TestDeadline(t *testing.T) {
	const slack = 5 * time.Second
	tests := []struct {
		name   string
		option []client.Option
		caller time.Duration // 0: the caller's context has no deadline
		want   time.Duration
	}{
		{"none given", nil, 0, client.DefaultTimeout},
		{"option", []client.Option{client.WithTimeout(20 * time.Second)}, 0, 20 * time.Second},
		{"caller's is shorter", nil, 15 * time.Second, 15 * time.Second},
		{"caller's is longer", nil, 10 * time.Minute, 10 * time.Minute},
	}
	for _, tt := range tests {
		for method, call := range rpcs {
			t.Run(tt.name+"/"+method, func(t *testing.T) {
				left := make(chan time.Duration, 1)
				svc := reporting(func(ctx context.Context) {
					if at, ok := ctx.Deadline(); ok {
						left <- time.Until(at)
					}
				})
				c := newClient(t, servicetest.Start(t, svc).Addr, append(tt.option, client.WithInsecure())...)
				ctx := t.Context()
				if tt.caller > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.caller)
					defer cancel()
				}
				if err := call(ctx, c); err != nil {
					t.Fatal(err)
				}
				select {
				case got := <-left:
					if got > tt.want || got < tt.want-slack {
						t.Errorf("the handler had %v left, want %v", got, tt.want)
					}
				default:
					t.Error("the handler saw no deadline")
				}
			})
		}
	}
}

// reporting returns a Service that shows each call's context to see and answers with an empty message.
func reporting(see func(context.Context)) *servicetest.Service {
	return servicetest.Answering(func(ctx context.Context) error {
		see(ctx)
		return nil
	})
}

func TestCallsAreSpreadOverAllAddresses(t *testing.T) {
	ignore := func(context.Context) {}
	first, second := reporting(ignore), reporting(ignore)
	r := pushing("", servicetest.Start(t, first).Addr, servicetest.Start(t, second).Addr)
	c := newClient(t, "manual:///service", client.WithInsecure(), client.WithDialOptions(grpc.WithResolvers(r)))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	// The two connections come up one after the other; only then is the spread even.
	for first.Runs("Rotate") == 0 || second.Runs("Rotate") == 0 {
		if err := rpcs["Rotate"](ctx, c); err != nil {
			t.Fatalf("Rotate reached the backends %d and %d times: %v", first.Runs("Rotate"), second.Runs("Rotate"), err)
		}
	}
	for range 10 {
		if err := rpcs["Get"](ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := first.Runs("Get"), second.Runs("Get"); a != 5 || b != 5 {
		t.Errorf("ten calls were spread %d to %d, want 5 to 5", a, b)
	}
}

// TestPlaintextIsNeverAFallback reads the first byte that a Client sends: 0x16 opens a TLS handshake, 'P' the preface
// of plaintext HTTP/2.
func TestPlaintextIsNeverAFallback(t *testing.T) {
	tests := []struct {
		name string
		opts []client.Option
		want byte
	}{
		{"default", nil, 0x16},
		{"dial option cannot", []client.Option{
			client.WithDialOptions(grpc.WithTransportCredentials(insecure.NewCredentials())),
		}, 0x16},
		{"WithInsecure", []client.Option{client.WithInsecure()}, 'P'},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			first := make(chan byte, 1)
			go func() {
				defer close(first)
				conn, err := lis.Accept()
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				var b [1]byte
				if _, err := io.ReadFull(conn, b[:]); err == nil {
					first <- b[0]
				}
			}()
			c := newClient(t, lis.Addr().String(), tt.opts...)
			err = rpcs["Recover"](t.Context(), c)
			_ = lis.Close()
			if status.Code(err) != codes.Unavailable {
				t.Errorf("Recover ended with %v, want UNAVAILABLE", err)
			}
			if got := <-first; got != tt.want {
				t.Errorf("the first byte was %#x, want %#x", got, tt.want)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	// httptest carries a certificate for 127.0.0.1 that no system trusts.
	issuer := httptest.NewTLSServer(nil)
	defer issuer.Close()
	cert := issuer.TLS.Certificates[0]
	roots := x509.NewCertPool()
	roots.AddCert(issuer.Certificate())

	ignore := func(context.Context) {}
	server := func(t *testing.T) (*servicetest.Service, string) {
		svc := reporting(ignore)
		creds := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		return svc, servicetest.Start(t, svc, grpc.Creds(creds)).Addr
	}

	t.Run("an unknown issuer is refused", func(t *testing.T) {
		svc, addr := server(t)
		err := rpcs["Recover"](t.Context(), newClient(t, addr))
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("Recover ended with %v, want UNAVAILABLE for the certificate", err)
		}
		if got := svc.Runs("Recover"); got != 0 {
			t.Errorf("the handler ran %d times, want 0", got)
		}
	})
	t.Run("given roots are trusted", func(t *testing.T) {
		_, addr := server(t)
		creds := credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
		if err := rpcs["Recover"](t.Context(), newClient(t, addr, client.WithTransportCredentials(creds))); err != nil {
			t.Error(err)
		}
	})
}

type bearer struct {
	token  string
	secure bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.secure }

func TestWhatTheServiceIsTold(t *testing.T) {
	seen := make(chan metadata.MD, 1)
	svc := reporting(func(ctx context.Context) {
		md, _ := metadata.FromIncomingContext(ctx)
		seen <- md
	})
	c := newClient(t, servicetest.Start(t, svc).Addr, client.WithInsecure(),
		client.WithUserAgent("billing/7"), client.WithPerRPCCredentials(bearer{token: "t0"}))
	if err := rpcs["Get"](t.Context(), c); err != nil {
		t.Fatal(err)
	}
	md := <-seen
	if got := strings.Join(md.Get("user-agent"), ","); !strings.HasPrefix(got, "billing/7 ") {
		t.Errorf("user-agent = %q, want it to open with billing/7", got)
	}
	if got := strings.Join(md.Get("authorization"), ","); got != "Bearer t0" {
		t.Errorf("authorization = %q, want the credentials'", got)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name   string
		target string
		opts   []client.Option
		want   string // what the error names
	}{
		{"no target", "", nil, "target"},
		{"malformed target", "dns:///%zz", nil, "dns:///%zz"},
		{"both kinds of transport", "localhost:1", []client.Option{
			client.WithInsecure(), client.WithTransportCredentials(credentials.NewTLS(nil)),
		}, "exclude each other"},
		{"nil transport credentials", "localhost:1", []client.Option{client.WithTransportCredentials(nil)}, "WithTransportCredentials"},
		{"nil call credentials", "localhost:1", []client.Option{client.WithPerRPCCredentials(nil)}, "WithPerRPCCredentials"},
		{"no time", "localhost:1", []client.Option{client.WithTimeout(0)}, "WithTimeout"},
		{"secret over plaintext", "localhost:1", []client.Option{
			client.WithInsecure(), client.WithPerRPCCredentials(bearer{token: "t0", secure: true}),
		}, "transport"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := client.New(tt.target, tt.opts...)
			if err == nil {
				_ = c.Close()
				t.Fatal("New succeeded")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not name %q", err, tt.want)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	srv := servicetest.Start(t, &servicetest.Service{})
	c := newClient(t, srv.Addr, client.WithInsecure())
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{
		healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING,
	} {
		srv.Health.SetServingStatus(recoverycodesv1.RecoveryCodesService_ServiceDesc.ServiceName, want)
		if got, err := c.Health(t.Context()); got != want || err != nil {
			t.Errorf("Health() = %v, %v, want %v", got, err, want)
		}
	}
	srv.Close()
	if got, err := c.Health(t.Context()); err == nil || got != healthpb.HealthCheckResponse_UNKNOWN {
		t.Errorf("Health() of a server that is gone = %v, %v, want UNKNOWN and an error", got, err)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	started, released := make(chan struct{}), make(chan struct{})
	svc := reporting(func(ctx context.Context) {
		close(started)
		<-ctx.Done()
		close(released)
	})
	srv := servicetest.Start(t, svc)
	before := goleak.IgnoreCurrent()

	c, err := client.New(srv.Addr, client.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- rpcs["Recover"](context.Background(), c) }()
	<-started
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("the call in flight ended with %v, want CANCELLED", err)
	}
	<-released
	if err := c.Close(); err == nil {
		t.Error("a second Close succeeded")
	}
	srv.Close()
	goleak.VerifyNone(t, before)
}
