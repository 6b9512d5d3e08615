package interceptor_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/interceptor"
)

// now is a context that has ended: with it, Wait only counts.
func now() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestWaitWhenIdle(t *testing.T) {
	var calls interceptor.InFlight
	if got := calls.Wait(t.Context()); got != 0 {
		t.Errorf("%d calls are open before the first", got)
	}
	throughBothDoors(t, done, func(t *testing.T, h *house, d door) {
		d.recover(t.Context(), "")
		h.settled(t)
	})
}

func TestWaitAfterAPanic(t *testing.T) {
	throughBothDoors(t, func(context.Context) error { panic(marked) }, func(t *testing.T, h *house, d door) {
		d.recover(t.Context(), "")
		h.settled(t)
	})
}

// TestWait runs in a bubble, in which "everybody is blocked" is an event and not a guess.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := build(func(context.Context) error {
			<-release
			return nil
		})
		d := h.restDoor()
		for range 2 { // what has been waited for once can be waited for again
			const open = 3
			for range open {
				go d.recover(t.Context(), "")
			}
			synctest.Wait()

			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if got := h.calls.Wait(ctx); got != open {
				t.Errorf("gave up with %d open calls, want %d", got, open)
			}
			cancel()
			if took := time.Since(start); took != time.Second {
				t.Errorf("gave up after %v, want the second that the context allows", took)
			}

			waited := make(chan int, 2)
			for range 2 {
				go func() { waited <- h.calls.Wait(t.Context()) }()
			}
			for range open {
				synctest.Wait()
				if len(waited) != 0 {
					t.Fatal("Wait returned while calls were open")
				}
				release <- struct{}{}
			}
			for range 2 {
				if got := <-waited; got != 0 {
					t.Errorf("waited, and %d calls are open", got)
				}
			}
		}
	})
}

// TestWaitOutlivesTheConnection is what the count is for: a call whose caller has gone.
func TestWaitOutlivesTheConnection(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	h := build(func(context.Context) error {
		close(started)
		<-release
		return nil
	})
	d := h.grpcDoor(t)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- d.recover(ctx, "").err }()
	<-started
	cancel()
	if err := <-gone; status.Code(err) != codes.Canceled {
		t.Errorf("the caller got %v, want CANCELLED", err)
	}
	if got := h.calls.Wait(now()); got != 1 {
		t.Errorf("%d calls are open, want 1", got)
	}
	close(release)
	h.settled(t)
}

// TestWaitIsForReportsToo: whoever has waited may close the log.
func TestWaitIsForReportsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const reporting = time.Second
		h := build(done, zap.Hooks(func(zapcore.Entry) error {
			time.Sleep(reporting)
			return nil
		}))
		start := time.Now()
		if r := h.restDoor().recover(t.Context(), ""); r.err != nil {
			t.Fatal(r.err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the answer took %v", took)
		}
		if h.calls.Wait(t.Context()); time.Since(start) != reporting {
			t.Errorf("waited until %v after the start, want %v", time.Since(start), reporting)
		}
		h.accessLine(t)
	})
}

// TestAnswersComeFirst has calls that cannot be reported before they are answered.
func TestAnswersComeFirst(t *testing.T) {
	for _, name := range []call.Door{call.GRPC, call.REST} {
		t.Run(string(name), func(t *testing.T) {
			answered := make(chan struct{})
			h := build(done, zap.Hooks(func(zapcore.Entry) error {
				select {
				case <-answered:
				case <-time.After(10 * time.Second):
					t.Error("the answer waits for the report")
				}
				return nil
			}))
			d := h.restDoor()
			if name == call.GRPC {
				d = h.grpcDoor(t)
			}
			if r := d.recover(t.Context(), ""); r.err != nil {
				t.Fatal(r.err)
			}
			close(answered)
			h.accessLine(t)
		})
	}
}

// TestAfter has many callers owe reports at once, fewer than would be made at once: all are made, in each caller's order, and
// none beside another.
func TestAfter(t *testing.T) {
	const callers, each = 8, interceptor.MaxOwed / 8
	var (
		calls  interceptor.InFlight
		owing  sync.WaitGroup
		busy   atomic.Int32
		did    [callers]int // no lock: one goroutine at a time
		wanted [callers]int
	)
	for caller := range callers {
		wanted[caller] = each
		owing.Go(func() {
			for n := range each {
				calls.After(func() {
					if busy.Add(1) != 1 || did[caller] != n {
						t.Errorf("the %dth of caller %d is made after %d, beside %d others", n, caller, did[caller], busy.Load()-1)
					}
					did[caller]++
					busy.Add(-1)
				})
			}
		})
	}
	owing.Wait()
	if left := calls.Wait(t.Context()); left != 0 || did != wanted {
		t.Errorf("%d calls are left; made were %v", left, did)
	}
}

// TestMuchIsOwed bounds what is owed. What comes then is reported at once, and those who wait for reports wait all the same.
func TestMuchIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls interceptor.InFlight
		made := 0
		release := make(chan struct{})
		calls.After(func() {
			<-release
			made++
		})
		synctest.Wait() // it is being made, the others will be together
		for range interceptor.MaxOwed - 1 {
			calls.After(func() { made++ })
		}
		synctest.Wait()
		if made != 0 {
			t.Errorf("%d reports were made before the first", made)
		}
		calls.After(func() { made++ })
		if made != 1 {
			t.Errorf("%d reports were made when much was owed, want the last", made)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		calls.Reported(ctx)
		if took := time.Since(start); took != time.Second {
			t.Errorf("gave up after %v, want the second that the context allows", took)
		}
		close(release)
		if calls.Wait(t.Context()); made != interceptor.MaxOwed+1 {
			t.Errorf("%d reports were made, want %d", made, interceptor.MaxOwed+1)
		}
	})
}

// TestReported waits for the reports of calls that are answered by then, and neither for later ones nor for ever.
func TestReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = time.Second
		var calls interceptor.InFlight
		report := func() { time.Sleep(takes) }
		waited := func(ctx context.Context) time.Duration {
			start := time.Now()
			calls.Reported(ctx)
			return time.Since(start)
		}
		for range 3 {
			calls.After(report)
		}
		time.AfterFunc(takes/2, func() { calls.After(report) })
		if took := waited(t.Context()); took != 3*takes {
			t.Errorf("waited %v for three reports, want %v", took, 3*takes)
		}
		ctx, cancel := context.WithTimeout(t.Context(), takes/2)
		defer cancel()
		if took := waited(ctx); took != takes/2 {
			t.Errorf("gave up after %v, want %v", took, takes/2)
		}
		if calls.Wait(t.Context()); waited(t.Context()) != 0 {
			t.Error("waited when there was nothing to wait for")
		}
	})
}

// TestWaitIsForReportsBesideTheQueue has one that is made at once outlast the queue.
func TestWaitIsForReportsBesideTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = time.Second
		var calls interceptor.InFlight
		release := make(chan struct{})
		for range interceptor.MaxOwed {
			calls.After(func() { <-release })
		}
		go calls.After(func() { time.Sleep(takes) })
		synctest.Wait()
		close(release)
		start := time.Now()
		if calls.Wait(t.Context()); time.Since(start) != takes {
			t.Errorf("waited %v, want %v", time.Since(start), takes)
		}
	})
}
