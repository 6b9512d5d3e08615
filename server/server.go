package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/tap"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/gateway"
	"recoverycodes.internal/server/internal/inproc"
	"recoverycodes.internal/server/internal/interceptor"
	"recoverycodes.internal/server/internal/recoverycodes"
	"recoverycodes.internal/server/internal/stytch"
	"recoverycodes.internal/server/internal/telemetry"
	"recoverycodes.internal/server/internal/transcode"
)

// slack is what the server adds to the upstream's time limit for its own work around an exchange.
const slack = 2 * time.Second

// server is the running server: two doors, the admin door, and the corridor between the doors and the upstream.
type server struct {
	log      *zap.Logger
	upstream *stytch.Client
	store    store
	calls    interceptor.InFlight
	health   *health.Server
	ready    atomic.Bool

	grpc        *grpc.Server
	http, admin *http.Server

	grpcListener, httpListener, adminListener net.Listener
}

// build makes everything and listens, but serves nothing yet: an address that is taken is found before the first call.
func build(cfg *config.Serve, upstream stytch.Config, logger *zap.Logger) (_ *server, err error) {
	s := &server{log: logger, health: health.NewServer()}
	defer func() {
		if err != nil && s.store != nil {
			err = errors.Join(err, s.store.Close())
		}
	}()
	client, err := stytch.New(upstream)
	if err != nil {
		return nil, err
	}
	s.upstream = client
	observer := telemetry.NewObserver(logger)
	limit := cfg.UpstreamTimeout + slack
	if s.store, err = openStore(cfg, limit, logger); err != nil {
		return nil, err
	}
	service, err := recoverycodes.New(client, recoverycodes.Options{
		Once:      s.store,
		LeastTime: cfg.LeastTime, InFlight: cfg.MaxInFlight, BreakerFailures: cfg.BreakerFailures,
		OnDrift: func(method string, drift []transcode.Drift) {
			for _, d := range drift {
				observer.Drifted(method, d.Path, d.Kind.String())
			}
		},
	})
	if err != nil {
		return nil, err
	}

	chain := interceptor.Unary(&s.calls, observer, limit)
	s.grpc = grpc.NewServer(
		grpc.ChainUnaryInterceptor(chain...),
		grpc.ChainStreamInterceptor(interceptor.Stream(observer)...),
		grpc.ForceServerCodecV2(interceptor.Codec()),
		grpc.InTapHandle(arriveWithin(limit)),
		// Above every limit on a field, so that validation names the field instead of the library the frame.
		grpc.MaxRecvMsgSize(2<<20),
		grpc.MaxHeaderListSize(16<<10),
		grpc.MaxConcurrentStreams(1000),
		grpc.ConnectionTimeout(10*time.Second),
		// Clients may ping every ten seconds, with or without a call open: sidecars hold connections for many callers.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	)
	recoverycodesv1.RegisterRecoveryCodesServiceServer(s.grpc, service)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)

	corridor := inproc.New(chain...)
	recoverycodesv1.RegisterRecoveryCodesServiceServer(corridor, service)
	rest, err := gateway.Handler(corridor, observer)
	if err != nil {
		return nil, err
	}
	s.http = s.httpServer(rest, limit)
	s.admin = s.httpServer(s.adminHandler(observer.Metrics()), limit)

	if err := s.listen(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// arriveWithin bounds a call from its first byte: the chain's own deadline begins when the request has arrived, and a
// caller who never sends it would hold a stream for ever. Streams of other services last as long as they like.
func arriveWithin(limit time.Duration) tap.ServerInHandle {
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		if !strings.HasPrefix(info.FullMethodName, "/"+recoverycodesv1.RecoveryCodesService_ServiceDesc.ServiceName+"/") {
			return ctx, nil
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		context.AfterFunc(ctx, cancel) // the end of the stream ends ctx too
		return ctx, nil
	}
}

// httpServer sets the limits by which a slow or greedy client cannot hold the server: a header in five seconds and
// 16 KB, a request in fifteen, an answer within the upstream's limit, a connection idle for no longer than balancers
// keep one.
func (s *server) httpServer(handler http.Handler, limit time.Duration) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      15*time.Second + limit,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // lines of another form, with addresses; see main
	}
}

// adminHandler answers about this process only: an upstream that is down must not take every replica out of rotation.
func (s *server) adminHandler(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "not serving", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

func (s *server) listen(cfg *config.Serve) error {
	var errs []error
	for _, l := range []struct {
		setting, address string
		into             *net.Listener
	}{
		{"--grpc-listen", cfg.GRPCListen, &s.grpcListener},
		{"--http-listen", cfg.HTTPListen, &s.httpListener},
		{"--admin-listen", cfg.AdminListen, &s.adminListener},
	} {
		listener, err := net.Listen("tcp", l.address) //nolint:noctx // binding does not wait
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.setting, err))
			continue
		}
		*l.into = listener
	}
	if len(errs) == 0 {
		return nil
	}
	for _, l := range []net.Listener{s.grpcListener, s.httpListener, s.adminListener} {
		if l != nil {
			_ = l.Close()
		}
	}
	return errors.Join(errs...)
}

func (s *server) start(parts *errgroup.Group) {
	parts.Go(func() error { return ended(s.admin.Serve(s.adminListener)) })
	parts.Go(func() error { return ended(s.http.Serve(s.httpListener)) })
	parts.Go(func() error { return ended(s.grpc.Serve(s.grpcListener)) })
	s.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	s.health.SetServingStatus(recoverycodesv1.RecoveryCodesService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	s.ready.Store(true)
}

// stop takes the server down from the outside in. Health goes first, so that balancers look elsewhere. Then both doors
// stop taking calls, and open ones have the drain time. Calls that were sent are waited for longer, with their
// connections open, so that their answers are delivered; only then are connections cut. Every step is bounded.
func (s *server) stop(ctx context.Context, drain, upstream time.Duration) {
	s.ready.Store(false)
	s.health.Shutdown()
	gone := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(gone)
	}()
	doors := func(ctx context.Context) {
		_ = s.http.Shutdown(ctx) // what it leaves behind is closed below
		select {
		case <-gone:
		case <-ctx.Done(): // one open health Watch would hold it for ever
		}
	}
	within(ctx, drain, doors)
	within(ctx, upstream+slack, func(ctx context.Context) {
		if left := s.calls.Wait(ctx); left > 0 {
			s.log.Error("calls that were sent did not end in time; their outcome is unknown", zap.Int("calls", left))
		}
	})
	within(ctx, time.Second, doors) // the last answers go out
	_ = s.http.Close()
	s.grpc.Stop()
	<-gone
	s.upstream.Close()
	if err := s.store.Close(); err != nil {
		s.log.Warn("the store of idempotency keys was not closed in order", zap.Error(err))
	}
	within(ctx, time.Second, func(ctx context.Context) {
		if s.admin.Shutdown(ctx) != nil {
			_ = s.admin.Close()
		}
	})
}
