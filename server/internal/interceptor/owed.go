package interceptor

import (
	"sync"

	"recoverycodes.internal/server/internal/batching"
)

// owed is what answered calls have not done yet, and the goroutine that does it while there is something. The zero value is
// ready.
type owed struct {
	mu      sync.Mutex
	n       int           // what is in queue, or being done
	none    chan struct{} // made by whoever waits, closed when n is 0
	queue   []func()
	running bool
}

// add has something done as soon as those who answer have had their turn, after all that was added before.
func (o *owed) add(do func()) {
	o.mu.Lock()
	o.n++
	o.queue = append(o.queue, do)
	start := !o.running
	o.running = true
	o.mu.Unlock()
	if start {
		go o.settle()
	}
}

// settle works off the queue. It returns when there is nothing in it.
func (o *owed) settle() {
	var batch []func()
	for {
		batching.Yield() // what others owe by then is done together with it
		o.mu.Lock()
		o.n -= len(batch)
		if o.n == 0 && o.none != nil {
			close(o.none)
			o.none = nil
		}
		clear(batch)
		batch, o.queue = o.queue, batch[:0]
		o.running = len(batch) > 0
		o.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, do := range batch {
			do()
		}
	}
}

// count is how much is owed.
func (o *owed) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n
}

// wait blocks until nothing is owed, or done is closed.
func (o *owed) wait(done <-chan struct{}) {
	o.mu.Lock()
	if o.n > 0 && o.none == nil {
		o.none = make(chan struct{})
	}
	none := o.none
	o.mu.Unlock()
	if none == nil {
		return
	}
	select {
	case <-none:
	case <-done:
	}
}
