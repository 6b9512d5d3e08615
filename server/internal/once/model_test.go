package once_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"recoverycodes.internal/server/internal/once"
)

// step is one event in the life of a store. Which call or run n means depends on how many there are by then.
type step struct {
	Kind string // call, keep, free, panic, cancel, sleep
	N    int
	Call once.Call
	Gone bool // call: its context has ended before it begins
}

var steps = rapid.Custom(func(t *rapid.T) step {
	return step{
		Kind: rapid.SampledFrom([]string{"call", "call", "call", "keep", "free", "panic", "cancel", "sleep"}).Draw(t, "kind"),
		N:    rapid.IntRange(0, 11).Draw(t, "n"),
		Call: call(
			rapid.SampledFrom([]string{"a", "b"}).Draw(t, "caller"),
			rapid.SampledFrom([]string{"k", "l", "m"}).Draw(t, "key"),
			rapid.SampledFrom([]string{"request", "request", "request", "other"}).Draw(t, "request"),
		),
		Gone: rapid.IntRange(0, 9).Draw(t, "gone") == 0,
	}
})

// TestModel plays random events to a store and to a model of it, and compares after each what every call has come to.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		capacity := rapid.IntRange(0, 5).Draw(rt, "capacity")
		events := rapid.SliceOfN(steps, 1, 40).Draw(rt, "events")
		var wrong error
		synctest.Test(t, func(t *testing.T) { wrong = play(newMemory(t, capacity), capacity, events) })
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
}

// attempt is a call that was made of the store.
type attempt struct {
	n        int
	call     once.Call
	cancel   context.CancelFunc
	verdict  chan string // what its run, if it has one, is to do: keep, free or panic
	started  bool        // its run was called
	ended    bool
	answer   answer
	panicked bool
}

func (a *attempt) record() string { return fmt.Sprint("record ", a.n) }

// do makes the call. What it writes is read when its bubble is at rest.
func (a *attempt) do(ctx context.Context, m *once.Memory) {
	defer func() {
		a.panicked = recover() != nil
		a.ended = true
	}()
	record, replayed, err := m.Do(ctx, a.call, func() ([]byte, bool) {
		a.started = true
		verdict := <-a.verdict
		if verdict == "panic" {
			panic(verdict)
		}
		return []byte(a.record()), verdict == "keep"
	})
	a.answer = answer{string(record), replayed, err}
}

// place is what the model has for a caller and key.
type place struct {
	request string
	run     *attempt   // nil: it is over
	waiters []*attempt // of the run
	after   answer     // for who comes when the run is over
	expires time.Time
}

// model says what calls must come to.
type model struct {
	capacity int
	places   map[[2]string]*place
	want     map[*attempt]answer // of calls that have ended; one that panicked has the zero answer
}

func placeOf(c once.Call) [2]string { return [2]string{c.Caller, c.Key} }

func (m *model) begin(a *attempt, gone bool) {
	for name, p := range m.places {
		if p.run == nil && !time.Now().Before(p.expires) {
			delete(m.places, name)
		}
	}
	p := m.places[placeOf(a.call)]
	switch {
	case p == nil && len(m.places) >= m.capacity:
		m.want[a] = answer{err: once.ErrFull}
	case p == nil:
		m.places[placeOf(a.call)] = &place{request: string(a.call.Request), run: a}
	case p.request != string(a.call.Request):
		m.want[a] = answer{err: once.ErrReused}
	case p.run == nil:
		m.want[a] = p.after
	case gone:
		m.want[a] = answer{err: once.ErrWaiting}
	default:
		p.waiters = append(p.waiters, a)
	}
}

// end ends a run. Which waiter is next when the key is freed is the store's choice: the model takes it over in settle.
func (m *model) end(a *attempt, verdict string) {
	p := m.places[placeOf(a.call)]
	p.run, p.expires = nil, time.Now().Add(ttl)
	switch verdict {
	case "free":
		m.want[a] = answer{record: a.record()}
		if len(p.waiters) == 0 {
			delete(m.places, placeOf(a.call))
		}
		return
	case "keep":
		m.want[a] = answer{record: a.record()}
		p.after = answer{record: a.record(), replayed: true}
	case "panic":
		m.want[a] = answer{}
		p.after = answer{err: once.ErrUnknown}
	}
	for _, w := range p.waiters {
		m.want[w] = p.after
	}
	p.waiters = nil
}

