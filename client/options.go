package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// An Option changes how a Client connects and calls. One that cannot be applied makes New fail.
type Option func(*settings) error

type settings struct {
	transport credentials.TransportCredentials
	plaintext bool
	timeout   time.Duration
	perRPC    []credentials.PerRPCCredentials
	userAgent string
	dial      []grpc.DialOption
	keyed     bool
}

// transportCredentials returns what the connection is secured with. Plaintext is never a fallback.
func (s *settings) transportCredentials() (credentials.TransportCredentials, error) {
	switch {
	case s.plaintext && s.transport != nil:
		return nil, errors.New("WithInsecure and WithTransportCredentials exclude each other")
	case s.plaintext:
		return insecure.NewCredentials(), nil
	case s.transport != nil:
		return s.transport, nil
	default:
		return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}), nil
	}
}

// WithTransportCredentials secures the connection with creds instead of TLS against the system's roots: another set of
// roots, a client certificate.
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
// loopback, and for meshes whose sidecars encrypt.
func WithInsecure() Option {
	return func(s *settings) error {
		s.plaintext = true
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

// WithPerRPCCredentials adds creds to every call: a token, a signed header. Credentials that require transport security
// cannot be combined with WithInsecure.
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

// WithDialOptions passes options to gRPC that have no option here: interceptors, resolvers, stats handlers. The
// transport credentials and the service config are the Client's own and cannot be replaced in this way. An interceptor
// can still repeat a call, and must leave Recover and Rotate alone.
func WithDialOptions(opts ...grpc.DialOption) Option {
	return func(s *settings) error {
		s.dial = append(s.dial, opts...)
		return nil
	}
}
