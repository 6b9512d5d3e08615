package once_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"recoverycodes.internal/server/internal/once"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ttl = 10 * time.Minute

func newMemory(t *testing.T, capacity int) *once.Memory {
	t.Helper()
	m, err := once.NewMemory([]byte(strings.Repeat("s", 32)), ttl, capacity)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func call(caller, key, request string) once.Call {
	return once.Call{Caller: caller, Key: key, Request: []byte(request)}
}

// answer is what Do returned.
type answer struct {
	record   string
	replayed bool
	err      error
}

func (a answer) String() string { return fmt.Sprintf("%q, %t, %v", a.record, a.replayed, a.err) }

// do makes a call whose run, if it is called, returns record and keep.
func do(ctx context.Context, m *once.Memory, c once.Call, record string, keep bool) answer {
	got, replayed, err := m.Do(ctx, c, func() ([]byte, bool) { return []byte(record), keep })
	return answer{string(got), replayed, err}
}

// doBroken makes a call whose run panics, and returns what Do panicked with.
func doBroken(m *once.Memory, c once.Call, value any) (panicked any) {
	defer func() { panicked = recover() }()
	_, _, _ = m.Do(context.Background(), c, func() ([]byte, bool) { panic(value) })
	return nil
}

// TestAfterTheFirst is what a call gets when another has ended.
func TestAfterTheFirst(t *testing.T) {
	first := call("a", "k", "request")
	kept := func(m *once.Memory) { do(context.Background(), m, first, "first", true) }
	freed := func(m *once.Memory) { do(context.Background(), m, first, "first", false) }
	broken := func(m *once.Memory) { doBroken(m, first, "broken") }
	for _, tt := range []struct {
		name  string
		first func(*once.Memory)
		call  once.Call
		after time.Duration
		want  answer
	}{
		{"kept", kept, first, 0, answer{record: "first", replayed: true}},
		{"kept, at the end of its time", kept, first, ttl - 1, answer{record: "first", replayed: true}},
		{"kept, after its time", kept, first, ttl, answer{record: "second"}},
		{"kept, another request", kept, call("a", "k", "other"), 0, answer{err: once.ErrReused}},
		{"kept, another request, after its time", kept, call("a", "k", "other"), ttl, answer{record: "second"}},
		{"kept, another key", kept, call("a", "l", "request"), 0, answer{record: "second"}},
		{"kept, another caller", kept, call("b", "k", "request"), 0, answer{record: "second"}},
		{"kept, a caller who runs into the key", kept, call("", "ak", "request"), 0, answer{record: "second"}},
		{"freed", freed, first, 0, answer{record: "second"}},
		{"freed, another request", freed, call("a", "k", "other"), 0, answer{record: "second"}},
		{"broken", broken, first, 0, answer{err: once.ErrUnknown}},
		{"broken, at the end of its time", broken, first, ttl - 1, answer{err: once.ErrUnknown}},
		{"broken, after its time", broken, first, ttl, answer{record: "second"}},
		{"broken, another request", broken, call("a", "k", "other"), 0, answer{err: once.ErrReused}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(t, 10)
				tt.first(m)
				time.Sleep(tt.after)
				if got := do(t.Context(), m, tt.call, "second", true); got != tt.want {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestTheTimeBeginsAtTheEndOfTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 10)
		c := call("a", "k", "request")
		_, _, err := m.Do(t.Context(), c, func() ([]byte, bool) {
			time.Sleep(2 * ttl)
			return []byte("first"), true
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl - 1)
		if got, want := do(t.Context(), m, c, "second", true), (answer{record: "first", replayed: true}); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// TestARecordIsItsReadersOwn: who changes the bytes that he got changes nothing for others.
func TestARecordIsItsReadersOwn(t *testing.T) {
	m := newMemory(t, 10)
	c := call("a", "k", "request")
	for range 3 {
		record, _, err := m.Do(t.Context(), c, func() ([]byte, bool) { return []byte("first"), true })
		if err != nil || string(record) != "first" {
			t.Fatalf("got %q, %v", record, err)
		}
		clear(record)
	}
}

func TestAWaiterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t, 10)
		c := call("a", "k", "request")
		release := make(chan struct{})
		first := make(chan error, 1)
		go func() {
			_, _, err := m.Do(context.Background(), c, func() ([]byte, bool) { <-release; return nil, true })
			first <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		got := do(ctx, m, c, "second", true)
		if !errors.Is(got.err, once.ErrWaiting) || !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ErrWaiting for the deadline", got)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("gave up after %v, want the second that the context allows", took)
		}
		close(release)
		if err := <-first; err != nil {
			t.Errorf("the first call: %v", err)
		}
		if got := do(ctx, m, c, "second", true); got.err != nil || !got.replayed {
			t.Errorf("with no time left and nothing to wait for: %v, want the record", got)
		}
	})
}

// TestAWaiterIsNotTooLate: it waited for this run, and gets its record even if that expires before it is looked at.
func TestAWaiterIsNotTooLate(t *testing.T) {
	m, err := once.NewMemory([]byte("s"), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c := call("a", "k", "request")
		release := make(chan struct{})
		go func() {
			_, _, _ = m.Do(context.Background(), c, func() ([]byte, bool) { <-release; return []byte("first"), true })
		}()
		synctest.Wait()
		waiter := make(chan answer, 1)
		go func() { waiter <- do(context.Background(), m, c, "second", true) }()
		synctest.Wait()
		close(release)
		if got, want := <-waiter, (answer{record: "first", replayed: true}); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestPanics(t *testing.T) {
	m := newMemory(t, 10)
	if got := doBroken(m, call("a", "k", "request"), "broken"); got != "broken" {
		t.Errorf("Do panicked with %v, want what run panicked with", got)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = m.Do(context.Background(), call("a", "l", "request"), func() ([]byte, bool) {
			runtime.Goexit()
			return nil, false
		})
	}()
	<-ended
	for _, key := range []string{"k", "l"} {
		if got, want := do(t.Context(), m, call("a", key, "request"), "second", true), (answer{err: once.ErrUnknown}); got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
}

func TestCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const capacity = 20
		m := newMemory(t, capacity)
		key := func(i int) once.Call { return call("a", fmt.Sprint("k", i), "request") }
		want := func(i int, want answer) {
			t.Helper()
			if got := do(t.Context(), m, key(i), fmt.Sprint("record ", i), true); got != want {
				t.Errorf("key %d: got %v, want %v", i, got, want)
			}
		}
		// One place is taken by a run under way, one by a run that panicked, the rest by records.
		release := make(chan struct{})
		underWay := make(chan error, 1)
		go func() {
			_, _, err := m.Do(context.Background(), key(0), func() ([]byte, bool) { <-release; return nil, false })
			underWay <- err
		}()
		synctest.Wait()
		doBroken(m, key(1), "broken")
		for i := 2; i < capacity; i++ {
			want(i, answer{record: fmt.Sprint("record ", i)})
		}
		want(capacity, answer{err: once.ErrFull})

		// A full store refuses new keys only.
		want(2, answer{record: "record 2", replayed: true})
		want(1, answer{err: once.ErrUnknown})
		close(release)
		if err := <-underWay; err != nil {
			t.Fatal(err)
		}
		want(capacity, answer{record: fmt.Sprint("record ", capacity)})
		want(0, answer{err: once.ErrFull})

		// What has expired gives all places back.
		time.Sleep(ttl)
		for i := range capacity {
			want(100+i, answer{record: fmt.Sprint("record ", 100+i)})
		}
		want(2, answer{err: once.ErrFull})
	})
}

// TestManyAtOnce lets goroutines race for few keys. Each run counts itself.
func TestManyAtOnce(t *testing.T) {
	const (
		keys       = 5
		goroutines = 16
		rounds     = 200
	)
	m := newMemory(t, keys)
	var running, kept, runs [keys]atomic.Int64
	var records [keys]sync.Map
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				k := rand.IntN(keys)
				record, _, err := m.Do(context.Background(), call("a", fmt.Sprint(k), "request"), func() ([]byte, bool) {
					if running[k].Add(1) != 1 {
						t.Errorf("key %d: two runs at a time", k)
					}
					defer running[k].Add(-1)
					n := runs[k].Add(1)
					runtime.Gosched()
					if rand.IntN(20) != 0 {
						return nil, false
					}
					if kept[k].Add(1) != 1 {
						t.Errorf("key %d: two runs were kept", k)
					}
					return fmt.Append(nil, n), true
				})
				if err != nil {
					t.Errorf("key %d: %v", k, err)
				}
				if record != nil {
					records[k].Store(string(record), true)
				}
			}
		})
	}
	wg.Wait()
	for k := range keys {
		n := 0
		records[k].Range(func(any, any) bool { n++; return true })
		if kept[k].Load() != 1 || n != 1 {
			t.Errorf("key %d: %d runs kept and %d records given, want one of each", k, kept[k].Load(), n)
		}
	}
}
