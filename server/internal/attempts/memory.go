package attempts

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

// maxCallers bounds the callers that are counted one by one. A policy has fewer; callers beyond it share one count.
const maxCallers = 2000

// Memory counts in this process: a budget that several replicas should share is, with it, one for each of them, and a
// restart begins anew. It has no goroutine and no timer, and needs no closing. It is safe for concurrent use.
//
// Its size is fixed, 2.9 MB and at most 1 MB for callers, whatever is attempted; nothing is ever evicted, since what is
// forgotten would be fresh attempts for whoever forces it out. Instead members may be counted together by chance.
// With 100,000 wrong codes in a window, evenly over it, 0.44 % of the members who have one attempt left are refused
// it, and fewer than one in 10^10 of those who have all four left; with all 100,000 in a tenth of the window, 38 % and
// one in 44,000. With 10,000, evenly, it is one in 1,700,000 of the former.
type Memory struct {
	limits Limits
	slice  time.Duration
	start  time.Time // slices are numbered from here, by the monotonic clock
	secret []byte    // of this process, so that nobody can aim at the counters of a member

	mu      sync.Mutex
	members ring[sketch]
	callers map[string]*ring[tally]
	others  ring[tally] // of the callers for whom there was no place
}

// NewMemory returns a store in which nothing has been attempted.
func NewMemory(limits Limits) (*Memory, error) {
	if err := limits.check(); err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return &Memory{
		limits: limits, slice: limits.slice(), start: time.Now(), secret: secret,
		callers: make(map[string]*ring[tally]),
	}, nil
}

// tally is what became of a caller's attempts.
type tally struct{ wrong, right int }

// ring has a T for each of the slices kept.
type ring[T any] [slicesKept]struct {
	number int64 // of the slice that this is for
	of     T
}

// at returns the T of a slice, nil when it has none, or no longer.
func (r *ring[T]) at(number int64) *T {
	if number < 0 {
		return nil
	}
	if s := &r[number%slicesKept]; s.number == number {
		return &s.of
	}
	return nil
}

// now returns the T of the newest slice, which takes the place of the oldest.
func (r *ring[T]) now(number int64) *T {
	s := &r[number%slicesKept]
	if s.number != number {
		clear(r[number%slicesKept : number%slicesKept+1])
		s.number = number
	}
	return &s.of
}

// Reserve counts an attempt as a wrong code before it is made, or returns an *ExceededError and counts nothing. Whoever
// may make the attempt tells settle what became of it; only the first verdict counts. Attempts that are never settled
// stay counted for the member.
func (m *Memory) Reserve(_ context.Context, a Attempt) (settle func(Verdict), err error) {
	p := placeOf(name(m.secret, forMember, a.member()))
	m.mu.Lock()
	defer m.mu.Unlock()
	elapsed := time.Since(m.start)
	number := int64(elapsed / m.slice)

	if t := m.tallies(a.Caller, false); t != nil {
		over := func(from int64) bool {
			var sum tally
			for n := from; n <= number; n++ {
				if t := t.at(n); t != nil {
					sum.wrong += t.wrong
					sum.right += t.right
				}
			}
			return m.limits.callerOver(sum.wrong, sum.right)
		}
		if wait := m.wait(elapsed, number, over); wait > 0 {
			return nil, &ExceededError{Who: Caller, RetryAfter: wait}
		}
	}
	// The least of the rows is taken for each slice, which is never below the truth and far nearer to it than the
	// least of the sums.
	over := func(from int64) bool {
		sum := 0
		for n := from; n <= number; n++ {
			if s := m.members.at(n); s != nil {
				sum += s.count(p)
			}
		}
		return sum >= m.limits.MemberLimit
	}
	if wait := m.wait(elapsed, number, over); wait > 0 {
		return nil, &ExceededError{Who: Member, RetryAfter: wait}
	}
	m.members.now(number).add(p)
	return settleOnce(func(v Verdict) { m.settle(a.Caller, p, number, v) }), nil
}

// wait returns how long it takes until a budget is no longer over because slices have left the window; 0 when it is
// not. over says whether it is, from a slice on.
func (m *Memory) wait(elapsed time.Duration, number int64, over func(from int64) bool) time.Duration {
	oldest := number - slicesPerWindow
	from := oldest
	for from <= number && over(from) {
		from++
	}
	if from == oldest {
		return 0
	}
	return time.Duration(from+slicesPerWindow)*m.slice - elapsed
}

func (m *Memory) settle(caller string, p place, number int64, v Verdict) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.members.at(number); s != nil && v.givesBack() {
		s.remove(p)
	}
	if v != Wrong && v != Right {
		return
	}
	t := m.tallies(caller, true).now(int64(time.Since(m.start) / m.slice))
	if v == Wrong {
		t.wrong++
	} else {
		t.right++
	}
}

// tallies returns a caller's, which may be shared with others when there are too many; nil when there are none and none
// are to be made. The lock is held.
func (m *Memory) tallies(caller string, create bool) *ring[tally] {
	t := m.callers[caller]
	switch {
	case t != nil:
		return t
	case len(m.callers) >= maxCallers:
		return &m.others
	case create:
		t = new(ring[tally])
		m.callers[caller] = t
	}
	return t
}
