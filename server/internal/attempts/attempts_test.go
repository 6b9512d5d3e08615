package attempts_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"

	"recoverycodes.internal/server/internal/attempts"
	"recoverycodes.internal/test/daemon"
)

func TestMain(m *testing.M) {
	logging.Disable() // of the Redis client, which says at length that a server is not there
	goleak.VerifyTestMain(m)
}

// limits are small enough to be exhausted by hand.
var limits = attempts.Limits{Window: 10 * time.Minute, MemberLimit: 4, CallerFailures: 6, CallerShare: 0.5}

// budget is what both stores are.
type budget interface {
	Reserve(context.Context, attempts.Attempt) (settle func(attempts.Verdict), err error)
}

// store is a kind of budget.
type store struct {
	name string
	open func(*testing.T, attempts.Limits) budget // an empty one
}

// stores are both kinds, the one on a server that runs until the test ends.
func stores(t *testing.T) []store {
	client := connect(t, daemon.StartRedis(t))
	return []store{
		{"memory", func(t *testing.T, l attempts.Limits) budget { return newMemory(t, l) }},
		{"redis", func(t *testing.T, l attempts.Limits) budget {
			return newRedis(t, client, attempts.RedisConfig{Limits: l, Secrets: [][]byte{[]byte(rand.Text())}})
		}},
	}
}

