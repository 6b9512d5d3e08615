package interceptor

import (
	"context"
	"sync"

	"google.golang.org/grpc"
)

// maxOwed bounds what answered calls owe. It is out of reach unless the log cannot be written.
const maxOwed = 4096

// InFlight counts the calls in the corridor, and does what they owe when they are answered. A Recover or Rotate that was
// sent is finished after its connection is gone, and no server's own shutdown knows of it; whoever stops the process
// waits here. The zero value is ready.
type InFlight struct {
	mu    sync.Mutex
	calls int
	idle  chan struct{} // made by whoever waits, closed when there are no calls

	reports, lines owed // apart, so that a log that takes no line holds back nothing else
}

func (f *InFlight) count(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	f.mu.Lock()
	f.calls++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls--
		if f.calls == 0 && f.idle != nil {
			close(f.idle)
			f.idle = nil
		}
	}()
	return handler(ctx, req)
}

// After has done what a call owes and its caller need not wait for, as soon as those who answer have had their turn and in
// the order in which calls come here. report must not wait for anything: it counts the call and hands over its audit line.
// The line that it returns, if any, is written later and may wait for whoever reads the log. When too much is owed already,
// because of that, the call does it all itself.
func (f *InFlight) After(report func() (line func())) {
	if f.reports.count()+f.lines.count() >= maxOwed {
		if line := report(); line != nil {
			line()
		}
		return
	}
	f.reports.add(func() {
		if line := report(); line != nil {
			f.lines.add(line)
		}
	})
}

// Settled waits until the reports of all calls that were answered before it are done.
func (f *InFlight) Settled(ctx context.Context) {
	done := make(chan struct{})
	f.reports.add(func() { close(done) })
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Count returns how many calls are in the corridor.
func (f *InFlight) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Wait blocks until no call is in the corridor and nothing is owed, or ctx ends, and returns how many calls there still
// are. Calls must have stopped coming in.
func (f *InFlight) Wait(ctx context.Context) int {
	f.mu.Lock()
	if f.calls > 0 && f.idle == nil {
		f.idle = make(chan struct{})
	}
	idle := f.idle
	f.mu.Unlock()
	if idle != nil {
		select {
		case <-idle:
		case <-ctx.Done():
		}
	}
	f.reports.wait(ctx.Done()) // they owe lines
	f.lines.wait(ctx.Done())
	return f.Count()
}
