package once_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// TestMemory holds the store to what every store promises.
func TestMemory(t *testing.T) {
	t.Run("after the first", func(t *testing.T) {
		for _, tt := range afterTheFirst {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newMemory(t, 10)
					tt.first(m)
					time.Sleep(map[moment]time.Duration{atOnce: 0, inTime: ttl - 1, expired: ttl}[tt.after])
					if got := do(t.Context(), m, tt.call, "second", true); got != tt.want {
						t.Errorf("got %v, want %v", got, tt.want)
					}
				})
			})
		}
	})
	t.Run("a record is its reader's own", func(t *testing.T) { testARecordIsItsReadersOwn(t, newMemory(t, 10)) })
	t.Run("panics", func(t *testing.T) { testPanics(t, newMemory(t, 10)) })
	t.Run("many at once", func(t *testing.T) { testManyAtOnce(t, 200, newMemory(t, racedKeys)) })
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