// settle finds the waiter that the store has let run for a key that was freed. Exactly one must be.
func (m *model) settle() error {
	for _, p := range m.places {
		if p.run != nil || len(p.waiters) == 0 {
			continue
		}
		var rest []*attempt
		for _, w := range p.waiters {
			if w.started && p.run == nil {
				p.run = w
			} else {
				rest = append(rest, w)
			}
		}
		if p.run == nil {
			return errors.New("a key was freed and none of its waiters runs")
		}
		p.waiters = rest
	}
	return nil
}

// cancel ends the context of a call, which matters if it waits.
func (m *model) cancel(a *attempt) {
	p := m.places[placeOf(a.call)]
	if p == nil {
		return
	}
	for i, w := range p.waiters {
		if w == a {
			p.waiters = append(p.waiters[:i:i], p.waiters[i+1:]...)
			m.want[a] = answer{err: once.ErrWaiting}
			return
		}
	}
}

// check compares every call with what the model says of it.
func (m *model) check(attempts []*attempt) error {
	for _, a := range attempts {
		want, ended := m.want[a]
		if a.ended != ended {
			return fmt.Errorf("call %d: ended is %t, want %t; it would be %v, it is %v", a.n, a.ended, ended, want, a.answer)
		}
		if ended {
			got := a.answer
			if !errors.Is(got.err, want.err) || got.record != want.record || got.replayed != want.replayed {
				return fmt.Errorf("call %d: got %v, want %v", a.n, got, want)
			}
			if broken := want == (answer{}); a.panicked != broken {
				return fmt.Errorf("call %d: panicked is %t, want %t", a.n, a.panicked, broken)
			}
			continue
		}
		if p := m.places[placeOf(a.call)]; a.started != (p.run == a) {
			return fmt.Errorf("call %d: runs is %t, want %t", a.n, a.started, p.run == a)
		}
	}
	return nil
}

func (m *model) running(attempts []*attempt) []*attempt {
	var running []*attempt
	for _, a := range attempts {
		if p := m.places[placeOf(a.call)]; p != nil && p.run == a {
			running = append(running, a)
		}
	}
	return running
}

// play plays the events to the store and ends all that is under way after them.
func play(store *once.Memory, capacity int, events []step) (wrong error) {
	m := &model{capacity: capacity, places: map[[2]string]*place{}, want: map[*attempt]answer{}}
	var attempts []*attempt
	defer func() { // whatever is wrong, no call is left
		for _, a := range attempts {
			a.cancel()
			close(a.verdict)
		}
	}()
	apply := func(e step) error {
		switch running := m.running(attempts); {
		case e.Kind == "call":
			ctx, cancel := context.WithCancel(context.Background())
			if e.Gone {
				cancel()
			}
			a := &attempt{n: len(attempts), call: e.Call, cancel: cancel, verdict: make(chan string, 1)}
			attempts = append(attempts, a)
			m.begin(a, e.Gone)
			go a.do(ctx, store)
		case e.Kind == "sleep":
			time.Sleep(time.Duration(e.N) * ttl / 8)
		case e.Kind == "cancel" && len(attempts) > 0:
			a := attempts[len(attempts)-1-e.N%len(attempts)]
			a.cancel()
			m.cancel(a)
		case e.Kind != "cancel" && len(running) > 0:
			a := running[e.N%len(running)]
			m.end(a, e.Kind)
			a.verdict <- e.Kind
		}
		synctest.Wait()
		if err := m.settle(); err != nil {
			return err
		}
		return m.check(attempts)
	}
	for i, e := range events {
		if err := apply(e); err != nil {
			return fmt.Errorf("event %d (%s): %w", i, e.Kind, err)
		}
	}
	for len(m.running(attempts)) > 0 {
		if err := apply(step{Kind: "free"}); err != nil {
			return fmt.Errorf("at the end: %w", err)
		}
	}
	for _, a := range attempts {
		if !a.ended {
			return fmt.Errorf("call %d has not ended", a.n)
		}
	}
	return nil
}
