package attempts_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"recoverycodes.internal/server/internal/attempts"
)

// slice is how coarsely Memory knows the time.
var slice = limits.Window / 10

// TestRetryAfter: an attempt is refused until just before the moment that it was told, and no longer.
func TestRetryAfter(t *testing.T) {
	next := attempts.Attempt{Caller: "a", Member: "m"}
	for _, tt := range []struct {
		name   string
		came   func(i int) attempts.Attempt
		wrong  int
		spread time.Duration // between the wrong codes
	}{
		{"a member, at once", sameMember, 4, 0},
		{"a member, spread", sameMember, 4, 2 * time.Minute},
		{"a caller, at once", sameCaller, 6, 0},
		{"a caller, spread", sameCaller, 6, 90 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t, limits)
				time.Sleep(25*slice + slice/3)
				first := time.Now()
				for i := range tt.wrong {
					if i > 0 {
						time.Sleep(tt.spread)
					}
					try(t, m, tt.came(i), attempts.Wrong)
				}
				var exceeded *attempts.ExceededError
				if _, err := m.Reserve(t.Context(), next); !errors.As(err, &exceeded) {
					t.Fatalf("got %v, want a refusal", err)
				}
				until := time.Now().Add(exceeded.RetryAfter).Sub(first)
				if until < limits.Window || until > limits.Window+slice {
					t.Errorf("there is room %v after the first wrong code, want a window, or up to a slice more", until)
				}
				time.Sleep(exceeded.RetryAfter - time.Nanosecond)
				if got := refused(t, m, next); got != exceeded.Who {
					t.Errorf("just before: refused for %q, want %q", got, exceeded.Who)
				}
				time.Sleep(time.Nanosecond)
				if got := refused(t, m, next); got != "" {
					t.Errorf("then: refused for %q", got)
				}
			})
		})
	}
}

// event is one in the life of a store.
type event struct {
	Kind    string // reserve, settle, sleep
	Attempt attempts.Attempt
	N       int // settle: which of the open reservations; sleep: for how many quarters of a slice
	Verdict attempts.Verdict
}

var events = rapid.Custom(func(t *rapid.T) event {
	return event{
		Kind: rapid.SampledFrom([]string{"reserve", "reserve", "reserve", "settle", "settle", "sleep"}).Draw(t, "kind"),
		Attempt: attempts.Attempt{
			Caller: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "caller"),
			Member: rapid.SampledFrom([]string{"k", "l", "m", "n", "o"}).Draw(t, "member"),
		},
		N: rapid.OneOf(rapid.IntRange(0, 7), rapid.IntRange(0, 7), rapid.IntRange(30, 50)).Draw(t, "n"),
		Verdict: rapid.SampledFrom([]attempts.Verdict{
			attempts.Wrong, attempts.Wrong, attempts.Wrong, attempts.Right, attempts.Unknown, attempts.Unjudged,
		}).Draw(t, "verdict"),
	}
})

// known is an attempt as the model knows it.
type known struct {
	attempts.Attempt
	at      time.Time // when it was reserved
	settle  func(attempts.Verdict)
	verdict attempts.Verdict
	judged  time.Time // zero: not yet
}

// model says for whom an attempt is refused if those count that the function says.
func model(all []*known, a attempts.Attempt, counts func(time.Time) bool) attempts.Subject {
	var reserved, wrong, right int
	for _, k := range all {
		judged := !k.judged.IsZero()
		back := judged && (k.verdict == attempts.Right || k.verdict == attempts.Unjudged)
		if k.Member == a.Member && counts(k.at) && !back {
			reserved++
		}
		if k.Caller == a.Caller && judged && counts(k.judged) {
			switch k.verdict {
			case attempts.Wrong:
				wrong++
			case attempts.Right:
				right++
			default:
			}
		}
	}
	switch {
	case wrong >= limits.CallerFailures && float64(wrong)/float64(wrong+right) > limits.CallerShare:
		return attempts.Caller
	case reserved >= limits.MemberLimit:
		return attempts.Member
	default:
		return ""
	}
}

