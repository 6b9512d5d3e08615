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

// WithTimeout sets the deadline of calls whose context has none, instead of DefaultTimeout. For Get it covers all
// attempts together. A deadline shorter than the service's own bound for an upstream call (31 seconds) makes unknown
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
