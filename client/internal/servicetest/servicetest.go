// Package servicetest serves the recovery-codes contract on loopback for the tests of the client and of its command
// line. It answers what the test says and counts; it knows nothing of recovery codes and nothing of the real server.
package servicetest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// A Service answers each RPC with the function of its name, which stays as it is once the service is served. A method
// without a function answers UNIMPLEMENTED.
type Service struct {
	recoverycodesv1.UnimplementedRecoveryCodesServiceServer

	OnGet     func(context.Context, *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error)
	OnRecover func(context.Context, *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error)
	OnRotate  func(context.Context, *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error)

	gets, recovers, rotates atomic.Int64
}

// Answering returns a Service that answers every call with what answer returns: an error, or an empty message for nil.
func Answering(answer func(context.Context) error) *Service {
	return &Service{
		OnGet: func(ctx context.Context, _ *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
			return &recoverycodesv1.GetResponse{}, answer(ctx)
		},
		OnRecover: func(ctx context.Context, _ *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
			return &recoverycodesv1.RecoverResponse{}, answer(ctx)
		},
		OnRotate: func(ctx context.Context, _ *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error) {
			return &recoverycodesv1.RotateResponse{}, answer(ctx)
		},
	}
}

// Get implements the contract.
func (s *Service) Get(ctx context.Context, req *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
	s.gets.Add(1)
	if s.OnGet == nil {
		return s.UnimplementedRecoveryCodesServiceServer.Get(ctx, req)
	}
	return s.OnGet(ctx, req)
}

// Recover implements the contract.
func (s *Service) Recover(ctx context.Context, req *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
	s.recovers.Add(1)
	if s.OnRecover == nil {
		return s.UnimplementedRecoveryCodesServiceServer.Recover(ctx, req)
	}
	return s.OnRecover(ctx, req)
}

// Rotate implements the contract.
func (s *Service) Rotate(ctx context.Context, req *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error) {
	s.rotates.Add(1)
	if s.OnRotate == nil {
		return s.UnimplementedRecoveryCodesServiceServer.Rotate(ctx, req)
	}
	return s.OnRotate(ctx, req)
}

// Runs says how often a handler has started: "Get", "Recover" or "Rotate".
func (s *Service) Runs(method string) int64 {
	switch method {
	case "Get":
		return s.gets.Load()
	case "Recover":
		return s.recovers.Load()
	case "Rotate":
		return s.rotates.Load()
	default:
		panic(fmt.Sprintf("servicetest: no method %q", method))
	}
}

// A Server serves a Service. Health is SERVING until the test changes it.
type Server struct {
	Addr   string // host:port, on loopback
	Health *health.Server

	grpc   *grpc.Server
	lis    *listener
	served chan struct{}
}

// A listener remembers the connections that it has accepted, for Break.
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

// Listen serves svc on a free loopback port until Close.
func Listen(svc *Service, opts ...grpc.ServerOption) (*Server, error) {
	tcp, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	lis := &listener{Listener: tcp}
	s := &Server{
		Addr:   lis.Addr().String(),
		lis:    lis,
		Health: health.NewServer(),
		grpc:   grpc.NewServer(append(opts, grpc.WaitForHandlers(true))...),
		served: make(chan struct{}),
	}
	recoverycodesv1.RegisterRecoveryCodesServiceServer(s.grpc, svc)
	s.Health.SetServingStatus(recoverycodesv1.RecoveryCodesService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(s.grpc, s.Health)
	go func() {
		defer close(s.served)
		_ = s.grpc.Serve(lis) // it fails only by being stopped
	}()
	return s, nil
}

// Close cuts every connection and returns when all handlers have.
func (s *Server) Close() {
	s.grpc.Stop()
	<-s.served
}

// Cut is Close for use inside a handler: it cuts the connections and returns at once, while the handler still runs.
func (s *Server) Cut() {
	go s.grpc.Stop()
}

// Break cuts the connections that there are, also from inside a handler. The server goes on and takes new ones.
func (s *Server) Break() {
	s.lis.mu.Lock()
	defer s.lis.mu.Unlock()
	for _, conn := range s.lis.conns {
		_ = conn.Close()
	}
	s.lis.conns = nil
}

// Start is Listen for a test, closed when the test ends.
func Start(tb testing.TB, svc *Service, opts ...grpc.ServerOption) *Server {
	tb.Helper()
	s, err := Listen(svc, opts...)
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	tb.Cleanup(s.Close)
	return s
}
