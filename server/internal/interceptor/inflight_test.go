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

// TestWaitIsForLinesToo: whoever has waited may close the log.
func TestWaitIsForLinesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writing = time.Second
		h := build(done, zap.Hooks(func(zapcore.Entry) error {
			time.Sleep(writing)
			return nil
		}))
		start := time.Now()
		if r := h.restDoor().recover(t.Context(), ""); r.err != nil {
			t.Fatal(r.err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the answer took %v", took)
		}
		if h.calls.Wait(t.Context()); time.Since(start) != writing {
			t.Errorf("waited until %v after the start, want %v", time.Since(start), writing)
		}
		h.accessLine(t)
	})
}

// slowCore is a log for which access lines wait in Check, which is where reports end.
type slowCore struct {
	zapcore.Core
	wait func()
}

// Check implements zapcore.Core.
func (c slowCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	c.wait()
	return c.Core.Check(entry, checked)
}

// TestAnswersComeFirst has calls whose reports, or whose lines, cannot be done before the call is answered.
func TestAnswersComeFirst(t *testing.T) {
	for what, until := range map[string]func(wait func()) zap.Option{
		"report": func(wait func()) zap.Option {
			return zap.WrapCore(func(core zapcore.Core) zapcore.Core { return slowCore{core, wait} })
		},
		"line": func(wait func()) zap.Option {
			return zap.Hooks(func(zapcore.Entry) error {
				wait()
				return nil
			})
		},
	} {
		for _, name := range []call.Door{call.GRPC, call.REST} {
			t.Run(what+" over "+string(name), func(t *testing.T) {
				answered := make(chan struct{})
				h := build(done, until(func() {
					select {
					case <-answered:
					case <-time.After(10 * time.Second):
						t.Error("the answer waits")
					}
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
}

// TestAfter has many callers owe something at once: all of it is done, in each caller's order, and neither reports nor lines
// beside another.
func TestAfter(t *testing.T) {
	const callers, each = 8, 500
	var (
		calls           interceptor.InFlight
		owing           sync.WaitGroup
		reported, lined sequences
		wanted          [callers]int
	)
	for caller := range callers {
		wanted[caller] = each
		owing.Go(func() {
			for n := range each {
				calls.After(func() func() {
					reported.next(t, caller, n)
					return func() { lined.next(t, caller, n) }
				})
			}
		})
	}
	owing.Wait()
	if left := calls.Wait(t.Context()); left != 0 || reported.did != wanted || lined.did != wanted {
		t.Errorf("%d are left; reported were %v, and of lines there were %v", left, reported.did, lined.did)
	}
}

// sequences is what has been done for each caller. There is no lock: one goroutine at a time.
type sequences struct {
	busy atomic.Int32
	did  [8]int
}

func (s *sequences) next(t *testing.T, caller, n int) {
	if s.busy.Add(1) != 1 || s.did[caller] != n {
		t.Errorf("the %dth of caller %d is done after %d, beside %d others", n, caller, s.did[caller], s.busy.Load()-1)
	}
	s.did[caller]++
	s.busy.Add(-1)
}

// TestLinesThatCannotBeWritten bounds the lines that wait, and has whoever comes then wait too; and no report waits.
func TestLinesThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls interceptor.InFlight
		var reported, written atomic.Int32
		stuck := make(chan struct{})
		owe := func() {
			calls.After(func() func() {
				reported.Add(1)
				return func() {
					<-stuck
					written.Add(1)
				}
			})
		}
		owe()
		synctest.Wait() // it is being done, the others will be together
		waits := func() bool {
			went := make(chan struct{})
			go func() {
				owe()
				close(went)
			}()
			synctest.Wait()
			select {
			case <-went:
				return false
			default:
				return true
			}
		}
		const enough = 10000
		kept := 0
		for kept < enough && !waits() {
			kept++
		}
		if want := 4096 - 1; kept != want {
			t.Errorf("%d callers did not have to wait, want %d", kept, want)
		}
		if got := int(reported.Load()); got != kept+2 || written.Load() != 0 {
			t.Errorf("%d were reported and %d lines written, want %d and none", got, written.Load(), kept+2)
		}
		start := time.Now()
		calls.Settled(t.Context())
		if took := time.Since(start); took != 0 {
			t.Errorf("reports took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if left := calls.Wait(ctx); left != 0 {
			t.Errorf("%d calls are left, and there was none", left)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("gave up after %v, want the second that the context allows", took)
		}
		close(stuck)
		calls.Wait(t.Context())
		synctest.Wait()
		if got := int(written.Load()); got != kept+2 {
			t.Errorf("%d lines were written, want %d", got, kept+2)
		}
	})
}

// TestSettled waits for the reports of calls that are answered by then, and neither for later ones nor for ever.
func TestSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = time.Second
		var calls interceptor.InFlight
		report := func() func() {
			time.Sleep(takes)
			return nil
		}
		waited := func(ctx context.Context) time.Duration {
			start := time.Now()
			calls.Settled(ctx)
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
