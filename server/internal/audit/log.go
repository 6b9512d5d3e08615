package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Stdout is the path that stands for standard output.
const Stdout = "-"

// What Reserve may answer, besides the error of the last write.
var (
	// ErrFull: as many lines are waited for, or wait to be written, as there are places.
	ErrFull = errors.New("audit: no place for another line")
	// ErrClosed: the log is closed.
	ErrClosed = errors.New("audit: the log is closed")
	// errStalled: a write has not returned for a while.
	errStalled = errors.New("audit: a write does not return")
)

// Options are what an operator decides about a log, and who hears of its troubles.
type Options struct {
	// Places bounds the lines in memory: so many for which a place was reserved, and as many again for which none was.
	// It should be more than the number of calls that can be in flight, since a line keeps its place until it is written.
	// A line has some 400 bytes, and at worst, when all that an outsider can choose is long and has to be escaped, about
	// 8 KB; as much again while it waits to be made text.
	Places int

	// OnChange is told why the log is not ready any more, and with nil that it is again. It may be nil, is called by one
	// goroutine at a time, and the log waits for it.
	OnChange func(error)

	// OnDrop is told of each line that was dropped because there was no place for it. It may be nil and must not block.
	OnDrop func()
}

// Log writes lines to one file or writer, in the order in which it was given them. It is safe for concurrent use. Two
// processes must not share a file.
type Log struct {
	options Options
	target  target
	failure atomic.Pointer[error] // why the log is not ready; nil when it is

	mu        sync.Mutex
	taken     places // of the lines that are in memory and of the reservations
	queue     []Line // they are made text by the goroutine that writes
	queued    places // of them
	unwritten int    // lines that were accepted and are not known to be written
	look      bool
	closed    bool

	wake    chan struct{} // has an element when there is something for the writer to do
	abandon chan struct{} // closed when the writer is to give up
	done    chan struct{} // closed when it has returned

	writer // belongs to the goroutine that runs it
}

// places counts places in memory. Lines without a reservation cannot take those that are for lines with one.
type places struct {
	reserved, other int
}

// Open opens the file of path for appending, makes it if it is missing, readable by its owner only, and starts the
// log's one goroutine. A file that is renamed or removed is opened anew by its path, without any signal. The path
// Stdout means the writer stdout, which is not closed with the log.
func Open(path string, stdout io.Writer, options Options) (*Log, error) {
	if options.Places <= 0 {
		return nil, fmt.Errorf("audit: %d places for lines, want one at least", options.Places)
	}
	l := &Log{
		options: options,
		wake:    make(chan struct{}, 1),
		abandon: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if path == Stdout {
		l.target.writer = stdout
	} else {
		l.target.path = path
		if err := l.target.open(); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
	}
	l.watchdog = time.AfterFunc(time.Hour, l.stalled)
	l.watchdog.Stop()
	go l.run()
	return l, nil
}

// Ready returns nil when lines are being written, and else why not: the last write failed or has not returned for a
// second. It costs next to nothing.
func (l *Log) Ready() error {
	if failure := l.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// Place is a place in memory for the line of one call: that line is never dropped.
type Place struct {
	log  *Log
	used bool // guarded by the log's lock
}

// Reserve returns a place for a line, or an error when the log is not ready or has no place. A call that is made only
// with a place is in the record, unless the process or the machine dies, or the log is closed before the line can be
// written. The caller must use the place for a line or release it.
func (l *Log) Reserve() (*Place, error) {
	if err := l.Ready(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, ErrClosed
	case l.taken.reserved >= l.options.Places:
		return nil, ErrFull
	}
	l.taken.reserved++
	return &Place{log: l}, nil
}

// Write has the line written that the place is for. Further lines have to find room like any without a place.
func (p *Place) Write(line Line) { p.log.accept(&line, p) }

// Release gives the place back when no line was written. Afterwards it does nothing, so that it can be deferred.
func (p *Place) Release() {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	if !p.used {
		p.used = true
		p.log.taken.reserved--
	}
}

// Write has a line written for which no place was reserved. It does not wait for anything: if there is no place for the
// line, it is dropped and OnDrop told.
func (l *Log) Write(line Line) { l.accept(&line, nil) }

func (l *Log) accept(line *Line, place *Place) {
	if !l.enqueue(line, place) {
		if l.options.OnDrop != nil {
			l.options.OnDrop()
		}
		return
	}
	l.signal()
}

// enqueue reports whether there was a place for the line.
func (l *Log) enqueue(line *Line, place *Place) bool {
	line.bound()
	l.mu.Lock()
	defer l.mu.Unlock()
	reserved := place != nil && !place.used
	if reserved {
		place.used = true
	}
	switch {
	case l.closed && reserved:
		l.taken.reserved--
		return false
	case l.closed, !reserved && l.taken.other >= l.options.Places:
		return false
	case reserved: // its place is counted already
		l.queued.reserved++
	default:
		l.taken.other++
		l.queued.other++
	}
	l.queue = append(l.queue, *line)
	l.unwritten++
	return true
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Reopen has the log look at once whether its path names another file now, and open that. Without it the log looks when
// it writes, once a second at most, and an old file stays open until there is a line to write.
func (l *Log) Reopen() {
	l.mu.Lock()
	l.look = true
	l.mu.Unlock()
	l.signal()
}

// Close has all lines written and closes the file. If they are not written when ctx ends, they are given up, and the
// error says how many and why; of a write that is still under way then, nobody knows which lines it has written, and
// all count as lost. A write that never returns keeps the log's goroutine, and no more than that. Lines that come later
// are dropped.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.closed = true
	l.mu.Unlock()
	l.signal()
	var why error
	select {
	case <-l.done:
	case <-ctx.Done():
		if why = l.Ready(); why == nil {
			why = ctx.Err()
		}
		close(l.abandon)
		l.target.close() // ends a write to a pipe
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unwritten == 0 {
		return nil
	}
	return fmt.Errorf("audit: %d lines are lost: %w", l.unwritten, why)
}
