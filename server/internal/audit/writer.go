package audit

import (
	"bytes"
	"io"
	"runtime"
	"sync"
	"time"
)

const (
	// stall is how long a write may take before the log is not ready: whatever calls are admitted meanwhile have places.
	stall = time.Second

	// A write that has failed is tried again after firstRetry, and after twice as long each time, up to lastRetry.
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second

	// keepBuffer is the size up to which the memory of lines that are written is used again, in bytes, and keepLines
	// that of lines that are text by now.
	keepBuffer = 1 << 20
	keepLines  = 4096
)

// writer is the state of the goroutine that writes.
type writer struct {
	batch   []byte // what is being written
	lines   places // of it
	written int    // how many bytes of it are
	spare   []Line // memory of lines that are text by now

	state    sync.Mutex // guards what follows, and the order in which OnChange is told
	begun    time.Time  // when the write that is under way has begun; zero when there is none
	watchdog *time.Timer
}

// run writes until the log is closed and everything is written, or until it is to give up.
func (l *Log) run() {
	defer close(l.done)
	defer l.target.close()
	retry := firstRetry
	for {
		look, work, last := l.take()
		if !work {
			if last {
				return
			}
			select {
			case <-l.wake:
				runtime.Gosched() // calls that end at the same time have their lines in one write; see package batching
			case <-l.abandon:
				return
			}
			continue
		}
		err := l.flush(look)
		l.became(err)
		if err == nil {
			retry = firstRetry
			continue
		}
		select {
		case <-time.After(retry):
			retry = min(2*retry, lastRetry)
		case <-l.abandon:
			return
		}
	}
}

// take adds the lines that have been queued to those that are left of the batch. It says whether the file is to be
// looked at now, whether there is anything to do, and whether there will never be more.
func (l *Log) take() (look, work, last bool) {
	l.mu.Lock()
	lines := l.queue
	l.queue = l.spare
	l.lines.reserved += l.queued.reserved
	l.lines.other += l.queued.other
	l.queued = places{}
	look, l.look = l.look, false
	last = l.closed
	l.mu.Unlock()

	whole := l.lineStart()
	l.batch, l.written = append(l.batch[:0], l.batch[whole:]...), l.written-whole
	for i := range lines {
		l.batch = lines[i].appendTo(l.batch)
	}
	clear(lines)
	if l.spare = lines[:0]; cap(lines) > keepLines {
		l.spare = nil
	}
	return look, look || len(l.batch) > 0 || l.Ready() != nil && !last, last
}

// lineStart returns where in the batch the line begins that is to be written next or is written in part.
func (l *Log) lineStart() int { return bytes.LastIndexByte(l.batch[:l.written], '\n') + 1 }

// flush writes the batch at once, and gives back its places when it is written to the end.
func (l *Log) flush(look bool) error {
	l.watch()
	defer l.unwatch()
	// A file that could not be opened is tried again, whenever it was looked at last.
	if l.target.moved(look || l.Ready() != nil) {
		if torn := l.lineStart(); torn < l.written {
			// The end of a line belongs where its beginning is. If that cannot be, the line is written again as a whole.
			rest := l.batch[l.written:]
			_ = l.write(rest[:bytes.IndexByte(rest, '\n')+1])
		}
		if err := l.target.open(); err != nil {
			return err
		}
		l.written = l.lineStart()
	}
	if err := l.write(l.batch[l.written:]); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken.reserved -= l.lines.reserved
	l.taken.other -= l.lines.other
	l.batch, l.lines, l.written = l.batch[:0], places{}, 0
	if cap(l.batch) > keepBuffer {
		l.batch = nil
	}
	return nil
}

// write writes text, the next of the batch, and remembers how much of it is written.
func (l *Log) write(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	n, err := l.target.writer.Write(text)
	n = max(0, min(n, len(text)))
	if n < len(text) && err == nil {
		err = io.ErrShortWrite
	}
	l.written += n
	l.mu.Lock()
	l.unwritten -= bytes.Count(text[:n], []byte{'\n'})
	l.mu.Unlock()
	return err
}

// became says how writing went.
func (l *Log) became(err error) {
	l.state.Lock()
	defer l.state.Unlock()
	l.become(err)
}

// become makes the log ready, or not ready because of err. The state's lock is held.
func (l *Log) become(err error) {
	wasReady := l.Ready() == nil
	if err == nil {
		l.failure.Store(nil)
	} else {
		l.failure.Store(&err)
	}
	if wasReady != (err == nil) && l.options.OnChange != nil {
		l.options.OnChange(err)
	}
}

// watch has the log become not ready if unwatch is not called in time.
func (l *Log) watch() {
	l.state.Lock()
	defer l.state.Unlock()
	l.begun = time.Now()
	l.watchdog.Reset(stall)
}

func (l *Log) unwatch() {
	l.state.Lock()
	defer l.state.Unlock()
	l.begun = time.Time{}
	l.watchdog.Stop()
}

// stalled is called by the watchdog. One that comes too late finds no write under way, or another one.
func (l *Log) stalled() {
	l.state.Lock()
	defer l.state.Unlock()
	if !l.begun.IsZero() && time.Since(l.begun) >= stall {
		l.become(errStalled)
	}
}
