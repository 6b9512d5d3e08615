package interceptor

import (
	"context"
	"sync"

	"google.golang.org/grpc"
)

// InFlight counts the calls in the corridor. A Recover or Rotate that was sent is finished after its connection is
// gone, and no server's own shutdown knows of it; whoever stops the process waits here. The zero value is ready.
type InFlight struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // made by whoever waits, closed when n is 0
}

func (f *InFlight) count(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	f.mu.Lock()
	f.n++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.n--
		if f.n == 0 && f.idle != nil {
			close(f.idle)
			f.idle = nil
		}
	}()
	return handler(ctx, req)
}

// Count returns how many calls are in the corridor.
func (f *InFlight) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// Wait blocks until no call is in the corridor or ctx ends, and returns how many still are. Calls must have stopped
// coming in.
func (f *InFlight) Wait(ctx context.Context) int {
	f.mu.Lock()
	if f.n > 0 && f.idle == nil {
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
	return f.n
}
