package recoverycodes

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"recoverycodes.internal/server/internal/stytch"
)

const (
	// maxRetries is how often a Get is sent again at most.
	maxRetries = 2

	// retryPause is waited before the first retry, and twice as long before the second; each is drawn from half to
	// one and a half of it, so that callers who failed together do not come back together.
	retryPause = 50 * time.Millisecond

	// A retry costs a token. Tokens come with calls, one for ten, so that an upstream that fails everything sees a tenth
	// more calls and not three times as many.
	tokensPerCall = 0.1
	maxTokens     = 20
)

// retrier sends a Get again when its exchange failed in a way that another attempt may mend. Nothing else is ever sent
// again.
type retrier struct {
	mu     sync.Mutex
	tokens float64
}

func newRetrier() *retrier { return &retrier{tokens: maxTokens} }

// get runs attempt until it is worth no more, and returns the last exchange and how often it was repeated. least is
// the time that must be left for an attempt to be worth starting.
func (r *retrier) get(ctx context.Context, least time.Duration, attempt func() stytch.Exchange) (stytch.Exchange, int) {
	r.credit()
	for retries := 0; ; retries++ {
		x := attempt()
		if retries == maxRetries || !mendable(&x) || !r.spend() {
			return x, retries
		}
		pause := time.Duration((0.5 + rand.Float64()) * float64(retryPause<<retries)) //nolint:gosec // jitter is no secret
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < pause+least {
			return x, retries
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return x, retries
		}
	}
}

// mendable reports whether another attempt may go better: a connection that was not made or broke, and a 5xx. What
// used up its time is not tried again, and what was answered is not either.
func mendable(x *stytch.Exchange) bool {
	switch x.Fault {
	case "":
		return x.Status >= 500
	case stytch.FaultResolve, stytch.FaultConnect, stytch.FaultReset, stytch.FaultOther:
		return true
	default:
		return false
	}
}

func (r *retrier) credit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens = min(r.tokens+tokensPerCall, maxTokens)
}

func (r *retrier) spend() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}
