package interceptor_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
		if got := h.calls.Wait(t.Context()); got != 0 {
			t.Errorf("%d calls are open after the last", got)
		}
	})
}

func TestWaitAfterAPanic(t *testing.T) {
	throughBothDoors(t, func(context.Context) error { panic(marked) }, func(t *testing.T, h *house, d door) {
		d.recover(t.Context(), "")
		if got := h.calls.Wait(now()); got != 0 {
			t.Errorf("%d calls are open after the panic", got)
		}
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
	if got := h.calls.Wait(t.Context()); got != 0 {
		t.Errorf("%d calls are open, want none", got)
	}
}

// TestCallIsOpenUntilItsLineIsWritten: whoever has waited may close the log.
func TestCallIsOpenUntilItsLineIsWritten(t *testing.T) {
	var h *house
	open := -1
	h = build(done, zap.Hooks(func(zapcore.Entry) error {
		open = h.calls.Wait(now())
		return nil
	}))
	if r := h.restDoor().recover(t.Context(), ""); r.err != nil {
		t.Fatal(r.err)
	}
	if open != 1 {
		t.Errorf("when the line was written %d calls were open, want 1", open)
	}
}
