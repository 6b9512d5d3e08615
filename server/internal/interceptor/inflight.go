package interceptor

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"recoverycodes.internal/server/internal/batching"
)

// maxOwed bounds what answered calls owe. It is out of reach unless the log cannot be written.
const maxOwed = 4096

// InFlight counts the calls in the corridor, and does what they owe when they are answered. A Recover or Rotate that was
// sent is finished after its connection is gone, and no server's own shutdown knows of it; whoever stops the process
// waits here. The zero value is ready.
type InFlight struct {
	mu      sync.Mutex
	calls   int
	owed    int           // what is in queue, or being done
	idle    chan struct{} // made by whoever waits, closed when there are no calls and nothing is owed
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

// After has something done that a call owes and its caller need not wait for: its access line. It is done as soon as those
// who answer have had their turn, in the order in which it was owed. When too much is owed already, because the log cannot
// be written, the call does it itself, and waits for that.
func (f *InFlight) After(do func()) {
	f.mu.Lock()
	if f.owed >= maxOwed {
		f.mu.Unlock()
		do()
		return
	}
	f.owed++
	f.queue = append(f.queue, do)
	start := !f.running
	f.running = true
	f.mu.Unlock()
	if start {
		go f.settle()
	}
}

// settle works off the queue. It returns when there is nothing in it.
func (f *InFlight) settle() {
	var batch []func()
	for {
		batching.Yield() // what others owe by then is done together with it
		f.mu.Lock()
		f.owed -= len(batch)
		f.announce()
		clear(batch)
		batch, f.queue = f.queue, batch[:0]
		f.running = len(batch) > 0
		f.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, do := range batch {
			do()
		}
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
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}
