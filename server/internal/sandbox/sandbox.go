// Package sandbox is the recovery-code part of Stytch's B2B API, emulated at
// the wire: an HTTP server with organizations, members, codes and sessions of
// its own, kept in memory.
//
// It knows what Stytch's callers can see: paths, Basic authentication, the
// shape of answers and errors, and the effect of each call. It must not know
// the client that this project calls Stytch with, nor any other package of the
// project: it shares no type and no code with them, so that a mistake made
// there is not made here a second time. What is emulated from fact and what
// is assumed is set out in docs/sandbox.md.
//
// Nothing here protects anything. State is readable without credentials, and
// the credentials are constants.
package sandbox

import (
	"crypto/tls"
	"net/http"
	"sync"
	"time"
)

// Credentials that the sandbox takes: the project id as the user and the
// secret as the password of HTTP Basic authentication.
const (
	ProjectID = "project-test-00000000-0000-4000-8000-000000000000"
	Secret    = "secret-test-sandbox"
)

// Options configure a Sandbox. The zero value is ready for use.
type Options struct {
	// Clock tells the time that locks, sessions and tokens are reckoned by.
	// Nil means time.Now. It must be safe for concurrent use.
	Clock func() time.Time

	// Seed is what the sandbox starts from. Nil means DefaultSeed. New copies
	// nothing: the seed must not be changed afterwards.
	Seed *Seed

	// TLS makes Serve speak TLS, with HTTP/2 and HTTP/1.1, and a certificate
	// that New makes and CertificatePEM returns.
	TLS bool

	// Hosts are the names and IP addresses, beside those of loopback, that
	// the certificate is valid for.
	Hosts []string
}

// Sandbox is one emulated Stytch project. It is safe for concurrent use.
type Sandbox struct {
	clock func() time.Time
	seed  *Seed
	keys  *signingKey

	certificate *tls.Certificate // nil without TLS

	mu    sync.Mutex // guards state and all that it refers to
	state *state
}

// New makes a sandbox in the state that the seed describes. It fails when the
// seed contradicts itself.
func New(options Options) (*Sandbox, error) {
	s := &Sandbox{clock: options.Clock, seed: options.Seed, keys: newSigningKey()}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.seed == nil {
		s.seed = DefaultSeed()
	}
	if err := s.seed.validate(); err != nil {
		return nil, err
	}
	if options.TLS {
		certificate, err := newCertificate(options.Hosts)
		if err != nil {
			return nil, err
		}
		s.certificate = certificate
	}
	s.Reset()
	return s, nil
}

// Reset starts over from the seed: codes spent are whole again, sessions,
// locks, counts and fault members are gone. The key that signs session JWTs
// stays.
func (s *Sandbox) Reset() {
	fresh := newState(s.seed)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = fresh
}

// Handler returns the HTTP API of the sandbox. Any number of servers may
// serve it at the same time; they share one state.
func (s *Sandbox) Handler() http.Handler {
	return http.HandlerFunc(s.route)
}

func (s *Sandbox) now() time.Time {
	return s.clock().UTC().Truncate(time.Second)
}
