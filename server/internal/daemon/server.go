package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/batching"
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
	service  *recoverycodes.Service
	store    store
	audit    *interceptor.Audit
	observer *telemetry.Observer
	tracing  *telemetry.Tracing // nil: no spans
	tls      *access.TLS        // nil: the doors serve plaintext

	watchers    []func(context.Context) // what follows files, while the server runs
	endWatching context.CancelFunc
	calls       interceptor.InFlight
	age         age
	health      *health.Server
	ready       atomic.Bool

	grpc        *grpc.Server
	http, admin *http.Server

	grpcListener, httpListener, adminListener net.Listener
}

// build makes everything and listens, but serves nothing yet: an address that is taken is found before the first call.
func build(cfg *config.Serve, upstream stytch.Config, stdout io.Writer, log *telemetry.Log) (_ *server, err error) {
	s := &server{log: log.Logger, health: health.NewServer(), age: age{limit: cfg.ConnectionAge}}
	defer func() {
		if err != nil {
			if s.grpc != nil {
				s.grpc.Stop() // it has workers from the start
			}
			err = errors.Join(err, s.close(context.Background()))
		}
	}()
	if cfg.Traces {
		upstream.OnRequest = s.requesting(upstream.BaseURL)
	}
	client, err := stytch.New(upstream)
	if err != nil {
		return nil, err
	}
	s.upstream = client
	if s.audit, err = openAudit(cfg, stdout, s.log, func() *telemetry.Observer { return s.observer }); err != nil {
		return nil, err
	}
	s.observer = telemetry.NewObserver(s.log, s.audit.Log)
	s.observer.LogDropped(log.Dropped)
	if err := s.openTracing(cfg); err != nil {
		return nil, err
	}
	guard, err := s.openGuard(cfg, upstream.ProjectID)
	if err != nil {
		return nil, err
	}
	if s.tls, err = s.openTLS(cfg); err != nil {
		return nil, err
	}
	rereadSecret, err := s.followSecret(cfg, client)
	if err != nil {
		return nil, err
	}
	limit := cfg.UpstreamTimeout + slack
	keys, counts, err := openStores(cfg, upstream.ProjectID, limit, s.observer, s.log)
	if err != nil {
		return nil, err
	}
	s.store = keys
	s.service, err = recoverycodes.New(client, recoverycodes.Options{
		Once: keys, Attempts: counts, OnStore: s.observer.StoreRefused, OnCredentials: rereadSecret,
		LeastTime: cfg.LeastTime, InFlight: cfg.MaxInFlight, BreakerFailures: cfg.BreakerFailures,
		OnDrift: func(method string, drift []transcode.Drift) {
			for _, d := range drift {
				s.observer.Drifted(method, d.Path, d.Kind.String())
			}
		},
	})
	if err != nil {
		return nil, err
	}

	s.measure()

	chain := interceptor.Chain{Calls: &s.calls, Observer: s.observer, Guard: guard, Audit: s.audit, Limit: limit}
	options := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(chain.Unary()...),
		grpc.ChainStreamInterceptor(chain.Stream()...),
		grpc.ForceServerCodecV2(interceptor.Codec()),
		grpc.NumStreamWorkers(streamWorkers),
	}
	options = append(options, s.grpcLimits(limit)...)
	creds := insecure.NewCredentials()
	if s.tls != nil {
		creds = credentials.NewTLS(s.tls.Config("h2"))
	}
	options = append(options, grpc.Creds(batching.GRPC(creds)))
	s.grpc = grpc.NewServer(options...)
	recoverycodesv1.RegisterRecoveryCodesServiceServer(s.grpc, s.service)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)

	corridor := inproc.New(chain.Unary()...)
	recoverycodesv1.RegisterRecoveryCodesServiceServer(corridor, s.service)
	rest, err := gateway.Handler(corridor, &s.calls, s.observer, guard)
	if err != nil {
		return nil, err
	}
	rest = gateway.SessionKeys(rest, &s.calls, s.observer, upstream.ProjectID, s.sessionKeys)
	s.http = httpServer(s.age.handler(rest), limit)
	s.http.ConnContext = s.age.connection
	if s.tls != nil {
		s.http.TLSConfig = s.tls.Config("h2", "http/1.1")
	}
	admin, err := s.adminDoor(cfg, log.Lowest, rest)
	if err != nil {
		return nil, err
	}
	s.admin = httpServer(admin, limit)

	if err := s.listen(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *server) listen(cfg *config.Serve) error {
	var errs []error
	for _, l := range []struct {
		setting, address, door string
		into                   *net.Listener
	}{
		{"--grpc-listen", cfg.GRPCListen, "grpc", &s.grpcListener},
		{"--http-listen", cfg.HTTPListen, "rest", &s.httpListener},
		{"--admin-listen", cfg.AdminListen, "admin", &s.adminListener},
	} {
		listener, err := listen(l.address)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.setting, err))
			continue
		}
		*l.into = troubled{listener, func(cause string) { s.observer.AcceptFailed(l.door, cause) }}
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

// listen listens at host:port, or on the unix socket of unix:/path. A socket that a server has left behind is removed;
// one where somebody answers is not.
func listen(address string) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return net.Listen("tcp", address) //nolint:noctx // binding does not wait
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Type() == os.ModeSocket {
		conn, err := net.DialTimeout("unix", path, time.Second) //nolint:noctx // it has its own limit
		if err == nil {
			_ = conn.Close()
			return nil, errors.New("another process listens on the socket")
		}
		_ = os.Remove(path)
	}
	return net.Listen("unix", path) //nolint:noctx // binding does not wait
}

func (s *server) start(parts *errgroup.Group) {
	var watching context.Context
	watching, s.endWatching = context.WithCancel(context.Background())
	for _, watch := range s.watchers {
		parts.Go(func() error {
			watch(watching)
			return nil
		})
	}
	parts.Go(func() error { return ended(s.admin.Serve(s.adminListener)) })
	parts.Go(func() error {
		if s.tls != nil {
			return ended(s.http.ServeTLS(s.httpListener, "", ""))
		}
		return ended(s.http.Serve(batching.HTTP(s.httpListener)))
	})
	parts.Go(func() error { return ended(s.grpc.Serve(s.grpcListener)) })
	s.health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	s.health.SetServingStatus(recoverycodesv1.RecoveryCodesService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	s.ready.Store(true)
}