func newMemory(t testing.TB, l attempts.Limits) *attempts.Memory {
	t.Helper()
	m, err := attempts.NewMemory(l)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sameMember and sameCaller are attempts that exhaust the budget of one only.
func sameMember(i int) attempts.Attempt {
	return attempts.Attempt{Caller: fmt.Sprint("caller", i), Member: "m"}
}

func sameCaller(i int) attempts.Attempt {
	return attempts.Attempt{Caller: "a", Member: fmt.Sprint("member", i)}
}

// refused returns who an attempt is refused for, "" if it may be made; then it is left reserved.
func refused(t testing.TB, b budget, a attempts.Attempt) attempts.Subject {
	t.Helper()
	_, err := b.Reserve(t.Context(), a)
	return who(t, err)
}

func who(t testing.TB, err error) attempts.Subject {
	t.Helper()
	if err == nil {
		return ""
	}
	var exceeded *attempts.ExceededError
	if !errors.As(err, &exceeded) {
		t.Fatal(err)
	}
	if exceeded.RetryAfter <= 0 {
		t.Errorf("retry after %v", exceeded.RetryAfter)
	}
	return exceeded.Who
}

// try makes an attempt that ends at once.
func try(t testing.TB, b budget, a attempts.Attempt, v attempts.Verdict) {
	t.Helper()
	settle, err := b.Reserve(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	settle(v)
}

// TestMemberBudget is what a fifth attempt gets after four that came to something.
func TestMemberBudget(t *testing.T) {
	const (
		pending  = attempts.Verdict(-1) // never settled
		wrong    = attempts.Wrong
		right    = attempts.Right
		unknown  = attempts.Unknown
		unjudged = attempts.Unjudged
	)
	same := attempts.Attempt{Caller: "a", Member: "member-1"}
	stores := stores(t)
	for _, tt := range []struct {
		name     string
		verdicts [4]attempts.Verdict
		fifth    attempts.Attempt
		want     attempts.Subject
	}{
		{"all wrong", [4]attempts.Verdict{wrong, wrong, wrong, wrong}, same, attempts.Member},
		{"one unknown", [4]attempts.Verdict{wrong, unknown, wrong, wrong}, same, attempts.Member},
		{"one under way", [4]attempts.Verdict{wrong, pending, wrong, wrong}, same, attempts.Member},
		{"all under way", [4]attempts.Verdict{pending, pending, pending, pending}, same, attempts.Member},
		{"one right", [4]attempts.Verdict{wrong, wrong, right, wrong}, same, ""},
		{"one unjudged", [4]attempts.Verdict{unjudged, wrong, wrong, wrong}, same, ""},
		{"by another caller", [4]attempts.Verdict{wrong, wrong, wrong, wrong},
			attempts.Attempt{Caller: "b", Member: "member-1"}, attempts.Member},
		{"in another spelling", [4]attempts.Verdict{wrong, wrong, wrong, wrong},
			attempts.Attempt{Caller: "a", Member: " {Member1}"}, attempts.Member},
		{"another member", [4]attempts.Verdict{wrong, wrong, wrong, wrong},
			attempts.Attempt{Caller: "a", Member: "member-2"}, ""},
		{"a member called as the caller is", [4]attempts.Verdict{wrong, wrong, wrong, wrong},
			attempts.Attempt{Caller: "member-1", Member: "a"}, ""},
	} {
		for _, store := range stores {
			t.Run(tt.name+"/"+store.name, func(t *testing.T) {
				b := store.open(t, limits)
				for _, v := range tt.verdicts {
					settle, err := b.Reserve(t.Context(), same)
					if err != nil {
						t.Fatal(err)
					}
					if v != pending {
						settle(v)
					}
				}
				if got := refused(t, b, tt.fifth); got != tt.want {
					t.Errorf("refused for %q, want %q", got, tt.want)
				}
			})
		}
	}
}

// TestCallerBudget is what a caller gets whose attempts, each for a member of its own, came to something.
func TestCallerBudget(t *testing.T) {
	type came struct {
		times int
		to    attempts.Verdict
	}
	stores := stores(t)
	for _, tt := range []struct {
		name string
		came []came
		by   string
		want attempts.Subject
	}{
		{"nothing yet", nil, "a", ""},
		{"too few are wrong", []came{{5, attempts.Wrong}}, "a", ""},
		{"enough are wrong", []came{{6, attempts.Wrong}}, "a", attempts.Caller},
		{"another caller", []came{{6, attempts.Wrong}}, "b", ""},
		{"half are right", []came{{6, attempts.Right}, {6, attempts.Wrong}}, "a", ""},
		{"fewer than half are right", []came{{6, attempts.Right}, {7, attempts.Wrong}}, "a", attempts.Caller},
		{"unknown says nothing", []came{{6, attempts.Unknown}, {5, attempts.Wrong}}, "a", ""},
		{"unknown betters nothing", []came{{6, attempts.Unknown}, {6, attempts.Wrong}}, "a", attempts.Caller},
		{"unjudged betters nothing", []came{{20, attempts.Unjudged}, {6, attempts.Wrong}}, "a", attempts.Caller},
	} {
		for _, store := range stores {
			t.Run(tt.name+"/"+store.name, func(t *testing.T) {
				b := store.open(t, limits)
				member := 0
				for _, c := range tt.came {
					for range c.times {
						member++
						try(t, b, attempts.Attempt{Caller: "a", Member: fmt.Sprint("m", member)}, c.to)
					}
				}
				if got := refused(t, b, attempts.Attempt{Caller: tt.by, Member: "another"}); got != tt.want {
					t.Errorf("refused for %q, want %q", got, tt.want)
				}
			})
		}
	}
}

// TestARefusalCountsNothing: neither for the member when the caller is refused, nor the other way round.
func TestARefusalCountsNothing(t *testing.T) {
	for _, store := range stores(t) {
		t.Run(store.name, func(t *testing.T) {
			b := store.open(t, limits)
			for i := range limits.CallerFailures {
				try(t, b, attempts.Attempt{Caller: "abuser", Member: fmt.Sprint("m", i)}, attempts.Wrong)
			}
			for range 2 * limits.MemberLimit {
				if got := refused(t, b, attempts.Attempt{Caller: "abuser", Member: "victim"}); got != attempts.Caller {
					t.Fatalf("the abuser is refused for %q", got)
				}
			}
			for range limits.MemberLimit {
				try(t, b, attempts.Attempt{Caller: "honest", Member: "victim"}, attempts.Wrong)
			}
			for range 2 * limits.CallerFailures {
				if got := refused(t, b, attempts.Attempt{Caller: "honest", Member: "victim"}); got != attempts.Member {
					t.Fatalf("the victim's fifth attempt is refused for %q", got)
				}
			}
			if got := refused(t, b, attempts.Attempt{Caller: "honest", Member: "another"}); got != "" {
				t.Errorf("the honest caller is refused for %q", got)
			}
		})
	}
}

// TestOnlyTheFirstVerdictCounts: the second would give back what another attempt has used.
func TestOnlyTheFirstVerdictCounts(t *testing.T) {
	for _, store := range stores(t) {
		t.Run(store.name, func(t *testing.T) {
			b := store.open(t, limits)
			a := attempts.Attempt{Caller: "a", Member: "m"}
			for range limits.MemberLimit {
				settle, err := b.Reserve(t.Context(), a)
				if err != nil {
					t.Fatal(err)
				}
				settle(attempts.Wrong)
				settle(attempts.Right)
			}
			if got := refused(t, b, a); got != attempts.Member {
				t.Errorf("refused for %q", got)
			}
		})
	}
}

// atOnce makes attempts for one member through all the budgets in parallel and returns how many were let through.
func atOnce(t *testing.T, each int, budgets ...budget) int64 {
	t.Helper()
	var (
		passed atomic.Int64
		wg     sync.WaitGroup
	)
	for _, b := range budgets {
		for range each {
			wg.Go(func() {
				settle, err := b.Reserve(context.Background(), attempts.Attempt{Caller: "a", Member: "m"})
				if err != nil {
					if exceeded := (*attempts.ExceededError)(nil); !errors.As(err, &exceeded) {
						t.Error(err)
					}
					return
				}
				passed.Add(1)
				settle(attempts.Wrong)
			})
		}
	}
	wg.Wait()
	return passed.Load()
}

func TestAttemptsAtOnce(t *testing.T) {
	for _, store := range stores(t) {
		t.Run(store.name, func(t *testing.T) {
			if got := atOnce(t, 50, store.open(t, limits)); got != int64(limits.MemberLimit) {
				t.Errorf("%d of 50 attempts passed, want %d", got, limits.MemberLimit)
			}
		})
	}
}

func TestLimitsAreChecked(t *testing.T) {
	with := func(change func(*attempts.Limits)) attempts.Limits {
		l := limits
		change(&l)
		return l
	}
	for _, tt := range []struct {
		name   string
		limits attempts.Limits
		ok     bool
	}{
		{"as they should be", limits, true},
		{"the narrowest", attempts.Limits{Window: time.Second, MemberLimit: 1, CallerFailures: 1, CallerShare: 0.01}, true},
		{"wide", attempts.Limits{Window: 24 * time.Hour, MemberLimit: 100, CallerFailures: 1 << 30, CallerShare: 1}, true},
		{"a short window", with(func(l *attempts.Limits) { l.Window = time.Second - 1 }), false},
		{"no member limit", with(func(l *attempts.Limits) { l.MemberLimit = 0 }), false},
		{"a large member limit", with(func(l *attempts.Limits) { l.MemberLimit = 101 }), false},
		{"no failures", with(func(l *attempts.Limits) { l.CallerFailures = 0 }), false},
		{"no share", with(func(l *attempts.Limits) { l.CallerShare = 0 }), false},
		{"more than all", with(func(l *attempts.Limits) { l.CallerShare = 1.01 }), false},
		{"not a share", with(func(l *attempts.Limits) { l.CallerShare = math.NaN() }), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := attempts.NewMemory(tt.limits); (err == nil) != tt.ok {
				t.Errorf("NewMemory: %v", err)
			}
			_, err := attempts.NewRedis(nil, attempts.RedisConfig{Limits: tt.limits, Secrets: [][]byte{[]byte("s")}})
			if (err == nil) != tt.ok {
				t.Errorf("NewRedis: %v", err)
			}
		})
	}
}
