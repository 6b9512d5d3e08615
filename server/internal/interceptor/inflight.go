package interceptor

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"recoverycodes.internal/server/internal/batching"
)

// MaxOwed bounds how many calls may wait to be reported. It is reached for moments, under load.
const MaxOwed = 256

// InFlight counts the calls in the corridor, and reports them when they are answered. A Recover or Rotate that was
// sent is finished after its connection is gone, and no server's own shutdown knows of it; whoever stops the process
// waits here. The zero value is ready.
type InFlight struct {
	mu      sync.Mutex
	calls   int
	owed    int           // reports that are in queue or being made
	idle    chan struct{} // made by whoever waits, closed when there are no calls and no report is owed
	queue   []func()
	running bool // there is a goroutine that works off the queue
}

func (f *InFlight) count(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	f.mu.Lock()
	f.calls++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls--
		f.announce()
	}()
	return handler(ctx, req)
}

// announce tells those who wait, if there is nothing to wait for. The lock is held.
func (f *InFlight) announce() {
	if f.calls+f.owed == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// After has a call reported as soon as those who answer have had their turn, in the order in which calls come here. A report
// must not wait for anything. When MaxOwed are owed already, this one is made at once, beside the others.
func (f *InFlight) After(report func()) {
	f.mu.Lock()
	full := f.owed >= MaxOwed
	f.owed++
	if !full {
		f.enqueue(report)
	}
	f.mu.Unlock()
	if full {
		report()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.owed--
		f.announce()
	}
}

// enqueue has something done after all that is in queue. The lock is held, and it is counted as owed.
func (f *InFlight) enqueue(do func()) {
	f.queue = append(f.queue, do)
	if !f.running {
		f.running = true
		go f.work()
	}
}

// work works off the queue. It returns when there is nothing in it.
func (f *InFlight) work() {
	var batch []func()
	for {
		batching.Yield() // what others owe by then is done together with it
		f.mu.Lock()
		f.owed -= len(batch)
		f.announce()
		clear(batch) // they hold records
		batch, f.queue = f.queue, batch[:0]
		f.running = len(batch) > 0
		f.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, report := range batch {
			report()
		}
	}
}

// Reported waits until all calls that came to After before are reported, or ctx ends; those that are reported beside the
// others it does not know.
func (f *InFlight) Reported(ctx context.Context) {
	done := make(chan struct{})
	f.mu.Lock()
	f.owed++
	f.enqueue(func() { close(done) })
	f.mu.Unlock()
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

// Wait blocks until no call is in the corridor and all are reported, or ctx ends, and returns how many calls there still
// are. Calls must have stopped coming in.
func (f *InFlight) Wait(ctx context.Context) int {
	f.mu.Lock()
	if f.calls+f.owed > 0 && f.idle == nil {
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
	return f.Count()
}
