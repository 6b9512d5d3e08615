package client

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"

	"recoverycodes.internal/client/internal/target"
)

// An Option changes how a Client connects and calls. One that cannot be applied makes New fail.
type Option func(*settings) error

type settings struct {
	transport credentials.TransportCredentials
	tls       tlsFiles
	plaintext bool
	mesh      bool
	token     func() string // nil: none
	timeout   time.Duration
	perRPC    []credentials.PerRPCCredentials
	userAgent string
	dial      []grpc.DialOption
	keyed     bool
}

// transportCredentials returns what the connection is secured with. Plaintext is never a fallback.
func (s *settings) transportCredentials() (credentials.TransportCredentials, error) {
	const exclude = "%s and %s exclude each other"
	plaintext := "WithInsecure"
	if s.mesh {
		plaintext = "WithMeshEncryption"
	}
	switch {
	case s.plaintext && s.transport != nil:
		return nil, fmt.Errorf(exclude, plaintext, "WithTransportCredentials")
	case s.plaintext && s.tls.given():
		return nil, fmt.Errorf(exclude, plaintext, "files of TLS")
	case s.transport != nil && s.tls.given():
		return nil, fmt.Errorf(exclude, "WithTransportCredentials", "files of TLS")
	case s.plaintext:
		return insecure.NewCredentials(), nil
	case s.transport != nil:
		return s.transport, nil
	default:
		return newHandshakeTLS(s.tls), nil
	}
}

// callCredentials returns what is added to every call to service.
func (s *settings) callCredentials(service string) ([]credentials.PerRPCCredentials, error) {
	if s.token == nil {
		return s.perRPC, nil
	}
	if s.plaintext && !s.mesh && !target.Local(service) {
		return nil, fmt.Errorf("target %q: a token is not sent in plaintext to another machine: "+
			"use TLS, or WithMeshEncryption if a sidecar encrypts", service)
	}
	return append(s.perRPC, bearer{token: s.token, plaintext: s.plaintext}), nil
}

// WithTransportCredentials secures the connection with creds instead of TLS against the system's roots: for what
// WithCAFile and WithCertificateFiles do not cover, such as a tls.Config of the program's own.
func WithTransportCredentials(creds credentials.TransportCredentials) Option {
	return func(s *settings) error {
		if creds == nil {
			return errors.New("WithTransportCredentials: credentials are nil")
		}
		s.transport = creds
		return nil
	}
}

// WithInsecure makes the connection plaintext. Codes and session tokens then cross the network readable, so it is for
// loopback. Behind a mesh whose sidecars encrypt, WithMeshEncryption says so.
func WithInsecure() Option {
	return func(s *settings) error {
		s.plaintext = true
		return nil
	}
}

// WithMeshEncryption is WithInsecure by a program that knows that what it sends in plaintext reaches a sidecar on its own
// machine, which encrypts it. A token may then be sent to any target. Nothing here can check that there is such a
// sidecar: without one, everything crosses the network readable.
func WithMeshEncryption() Option {
	return func(s *settings) error {
		s.plaintext, s.mesh = true, true
		return nil
	}
}

// WithTimeout sets the deadline of calls whose context has none, instead of DefaultTimeout. It covers all attempts
// of a call together. A deadline shorter than the service's own bound for an upstream call (31 seconds) makes unknown
// outcomes of Recover and Rotate more likely.
func WithTimeout(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return fmt.Errorf("WithTimeout: %v is not positive", d)
		}
		s.timeout = d
		return nil
	}
}

// WithKeyedRetries gives each Recover and Rotate an idempotency key and sends a call that failed again, under the same
// key, at most twice and within its deadline. The service makes a keyed call once and answers the later attempts with
// what the first one came to, so that a broken connection no longer costs a session.
//
// It is off by default because it is safe only while every attempt of a call reaches the same store of keys. One server
// process has its own in memory, and one that crashes between two attempts has forgotten the first. Several servers
// share one only if they were told to (--once-redis-url): otherwise the second attempt can be a second Recover or
// Rotate behind a balancer or with round robin.
//
// A call is sent again if it was NotSent, or if it broke on the way so that its outcome is Unknown; never if it was
// refused, nor after OUTCOME_UNKNOWN or ANSWER_LOST, which the service would only repeat. The pause between the attempts
// is jittered and as long as the service asks for; if that is more than five seconds, or leaves no time, the
// failure is returned. If one attempt may have taken effect and no later one says what became of it, the call's
// outcome is Unknown, although its last attempt was not sent.
//
// The key is random, and new for each call. A caller that has put one of its own into the outgoing metadata, as
// "idempotency-key", keeps it. Get has no key, and is retried as ever.
func WithKeyedRetries() Option {
	return func(s *settings) error {
		s.keyed = true
		return nil
	}
}

// WithPerRPCCredentials adds creds to every call, such as a signed header; for bearer tokens there is WithToken.
// Credentials that require transport security cannot be combined with WithInsecure or WithMeshEncryption.
func WithPerRPCCredentials(creds credentials.PerRPCCredentials) Option {
	return func(s *settings) error {
		if creds == nil {
			return errors.New("WithPerRPCCredentials: credentials are nil")
		}
		s.perRPC = append(s.perRPC, creds)
		return nil
	}
}

// WithUserAgent names the calling program to the service; gRPC appends its own name and version.
func WithUserAgent(name string) Option {
	return func(s *settings) error {
		s.userAgent = name
		return nil
	}
}

// WithStatsHandler has h see every call and attempt of the Client. This is where OpenTelemetry comes in, which this package
// does not depend on, so that its users need not:
//
//	client.WithStatsHandler(otelgrpc.NewClientHandler())
//
// with otelgrpc from go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc. The trace then goes on
// in the service. A handler is shown whole messages, codes and tokens included, and must not keep them; otelgrpc
// does not. It may be given more than once.
func WithStatsHandler(h stats.Handler) Option {
	return func(s *settings) error {
		if h == nil {
			return errors.New("WithStatsHandler: handler is nil")
		}
		s.dial = append(s.dial, grpc.WithStatsHandler(h))
		return nil
	}
}

// WithDialOptions passes options to gRPC that have no option here: interceptors, resolvers, an authority. The
// transport credentials and the service config are the Client's own and cannot be replaced in this way. An interceptor
// can still repeat a call, and must leave Recover and Rotate alone.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return func(s *settings) error {
		s.dial = append(s.dial, opts...)
		return nil
	}
}
