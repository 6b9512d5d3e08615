package telemetry

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxWaiting bounds the lines that wait for whoever reads the log, in bytes, and as much again may be in a write: some twenty
// thousand lines each. keepWaiting is how much of that memory is used again.
const (
	maxWaiting  = 8 << 20
	keepWaiting = 1 << 20
)

// sink writes to another writer what it is given, and has nobody wait: lines about calls must not hold up calls, nor the way
// down. What finds no room or cannot be written is dropped and counted. It is safe for concurrent use.
type sink struct {
	to      io.Writer
	dropped atomic.Uint64 // lines

	mu      sync.Mutex
	waiting []byte
	closed  bool

	wake chan struct{} // has an element when there is something to do
	done chan struct{} // closed when the goroutine has ended

	// onDrop is told how many lines were lost, after a write that succeeded, unless the sink is closed. It is called by the
	// goroutine that writes.
	onDrop func(lines uint64)
}

func newSink(to io.Writer) *sink {
	return &sink{to: to, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// Write implements io.Writer. p is whole lines. It does not fail: nobody could be told.
func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	fits := !s.closed && len(s.waiting)+len(p) <= maxWaiting
	if fits {
		s.waiting = append(s.waiting, p...)
	}
	s.mu.Unlock()
	if fits {
		s.signal()
	} else {
		s.drop(p)
	}
	return len(p), nil
}

func (s *sink) drop(lines []byte) { s.dropped.Add(uint64(bytes.Count(lines, []byte{'\n'}))) }

func (s *sink) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run writes until the sink is closed and empty.
func (s *sink) run() {
	defer close(s.done)
	var lines []byte
	var told uint64
	wrote, torn := false, false // the last write was good; what was written ends within a line
	for {
		s.mu.Lock()
		if cap(lines) > keepWaiting {
			lines = nil
		}
		lines, s.waiting = s.waiting, lines[:0]
		closed := s.closed
		s.mu.Unlock()
		// There is room now. While lines are lost there is none, and what tells of them would be lost too.
		if now := s.dropped.Load(); wrote && now > told && !closed {
			s.onDrop(now - told)
			told = now
		}
		wrote = false
		if len(lines) == 0 {
			if closed {
				return
			}
			<-s.wake
			continue
		}
		end := 0 // of the line that was torn
		if torn {
			lines, end = slices.Insert(lines, 0, '\n'), 1
		}
		n, err := s.to.Write(lines)
		n = max(0, min(n, len(lines)))
		torn = n > 0 && lines[n-1] != '\n' || n == 0 && torn
		if err != nil {
			s.drop(lines[max(n, end):])
		}
		wrote = err == nil
	}
}

// close has what waits written, for as long as the limit allows. A write that never returns keeps the goroutine. What comes
// later is dropped.
func (s *sink) close(limit time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.signal()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
	}
}
