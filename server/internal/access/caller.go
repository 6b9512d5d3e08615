package access

import (
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
)

// anyone is the name of every caller of a server without a policy. No policy gives it.
const anyone = "anyone"

// Caller is who makes a call, and what they may do. It is safe for concurrent use. A call that has its Caller keeps it:
// a policy that is replaced while the call is under way counts for the next.
type Caller struct {
	name          string
	methods       []string
	organizations map[string]struct{} // nil: all
	limiter       *rate.Limiter       // nil: none
}

// Name returns the name that the policy gives the caller. It is at most 63 of a-z 0-9 . _ - and no secret.
func (c *Caller) Name() string { return c.name }

// Method refuses a method of the service, by its name alone, such as "Recover", that the caller may not use.
func (c *Caller) Method(method string) *apierror.Error {
	if slices.Contains(c.methods, method) {
		return nil
	}
	return &apierror.Error{
		Code: codes.PermissionDenied, Reason: apierror.OperationNotAllowed,
		Message: "this caller may not use this operation",
	}
}

// Organization refuses an organization that the caller may not name, by the handle that the request has for it. The
// same organization can be named by its id, its slug and its external id; a policy lists ids and this server cannot
// translate, so a caller with a list must use ids. What is said does not depend on whether the organization exists.
//
// A handle in the form of an id may still be another organization's slug or external id. That lets nobody in: only
// what equals a listed id passes, and that Stytch takes for the id.
func (c *Caller) Organization(handle string) *apierror.Error {
	if c.organizations == nil {
		return nil
	}
	if _, ok := c.organizations[handle]; ok {
		return nil
	}
	if !strings.HasPrefix(handle, "organization-live-") && !strings.HasPrefix(handle, "organization-test-") {
		return &apierror.Error{
			Code: codes.PermissionDenied, Reason: apierror.OrganizationIDRequired,
			Message: "this caller must name organizations by their id (organization-live-… or organization-test-…), " +
				"not by slug or external id",
		}
	}
	return &apierror.Error{
		Code: codes.PermissionDenied, Reason: apierror.OrganizationNotAllowed,
		Message: "this caller may not use this organization",
	}
}

// Take counts a call against the caller's rate and refuses one too many.
func (c *Caller) Take() *apierror.Error {
	if c.limiter == nil || c.limiter.Allow() {
		return nil
	}
	// How long until there is a token is computed, not reserved: a reservation given back under load is lost in part,
	// and a flood of refused calls would push the caller below its rate.
	seconds := (1 - c.limiter.Tokens()) / float64(c.limiter.Limit())
	wait := time.Duration(math.Ceil(seconds * float64(time.Second)))
	return &apierror.Error{
		Code: codes.ResourceExhausted, Reason: apierror.NotSent, Limit: apierror.LimitRate,
		Message:    "this caller's rate limit is reached; nothing was sent",
		RetryAfter: max(wait, time.Millisecond),
	}
}

// newCaller makes a caller of what a policy says. From the one who had the name before, if any, it takes over the
// limiter, adjusted to the new rate with what was used still used: a policy that is replaced gives nobody a fresh burst.
func newCaller(g grant, before *Caller) *Caller {
	c := &Caller{name: g.name, methods: g.methods}
	if !slices.Contains(g.organizations, anyOrganization) {
		c.organizations = make(map[string]struct{}, len(g.organizations))
		for _, id := range g.organizations {
			c.organizations[id] = struct{}{}
		}
	}
	switch limit := g.rate; {
	case limit == nil:
	case before == nil || before.limiter == nil:
		c.limiter = rate.NewLimiter(rate.Limit(limit.perSecond), limit.burst)
	default:
		c.limiter = before.limiter
		c.limiter.SetLimit(rate.Limit(limit.perSecond))
		c.limiter.SetBurst(limit.burst)
	}
	return c
}
