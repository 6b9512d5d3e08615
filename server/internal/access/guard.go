package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
)

// retryKeys is when to try again a call whose token could not be checked.
const retryKeys = 2 * time.Second

// Options are what a Guard goes by beside its policy.
type Options struct {
	// ProjectID is the server's Stytch project id, which HTTP Basic must give as the user. When it is empty, Basic
	// proves nobody.
	ProjectID string

	// Report is told why the keys of a JWT issuer could not be renewed, once for each reason. It may be nil.
	Report func(error)
}

// Guard finds the caller of each call by a policy, which can be replaced while calls are under way. It is safe for
// concurrent use.
type Guard struct {
	options Options

	replacing sync.Mutex // so that each Replace builds on the one before
	rules     atomic.Pointer[rules]
}

// rules are a policy, ready for use. They do not change, but for the state of limiters and of fetched keys, which the
// rules that replace them take over.
type rules struct {
	anyone *Caller // not nil: every call is this caller's, and nothing else counts

	sidecars sidecars
	byName   map[string]*Caller
	callers  map[identity]*Caller // of every kind but secret
	hashes   [][sha256.Size]byte  // of secrets, each of the caller at the same place in owners
	owners   []*Caller
	verifier *verifier
}

// NewGuard returns the guard of a policy. It needs no closing.
func NewGuard(policy []byte, options Options) (*Guard, error) {
	if options.Report == nil {
		options.Report = func(error) {}
	}
	g := &Guard{options: options}
	if err := g.Replace(policy); err != nil {
		return nil, err
	}
	return g, nil
}

// Anyone returns the guard of a server without a policy: every call is by a caller named "anyone", who may do everything.
// Credentials in calls count for nothing, wrong ones too. Its policy cannot be replaced.
func Anyone() *Guard {
	g := &Guard{}
	g.rules.Store(&rules{anyone: newCaller(grant{
		name: anyone, methods: []string{"Get", "Recover", "Rotate"}, organizations: []string{anyOrganization},
	}, nil)})
	return g
}

// Replace puts another policy in the place of the one in force, for all calls that follow. One that is wrong changes
// nothing. What callers have used of their rates stays used, by name and whatever the new rate is, and keys of
// issuers that stay as they are stay fetched.
func (g *Guard) Replace(policy []byte) error {
	g.replacing.Lock()
	defer g.replacing.Unlock()
	before := g.rules.Load()
	if before == nil {
		before = &rules{}
	}
	if before.anyone != nil {
		return errors.New("access: a server without a policy has none to replace")
	}
	p, err := ParsePolicy(policy)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	verifier, err := newVerifier(p.issuers, before.verifier, g.options.Report)
	if err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	after := &rules{
		sidecars: p.sidecars,
		byName:   make(map[string]*Caller),
		callers:  make(map[identity]*Caller),
		verifier: verifier,
	}
	for _, grant := range p.callers { // nothing may fail from here on: limiters are in use already
		c := newCaller(grant, before.byName[grant.name])
		after.byName[c.name] = c
		for _, id := range grant.identities {
			after.add(id, c)
		}
	}
	g.rules.Store(after)
	return nil
}

func (r *rules) add(id identity, c *Caller) {
	if id.kind != secret {
		r.callers[id] = c
		return
	}
	var hash [sha256.Size]byte
	if _, err := hex.Decode(hash[:], []byte(id.value)); err != nil {
		return // the policy has checked it; a caller who gets none is one who cannot call
	}
	r.hashes = append(r.hashes, hash)
	r.owners = append(r.owners, c)
}

// Callers is how many callers the policy in force names; none without a policy.
func (g *Guard) Callers() int { return len(g.rules.Load().byName) }

