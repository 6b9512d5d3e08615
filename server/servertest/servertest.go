// Package servertest runs the whole server in this process, with an emulated Stytch behind it, on loopback ports of its
// own. It knows the server's settings and what its sandbox has seen; it knows no client and no test: clienttest makes of
// it what tests want.
//
// It changes nothing that belongs to the process: it reads no environment, handles no signal, sets no logger of a library,
// and writes where it is told to and nowhere else.
package servertest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/daemon"
	"recoverycodes.internal/server/internal/sandbox"
)

// What the sandbox starts from when Options have no Seed. The organization goes by its id and by its slug.
const (
	OrganizationID   = sandbox.OrganizationID
	OrganizationSlug = sandbox.OrganizationSlug
	MemberID         = sandbox.MemberID
)

// RecoveryCodes are the ten codes that a member starts with unless a seed gives it others.
func RecoveryCodes() []string { return sandbox.RecoveryCodes() }

// maxName bounds the name of a fault member, whose id has 128 characters at most.
const maxName = 64

// FaultMember is the member about whom each call goes wrong in a way that docs/sandbox.md lists, by its KIND. It is in the
// first organization of the seed. Each name makes another member, with codes and counts of its own. A name that is no part
// of an id, such as a test's with a slash in it, is made one.
func FaultMember(kind, name string) string {
	plain := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-._~", r)) {
			return r
		}
		return '-'
	}, name)
	if plain != name || len(name) > maxName {
		sum := sha256.Sum256([]byte(name)) // so that names that are different stay so
		plain = fmt.Sprintf("%.*s~%x", maxName-17, plain, sum[:8])
	}
	return "member-test-fault-" + kind + "~" + plain
}

// Options say what a Server is like. The zero value is the server as `recoverycodesd serve --sandbox` runs it but for the
// ports, without an audit log.
type Options struct {
	// Settings are flags of `recoverycodesd serve`; of those that contradict each other the last one counts.
	Settings []string

	// Seed is the text of a seed file, which docs/sandbox.md describes. Without one the sandbox has one member.
	Seed string

	// Policy is the text of a policy, which docs/access.md describes. Without one every caller may do everything.
	Policy string

	// Log and Audit take the log and the audit log, line by line, until Stop returns. What is nil is not written.
	Log, Audit io.Writer
}

// A Server is a running server.
type Server struct {
	// GRPC, REST and Admin are the addresses of the doors: host:port, or unix:/path if a setting has it so.
	GRPC, REST, Admin string

	// TLS says that settings gave the gRPC and the REST door a certificate. Otherwise they speak plaintext.
	TLS bool

	sandbox *sandbox.Sandbox
	parts   errgroup.Group
	leave   func()       // has all parts end
	dir     string       // of the policy's file, or empty
	stop    func() error // once
}

// defaults are flags that come before those of Options. A server in a test waits for no balancer when it stops, and not
// for long for those who have gone without a word. Faults that a test asks for must not make the breaker refuse other
// calls.
var defaults = []string{
	"--sandbox", "--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0",
	"--drain-delay=0s", "--drain-timeout=250ms", "--upstream-breaker-failures=0", "--log-format=console", "--audit-file=off",
}

// Start runs a server until Stop and returns when it serves.
func Start(o Options) (*Server, error) {
	s := &Server{leave: func() {}}
	s.stop = sync.OnceValue(s.end)
	if err := s.start(o); err != nil {
		_ = s.Stop() // what is wrong is known already
		return nil, fmt.Errorf("servertest: %w", err)
	}
	return s, nil
}

func (s *Server) start(o Options) error {
	cfg, err := s.settings(o)
	if err != nil {
		return err
	}
	s.TLS = cfg.TLSCertificate != ""
	options := sandbox.Options{}
	if cfg.SandboxSeed != nil {
		if options.Seed, err = sandbox.ReadSeed(bytes.NewReader(cfg.SandboxSeed)); err != nil {
			return err
		}
	}
	if s.sandbox, err = sandbox.New(options); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a loopback listener binds at once
	if err != nil {
		return err
	}
	emulating, endSandbox := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancelCause(context.Background())
	s.leave = func() {
		cancel(daemon.ErrInterrupted)
		endSandbox() // so that calls that wait for it end now and not at their time limit
	}
	s.parts.Go(func() error { return s.sandbox.Serve(emulating, listener) })
	serving, ended := make(chan daemon.Addresses, 1), make(chan error, 1)
	s.parts.Go(func() error {
		err := daemon.Serve(ctx, cfg, daemon.Options{
			Stdout: cmp.Or(o.Audit, io.Discard), Stderr: cmp.Or(o.Log, io.Discard),
			Serving: func(at daemon.Addresses) { serving <- at },
			Sandbox: listener.Addr(),
		})
		ended <- err
		return err
	})
	select {
	case at := <-serving:
		s.GRPC, s.REST, s.Admin = text(at.GRPC), text(at.HTTP), text(at.Admin)
		return nil
	case err := <-ended:
		return err
	}
}

// settings reads the flags and writes what they want in files.
func (s *Server) settings(o Options) (_ *config.Serve, err error) {
	flags := slices.Clone(defaults)
	if o.Audit != nil {
		flags = append(flags, "--audit-file=-")
	}
	if o.Policy != "" {
		if s.dir, err = os.MkdirTemp("", "servertest"); err != nil {
			return nil, err
		}
		path := filepath.Join(s.dir, "policy.yaml")
		if err := os.WriteFile(path, []byte(o.Policy), 0o600); err != nil {
			return nil, err
		}
		flags = append(flags, "--policy="+path)
	}
	cfg, err := config.ParseServe(append(flags, o.Settings...), func(string) string { return "" })
	if err != nil {
		return nil, err
	}
	if !cfg.Sandbox {
		return nil, errors.New("--sandbox: cannot be false, since no real project is served here")
	}
	if o.Seed != "" {
		cfg.SandboxSeed = []byte(o.Seed)
	}
	return cfg, nil
}

// text is an address as clients take it.
func text(at net.Addr) string {
	if at.Network() == "unix" {
		return "unix:" + at.String()
	}
	return at.String()
}

// Stop stops the server and returns when nothing of it runs any more. Calls that are still open are broken off after
// a moment. The error is what had failed before, if anything; a second Stop returns the same.
func (s *Server) Stop() error { return s.stop() }

func (s *Server) end() error {
	s.leave()
	err := s.parts.Wait()
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// A Member is what the emulated Stytch has of one member.
type Member struct {
	// Calls are the requests about the member that have arrived at Stytch, whatever came of them. A Get that fails is sent
	// again by the server, so that one call may arrive as three.
	Calls Counts

	// Effects are the codes spent and the rotations. Get has none.
	Effects Counts

	// RecoveryCodes are those that are still active.
	RecoveryCodes []string

	// FailedAttempts are the wrong codes in a row that have arrived. After ten the member is Locked for an hour.
	FailedAttempts int
	Locked         bool
}

// Counts are numbers by operation.
type Counts struct{ Get, Recover, Rotate int }

// Member returns what the emulated Stytch has of the member with an id. It has nothing of a member that it does not know,
// nor of a fault member that no call has named yet.
func (s *Server) Member(id string) Member {
	m := s.sandbox.State().Members[id]
	return Member{
		Calls: Counts(m.Calls), Effects: Counts(m.Effects), RecoveryCodes: m.RecoveryCodes,
		FailedAttempts: m.FailedAttempts, Locked: m.IsLocked,
	}
}
