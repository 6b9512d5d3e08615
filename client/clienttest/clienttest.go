// Package clienttest is the recovery-codes service for tests of programs that call it: not a mock but the whole server,
// in this process and on loopback ports of its own, with an emulated Stytch behind it. What it answers, refuses and leaves
// open is what the service does, so that a test of a caller finds out what its users would.
//
// [New] starts one for a test and stops it with the test; it takes some milliseconds, and any number may run at the same
// time. [Start] is for what is no test, such as a program that a person tries out.
//
//	service := clienttest.New(t)
//	login := NewLogin(service.Client()) // what is to be tested
//
// # Members
//
// The emulated Stytch starts with one organization, [OrganizationID], of one member, [MemberID], who has the ten codes of
// [RecoveryCodes]. Tests that share a Service can each have a member of their own, by [Fault.Member]: NoFault.Member(t.Name())
// is a member with the same ten codes, to whom nothing happens. [WithSeed] starts from something else.
//
// # What goes wrong
//
// A [Fault] is asked for by the member that a call is about, and so passes everything between the test and Stytch.
// [Service.Member] then tells how often the call arrived and whether it took effect. A service that sends nothing is one
// that never has the time to:
//
//	clienttest.New(t, clienttest.WithSettings("--upstream-timeout=2m", "--upstream-least-time=1m"))
//
// # What is as in production
//
// Everything that options do not change, but that every caller is taken, in plaintext and without an audit log, that the
// service waits for nobody when it is stopped, and that it does not stop sending when Stytch keeps failing, so that the
// faults of one test do not reach another. Wrong codes count, for the member and for the caller: after four a member has to
// wait, and tests that share a Service and send twenty may be refused.
//
// No account is needed, and nothing leaves the machine.
//
// The package links the server, and so is for tests; package client links nothing of it.
package clienttest

import (
	"errors"
	"sync"
	"testing"

	"recoverycodes.internal/client"
	"recoverycodes.internal/server/servertest"
)

// What the emulated Stytch starts from without WithSeed. The slug names the organization as well.
const (
	OrganizationID   = servertest.OrganizationID
	OrganizationSlug = servertest.OrganizationSlug
	MemberID         = servertest.MemberID
)

// RecoveryCodes returns the ten codes that members start with, those of faults included.
func RecoveryCodes() []string { return servertest.RecoveryCodes() }

// A Service is a running recovery-codes service.
type Service struct {
	// GRPC, REST and Admin are the addresses of its doors: host:port, or unix:/path if a setting has it so. Admin has the
	// metrics and the pages.
	GRPC, REST, Admin string

	server *servertest.Server
	client *client.Client
	close  func() error // once
}

// An Option changes what a Service is like. Of two that set the same thing, the later counts, but for WithSettings and
// WithClientOptions, which add up.
type Option func(*settings)

type settings struct {
	server servertest.Options
	client []client.Option
}

// New starts a Service for a test and stops it when the test ends, after the test's own cleanup functions that were added
// later. If the test has failed by then, the end of the service's log is in its output.
func New(tb testing.TB, opts ...Option) *Service {
	tb.Helper()
	var log tail
	s, err := Start(append([]Option{WithLog(&log)}, opts...)...)
	if err != nil {
		tb.Fatalf("%v\n%s", err, log.text)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("clienttest: the service had failed: %v", err)
		}
		if tb.Failed() && len(log.text) > 0 {
			tb.Logf("the end of the service's log:\n%s", log.text)
		}
	})
	return s
}

// Start starts a Service, which is its caller's to close. It writes nothing anywhere unless an option says so.
func Start(opts ...Option) (*Service, error) {
	var o settings
	for _, opt := range opts {
		opt(&o)
	}
	server, err := servertest.Start(o.server)
	if err != nil {
		return nil, err
	}
	if !server.TLS {
		o.client = append([]client.Option{client.WithInsecure()}, o.client...) // on loopback
	}
	c, err := client.New(server.GRPC, o.client...)
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return &Service{
		GRPC: server.GRPC, REST: server.REST, Admin: server.Admin, server: server, client: c,
		close: sync.OnceValue(func() error {
			_ = c.Close() // it has not been closed before
			return server.Stop()
		}),
	}, nil
}

// Client returns the Service's own client of it, which is closed with it. Others can be made by client.New with GRPC and
// client.WithInsecure; they are their maker's to close.
func (s *Service) Client() *client.Client { return s.client }

// Member returns what the emulated Stytch has of the member with an id: the calls that arrived, their effects, and the
// codes that are left. Of a member that it does not know it has nothing, and the same goes for a member of a Fault that no
// call has named yet.
func (s *Service) Member(id string) Member { return s.server.Member(id) }

// A Member is what the emulated Stytch has of one member.
type Member = servertest.Member

// Counts are numbers by operation.
type Counts = servertest.Counts

// Close stops the Service and returns when nothing of it runs any more, which takes about a second if somebody still
// holds a stream open. Calls that are still under way are broken off. The error is what had failed before, if anything.
func (s *Service) Close() error { return s.close() }