// Identify finds the caller of a call by what its door has seen of it, or says why there is none. These are the rules:
//
//   - The header of a sidecar counts when the peer is trusted to speak for others: by its unix socket, by loopback or by
//     its certificate. From anybody else it refuses the call, whatever else is in it.
//   - What is presented must hold. A header that is malformed or names nobody in the policy, a token or password that is
//     wrong: each refuses the call, even beside a good credential of another kind. A sidecar that names a client without
//     permission must not be overruled by a token, and a wrong token is never an accident to be looked over.
//   - A certificate that names nobody in the policy is no such presentation: a mesh gives one to everybody. The token
//     decides, and without one nobody has called.
//   - The certificate of a trusted peer is the sidecar's; beside a header or a token it does not count. A listed sidecar
//     is never a caller itself, which the policy sees to.
//   - Of what counts, everything must name the same caller.
//
// The context bounds the fetch of an issuer's keys.
func (g *Guard) Identify(ctx context.Context, e Evidence) (*Caller, *apierror.Error) {
	r := g.rules.Load()
	if r.anyone != nil {
		return r.anyone, nil
	}
	var named []*Caller
	trusted := r.sidecars.trust(e)
	if len(e.ForwardedClientCert) > 0 {
		if !trusted {
			return nil, unauthenticated(apierror.ForwardedIdentityRefused,
				"x-forwarded-client-cert is not accepted from this peer")
		}
		id, err := forwardedIdentity(e.ForwardedClientCert)
		if err != nil {
			return nil, unauthenticated(apierror.CredentialInvalid, "x-forwarded-client-cert is malformed")
		}
		c := r.callers[id]
		if c == nil {
			return nil, unauthenticated(apierror.CallerUnknown, "x-forwarded-client-cert names no caller")
		}
		named = append(named, c)
	}
	if len(e.Authorization) > 0 {
		c, refusal := r.authorized(ctx, e.Authorization, g.options.ProjectID)
		if refusal != nil {
			return nil, refusal
		}
		named = append(named, c)
	}
	if e.Certificate != nil && (!trusted || len(named) == 0) {
		if id, err := certificateIdentity(e.Certificate); err == nil && r.callers[id] != nil {
			named = append(named, r.callers[id])
		}
	}
	switch {
	case len(named) == 0:
		return nil, unauthenticated(apierror.CallerUnknown, "the call names no caller: a credential is required")
	case slices.ContainsFunc(named, func(c *Caller) bool { return c != named[0] }):
		return nil, unauthenticated(apierror.CallerConflict, "the call names different callers")
	}
	return named[0], nil
}

// authorized finds the caller whom the Authorization header names.
func (r *rules) authorized(ctx context.Context, values []string, projectID string) (*Caller, *apierror.Error) {
	scheme, token, user, err := parseAuthorization(values)
	switch {
	case err != nil:
		return nil, wrongCredential()
	case scheme == basic && (projectID == "" || user != projectID):
		return nil, wrongCredential()
	case scheme == bearer && jwtShaped(token):
		return r.byToken(ctx, token)
	}
	if i := matchSecret(r.hashes, token); i >= 0 {
		return r.owners[i], nil
	}
	return nil, wrongCredential()
}

// byToken finds the caller whom a JWT names.
func (r *rules) byToken(ctx context.Context, token string) (*Caller, *apierror.Error) {
	id, err := r.verifier.verify(ctx, token)
	switch {
	case errors.Is(err, errKeysUnavailable):
		return nil, &apierror.Error{
			Code: codes.Unavailable, Reason: apierror.NotSent,
			Message:    "the token cannot be checked now, because its issuer's keys cannot be had; nothing was sent",
			RetryAfter: retryKeys,
		}
	case err != nil:
		return nil, wrongCredential()
	case r.callers[id] == nil:
		return nil, unauthenticated(apierror.CallerUnknown, "the token in authorization names no caller")
	}
	return r.callers[id], nil
}

// trust says whether the peer may speak for others.
func (s *sidecars) trust(e Evidence) bool {
	if e.Unix && s.unix || e.Loopback && s.loopback {
		return true
	}
	if e.Certificate == nil {
		return false
	}
	id, err := certificateIdentity(e.Certificate)
	return err == nil && slices.Contains(s.certificates, id)
}

// wrongCredential does not tell what is wrong.
func wrongCredential() *apierror.Error {
	return unauthenticated(apierror.CredentialInvalid, "the credential in authorization is not valid")
}

func unauthenticated(reason, message string) *apierror.Error {
	return &apierror.Error{Code: codes.Unauthenticated, Reason: reason, Message: message}
}
