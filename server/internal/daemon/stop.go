package daemon

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// answerLimit bounds how long a stop waits for the last answers, closeLimit for the last reports, audit lines and spans, and
// adminLimit for what the admin door answers. Afterwards the log has half a second (telemetry.Log.End).
const (
	answerLimit = time.Second
	closeLimit  = 2 * time.Second
	adminLimit  = 500 * time.Millisecond
)

// leave tells whoever looks that the server will go, while it still serves everything. It lasts for the delay, which
// balancers need to learn of it, or until soon ends.
func (s *server) leave(soon context.Context, delay time.Duration) {
	s.ready.Store(false)
	s.health.Shutdown()
	s.age.leaving.Store(true)
	within(soon, delay, func(ctx context.Context) { <-ctx.Done() })
}

// stop takes the server down from the outside in. What has an effect and is not sent yet is refused from now on,
// whichever door it came in by. Then both doors stop taking calls, and open ones have the drain time: both at once, since
// one request that drips in must not keep the other door open. Calls that were sent are waited for longer, with their
// connections open, so that their answers are delivered; only then are connections cut. Every step is bounded.
func (s *server) stop(ctx context.Context, drain, upstream time.Duration) {
	s.service.Drain()
	gone := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(gone)
	}()
	doors := func(ctx context.Context) {
		_ = s.http.Shutdown(ctx) // what it leaves behind is closed below
		select {
		case <-gone:
		case <-ctx.Done(): // one open health Watch would hold it for ever
		}
	}
	within(ctx, drain, doors)
	within(ctx, upstream+slack, func(ctx context.Context) {
		if left := s.calls.Wait(ctx); left > 0 {
			s.log.Error("calls that were sent did not end in time; their outcome is unknown", zap.Int("calls", left))
		}
	})
	within(ctx, answerLimit, doors)
	_ = s.http.Close()
	s.grpc.Stop()
	<-gone
	s.endWatching()
	if err := s.close(ctx); err != nil {
		s.log.Warn("the stores were not closed in order", zap.Error(err))
	}
	within(ctx, adminLimit, func(ctx context.Context) {
		if s.admin.Shutdown(ctx) != nil {
			_ = s.admin.Close()
		}
	})
}

// close ends what is not a door.
func (s *server) close(ctx context.Context) (err error) {
	if s.upstream != nil {
		s.upstream.Close()
	}
	if s.store != nil {
		err = s.store.Close()
	}
	within(ctx, closeLimit, func(ctx context.Context) {
		// Calls that ended last have their lines too.
		within(ctx, reportLimit, func(ctx context.Context) { s.calls.Wait(ctx) })
		var last sync.WaitGroup // each has all the time that is left
		last.Go(func() { closeAudit(ctx, s.audit, s.log) })
		last.Go(func() {
			if err := s.tracing.Close(ctx); err != nil {
				s.log.Warn("the last spans were not sent", zap.Error(err))
			}
		})
		last.Wait()
	})
	return err
}

// within bounds one step of the way down, so that no step can hold up the next for ever.
func within(ctx context.Context, limit time.Duration, step func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	step(ctx)
}
