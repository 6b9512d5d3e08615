package recoverycodes

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/stytch"
)

// breakerRest is how long an open breaker refuses before it lets one call try again.
const breakerRest = 5 * time.Second

// gate refuses calls early, while it is certain that nothing has left: when too little of the deadline remains, when
// too many are under way, and while the upstream is known to fail.
type gate struct {
	least   time.Duration
	slots   chan struct{}
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}] // nil: none
	closing atomic.Bool                                // calls with an effect are refused
}

func newGate(least time.Duration, inFlight, breakerFailures int) *gate {
	g := &gate{least: least, slots: make(chan struct{}, inFlight)}
	if breakerFailures > 0 {
		g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Timeout:     breakerRest,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= uint32(breakerFailures) },
			IsExcluded:  func(err error) bool { return errors.Is(err, errNoEvidence) },
		})
	}
	return g
}

var (
	errFailed     = errors.New("recoverycodes: the upstream failed")
	errNoEvidence = errors.New("recoverycodes: the call ended before the upstream could fail")
)

// enter admits a call to the upstream or says why not. Whoever is admitted calls leave, once, when
// the exchange that it is given is over.
func (g *gate) enter(ctx context.Context, op *operation) (leave func(*stytch.Exchange), refusal *apierror.Error) {
	if g.closing.Load() && op.hasEffect() {
		return nil, NotSent(apierror.LimitDraining, "the server is stopping; nothing was sent")
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < g.least {
		return nil, NotSent(apierror.LimitDeadline, "too little of the deadline is left; nothing was sent")
	}
	select {
	case g.slots <- struct{}{}:
	default:
		return nil, NotSent(apierror.LimitInFlight, "too many calls are under way; nothing was sent")
	}
	done := func(error) {}
	if g.breaker != nil {
		allowed, err := g.breaker.Allow()
		if err != nil {
			<-g.slots
			e := NotSent(apierror.LimitBreaker, "the upstream is failing; nothing was sent")
			e.RetryAfter = breakerRest
			return nil, e
		}
		done = allowed
	}
	return func(x *stytch.Exchange) {
		<-g.slots
		done(evidence(x))
	}, nil
}

// Breaker is the state of what refuses calls while the upstream keeps failing.
type Breaker string

// The states of a breaker.
const (
	BreakerClosed Breaker = "closed"    // calls pass
	BreakerOpen   Breaker = "open"      // calls are refused
	BreakerTrying Breaker = "half_open" // one call finds out
)

// Breaker returns the state of the service's breaker; without one it is closed.
func (s *Service) Breaker() Breaker {
	if s.gate.breaker == nil {
		return BreakerClosed
	}
	switch s.gate.breaker.State() {
	case gobreaker.StateOpen:
		return BreakerOpen
	case gobreaker.StateHalfOpen:
		return BreakerTrying
	default:
		return BreakerClosed
	}
}

// UpstreamCalls returns how many calls are at the upstream.
func (s *Service) UpstreamCalls() int { return len(s.gate.slots) }

// evidence is what an exchange says about the health of the upstream: an answer that is a verdict is a good sign, and
// so is a limit; a caller who went away is no sign at all.
func evidence(x *stytch.Exchange) error {
	switch {
	case x.Fault == "" && x.Status == 0: // it panicked
		return errNoEvidence
	case x.Fault == stytch.FaultCancelled || x.Fault == stytch.FaultDeadline || x.Fault == stytch.FaultBadID:
		return errNoEvidence
	case x.Fault != "" && x.Fault != stytch.FaultTooLarge, x.Status >= 500:
		return errFailed
	default:
		return nil
	}
}
