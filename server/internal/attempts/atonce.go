package attempts

import (
	"context"
	"sync"
	"time"
)

// soon is when to come again if nothing but one's own calls is in the way.
const soon = time.Second

// Store is Memory or Redis.
type Store interface {
	Reserve(ctx context.Context, a Attempt) (settle func(Verdict), err error)
}

// AtOnce bounds, in front of a store, how many attempts a caller has under way in this process. A caller's share counts
// verdicts, and without a bound a caller could have everything sent before the first of them. It is safe for
// concurrent use.
type AtOnce struct {
	store Store
	limit int

	mu      sync.Mutex
	callers map[string]int // of those that have any
}

// NewAtOnce returns a store in front of another. The limit must be positive.
func NewAtOnce(store Store, limit int) *AtOnce {
	return &AtOnce{store: store, limit: limit, callers: make(map[string]int)}
}

// Reserve has the contract of Memory.Reserve. One attempt too many is an *ExceededError of the caller.
func (b *AtOnce) Reserve(ctx context.Context, a Attempt) (settle func(Verdict), err error) {
	if !b.enter(a.Caller) {
		return nil, &ExceededError{Who: Caller, RetryAfter: soon}
	}
	inner, err := b.store.Reserve(ctx, a)
	if err != nil {
		b.leave(a.Caller)
		return nil, err
	}
	return settleOnce(func(v Verdict) {
		defer b.leave(a.Caller)
		inner(v)
	}), nil
}

func (b *AtOnce) enter(caller string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.callers[caller] >= b.limit {
		return false
	}
	b.callers[caller]++
	return true
}

func (b *AtOnce) leave(caller string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.callers[caller]--; b.callers[caller] == 0 {
		delete(b.callers, caller)
	}
}