// TestMemoryModel plays random events to a store and to an exact model of it. For members it never counts less
// than what is in the window; and all that it counts is in the slices that the window touches.
func TestMemoryModel(t *testing.T) {
	seen := map[attempts.Subject]int{}
	rapid.Check(t, func(rt *rapid.T) {
		list := rapid.SliceOfN(events, 50, 150).Draw(rt, "events")
		var wrong error
		synctest.Test(t, func(t *testing.T) { wrong = play(t, list, seen) })
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
	for _, subject := range []attempts.Subject{attempts.Member, attempts.Caller, ""} {
		if seen[subject] < 100 {
			t.Errorf("the events prove little: refused for %v", seen)
		}
	}
}

func play(t *testing.T, list []event, seen map[attempts.Subject]int) error {
	start := time.Now()
	m := newMemory(t, limits)
	inWindow := func(at time.Time) bool { return time.Since(at) <= limits.Window }
	inSlices := func(at time.Time) bool { return time.Since(start)/slice-at.Sub(start)/slice <= 10 }
	var all, open []*known
	for i, e := range list {
		switch {
		case e.Kind == "sleep":
			time.Sleep(time.Duration(e.N) * slice / 4)
		case e.Kind == "settle" && len(open) > 0:
			n := e.N % len(open)
			k := open[n]
			open = append(open[:n:n], open[n+1:]...)
			k.verdict, k.judged = e.Verdict, time.Now()
			k.settle(e.Verdict)
		case e.Kind == "reserve":
			settle, err := m.Reserve(t.Context(), e.Attempt)
			got := who(t, err)
			seen[got]++
			if want := model(all, e.Attempt, inSlices); got != want {
				return fmt.Errorf("event %d: refused for %q, want %q", i, got, want)
			}
			if got == "" && model(all, e.Attempt, inWindow) == attempts.Member {
				return fmt.Errorf("event %d: let through, and the member has had its attempts", i)
			}
			if err == nil {
				k := &known{Attempt: e.Attempt, at: time.Now(), settle: settle}
				all, open = append(all, k), append(open, k)
			}
		}
	}
	return nil
}

// TestCallersBeyondCountingShareOne: there is no name by which one caller more escapes.
func TestCallersBeyondCountingShareOne(t *testing.T) {
	m := newMemory(t, limits)
	for i := range 2000 {
		try(t, m, attempts.Attempt{Caller: fmt.Sprint("caller", i), Member: fmt.Sprint("m", i)}, attempts.Right)
	}
	for i := range limits.CallerFailures {
		try(t, m, attempts.Attempt{Caller: fmt.Sprint("extra", i), Member: fmt.Sprint("n", i)}, attempts.Wrong)
	}
	if got := refused(t, m, attempts.Attempt{Caller: "one more", Member: "m"}); got != attempts.Caller {
		t.Errorf("one more caller is refused for %q, want %q", got, attempts.Caller)
	}
	if got := refused(t, m, attempts.Attempt{Caller: "caller7", Member: "m"}); got != "" {
		t.Errorf("a caller who is counted is refused for %q", got)
	}
}

// TestStrangersRefused holds a figure in Memory's comment: of the members who have one attempt left, 0.44 % are refused
// it because others are counted with them, of 10,000 in each of 11 slices. Here there are four of these.
func TestStrangersRefused(t *testing.T) {
	const probes, least, atMost = 10_000, 3, 40 // 16 are expected
	one := limits
	one.MemberLimit = 1
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, one)
		for s := range 4 {
			if s > 0 {
				time.Sleep(slice)
			}
			for i := range 10_000 {
				// A few of these are refused themselves.
				_, _ = m.Reserve(t.Context(), attempts.Attempt{Caller: "a", Member: fmt.Sprint(s, " of ", i)})
			}
		}
		strangers := 0
		for i := range probes {
			settle, err := m.Reserve(t.Context(), attempts.Attempt{Caller: "a", Member: fmt.Sprint("stranger", i)})
			if err != nil {
				strangers++
				continue
			}
			settle(attempts.Unjudged)
		}
		if strangers < least || strangers > atMost {
			t.Errorf("%d of %d strangers are refused, want %d to %d", strangers, probes, least, atMost)
		}
	})
}

// BenchmarkMemory is one attempt, on a store with 100,000 others.
func BenchmarkMemory(b *testing.B) {
	m := newMemory(b, limits)
	for i := range 100_000 {
		_, _ = m.Reserve(b.Context(), attempts.Attempt{Caller: "a", Member: fmt.Sprint(i)})
	}
	b.ReportAllocs()
	for b.Loop() {
		settle, err := m.Reserve(b.Context(), attempts.Attempt{Caller: "a", Member: "stranger"})
		if err == nil {
			settle(attempts.Unjudged)
		}
	}
}
