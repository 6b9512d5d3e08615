package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// DefaultTimeout bounds a call whose context has no deadline. It is a little more than the 31 seconds that the service
// gives one upstream call, so that the service's own verdict arrives before the client gives up.
const DefaultTimeout = 35 * time.Second

// Pings go out while a call is in flight and nothing has been heard for keepaliveTime. They find a connection that died
// while it was idle, so that a call does not spend its whole deadline on it. The service permits one ping every 10
// seconds.
const (
	keepaliveTime    = 30 * time.Second
	keepaliveTimeout = 10 * time.Second
)

const defaultUserAgent = "recoverycodes-go"

// A Client calls one recovery-codes service. It keeps connections to all addresses of its target and may be used by
// many goroutines at once; a program needs one, made at start and closed at the end. A call that fails returns an
// [*Error].
type Client struct {
	recoverycodesv1.RecoveryCodesServiceClient

	health healthpb.HealthClient
	conn   *grpc.ClientConn
}

// New returns a Client of the service at target, a gRPC target: "host:port", which means "dns:///host:port", or any
// other scheme that gRPC has a resolver for.
//
// The Client balances by itself: it connects to all addresses that the target resolves to and spreads its calls over
// them in turn, so that a name of all replicas, such as that of a headless Service of Kubernetes, needs no
// balancer. Names are resolved again when a connection ends; a replica that is added while all connections stand
// is found only then.
//
// With "xds:///name" a control plane says where the service is, for programs that import google.golang.org/grpc/xds, which
// this package does not link. Balancing and retries are then those of the control plane's routes, for Get too. Whatever
// they say, the service has what it sends out once sent out once: see docs/mesh.md.
//
// New does not connect, so a service that is not there shows up at the first call. The connection is TLS, verified
// against the system's roots, unless an option says otherwise.
func New(target string, opts ...Option) (*Client, error) {
	if target == "" {
		return nil, errors.New("client: target is empty")
	}
	s := settings{timeout: DefaultTimeout, userAgent: defaultUserAgent}
	for _, opt := range opts {
		if err := opt(&s); err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
	}
	creds, err := s.transportCredentials()
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}

	dial := []grpc.DialOption{
		grpc.WithUserAgent(s.userAgent),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:    keepaliveTime,
			Timeout: keepaliveTimeout,
		}),
		grpc.WithChainUnaryInterceptor(withDefaultDeadline(s.timeout)),
	}
	if s.keyed {
		dial = append(dial, grpc.WithChainUnaryInterceptor(withKeys)) // inside the deadline, which covers all attempts
	}
	perRPC, err := s.callCredentials(target)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	for _, c := range perRPC {
		dial = append(dial, grpc.WithPerRPCCredentials(c))
	}
	dial = append(dial, s.dial...)
	// The last of two equal options wins: what WithDialOptions brings can neither make the connection plaintext nor
	// have Recover retried.
	dial = append(dial,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultServiceConfig(serviceConfig),
	)
	if !strings.HasPrefix(target, "xds:") { // whose service config is how it balances
		dial = append(dial, grpc.WithDisableServiceConfig())
	}

	conn, err := grpc.NewClient(target, dial...)
	if err != nil {
		return nil, fmt.Errorf("client: target %q: %w", target, err)
	}
	return &Client{
		RecoveryCodesServiceClient: recoverycodesv1.NewRecoveryCodesServiceClient(typedErrors{conn}),
		health:                     healthpb.NewHealthClient(typedErrors{conn}),
		conn:                       conn,
	}, nil
}

// Health asks whether the service takes calls, by the gRPC health protocol. A service that is shutting down answers
// NOT_SERVING, without an error.
func (c *Client) Health(ctx context.Context) (healthpb.HealthCheckResponse_ServingStatus, error) {
	resp, err := c.health.Check(ctx, &healthpb.HealthCheckRequest{
		Service: recoverycodesv1.RecoveryCodesService_ServiceDesc.ServiceName,
	})
	return resp.GetStatus(), err
}

// Close ends the connections. Calls in flight fail with CANCELLED, and for Recover and Rotate that is an unknown
// outcome: let them end first.
func (c *Client) Close() error {
	return c.conn.Close()
}

// withDefaultDeadline bounds each call whose context has no deadline of its own.
func withDefaultDeadline(timeout time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
}
