package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// faulty is a writer that takes so many bytes and then no more, until it is healed.
type faulty struct {
	mu      sync.Mutex
	limit   int
	silent  bool // give no error for what was not written
	healed  bool
	content []byte
}

var errFaulty = errors.New("no space left here")

func (f *faulty) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(p)
	if !f.healed {
		n = min(n, f.limit-len(f.content))
	}
	f.content = append(f.content, p[:n]...)
	if n < len(p) && !f.silent {
		return n, errFaulty
	}
	return n, nil
}

func (f *faulty) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.healed = true
}

// blocked is a writer that does not return until it is freed.
type blocked struct {
	free    chan struct{}
	content []byte
}

func (b *blocked) Write(p []byte) (int, error) {
	<-b.free
	b.content = append(b.content, p...)
	return len(p), nil
}

// threePlaces returns a log with room for three lines of each kind, and the number of lines that it has dropped.
func threePlaces(t *testing.T, w io.Writer) (*Log, *int) {
	t.Helper()
	dropped := new(int)
	l, err := Open(Stdout, w, Options{Places: 3, OnDrop: func() { *dropped++ }})
	if err != nil {
		t.Fatal(err)
	}
	return l, dropped
}

// TestPlaces holds the promise that a server rests on that refuses what it cannot record: the line of a call that was
// admitted is never lost, whatever else is written meanwhile, and memory is bounded all the same.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &faulty{}
		l, dropped := threePlaces(t, w)
		var admitted []*Place
		for range 3 {
			place, err := l.Reserve()
			if err != nil {
				t.Fatal(err)
			}
			admitted = append(admitted, place)
		}
		if _, err := l.Reserve(); !errors.Is(err, ErrFull) {
			t.Errorf("a fourth place of three: %v", err)
		}
		for _, id := range names("refused ", 5) { // more than there is room for
			l.Write(line(id))
			synctest.Wait()
		}
		if *dropped != 2 {
			t.Errorf("%d lines were dropped, want 2", *dropped)
		}
		for i, id := range names("admitted ", 3) {
			admitted[i].Write(line(id))
			admitted[i].Release()
			synctest.Wait()
		}
		if *dropped != 2 {
			t.Errorf("the line of a call that was admitted was dropped")
		}
		if _, err := l.Reserve(); !errors.Is(err, errFaulty) {
			t.Errorf("reserved, although nothing can be written: %v", err)
		}
		w.heal()
		time.Sleep(lastRetry)
		synctest.Wait()
		for range 3 { // all places are free again
			place, err := l.Reserve()
			if err != nil {
				t.Fatal(err)
			}
			place.Release()
			place.Release()
		}
		if n := taken(l); n != 0 {
			t.Errorf("%d places are taken, want none", n)
		}
		closed(t, l)
		wantLines(t, w.content, "refused 0", "refused 1", "refused 2", "admitted 0", "admitted 1", "admitted 2")
	})
}

// TestPlaceIsForOneLine uses a place twice: the second line has to find room like any other.
func TestPlaceIsForOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &faulty{}
		l, dropped := threePlaces(t, w)
		place, err := l.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range names("other ", 3) {
			l.Write(line(id))
		}
		place.Write(line("first"))
		place.Write(line("second"))
		if *dropped != 1 {
			t.Errorf("%d lines were dropped, want the second of the place", *dropped)
		}
		w.heal()
		closed(t, l)
		wantLines(t, w.content, "other 0", "other 1", "other 2", "first")
	})
}

// TestStall holds how long a write may take: until then the log is ready, afterwards it is not, and when the write
// returns it is again.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &blocked{free: make(chan struct{})}
		l, _ := threePlaces(t, w)
		l.Write(line("0"))
		time.Sleep(stall - time.Nanosecond)
		synctest.Wait()
		if err := l.Ready(); err != nil {
			t.Errorf("not ready before its time: %v", err)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if err := l.Ready(); !errors.Is(err, errStalled) {
			t.Errorf("got %v, want that the write does not return", err)
		}
		w.free <- struct{}{}
		synctest.Wait()
		if err := l.Ready(); err != nil {
			t.Errorf("not ready after the write has returned: %v", err)
		}
		// A watchdog that comes too late finds nothing that it could bark at, and the next write has all of its time.
		l.stalled()
		if err := l.Ready(); err != nil {
			t.Errorf("not ready with nothing to write: %v", err)
		}
		l.Write(line("1"))
		time.Sleep(stall - time.Nanosecond)
		synctest.Wait()
		if err := l.Ready(); err != nil {
			t.Errorf("not ready before its time: %v", err)
		}
		close(w.free)
		closed(t, l)
		wantLines(t, w.content, "0", "1")
	})
}

func TestCloseOfABlockedWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &blocked{free: make(chan struct{})}
		l, dropped := threePlaces(t, w)
		place, err := l.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		l.Write(line("under way"))
		synctest.Wait()
		l.Write(line("waiting"))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := l.Close(ctx); !errors.Is(err, errStalled) || !strings.Contains(err.Error(), " 2 lines") {
			t.Errorf("got %v, want two lines lost to a write that does not return", err)
		}
		l.Write(line("late"))
		place.Write(line("late"))
		if *dropped != 2 {
			t.Errorf("%d lines were dropped after the end, want 2", *dropped)
		}
		close(w.free) // the goroutine ends with its write
		<-l.done
		if err := l.Close(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("closed twice: %v", err)
		}
	})
}

// TestCloseDrains closes while the disk is full and is then mended: nothing is lost if there is time.
func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &faulty{limit: 100}
		l, _ := threePlaces(t, w)
		l.Write(line("0"))
		l.Write(line("1"))
		time.AfterFunc(3*time.Second, w.heal)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := l.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if _, err := l.Reserve(); !errors.Is(err, ErrClosed) {
			t.Errorf("reserved after the end: %v", err)
		}
		wantLines(t, w.content, "0", "1")
	})
}

// erratic is a writer that takes some of what it is given, most of the time.
type erratic struct {
	random  *rand.Rand
	content []byte
}

func (e *erratic) Write(p []byte) (int, error) {
	n := len(p)
	var err error
	if e.random.IntN(3) > 0 {
		n, err = e.random.IntN(n+1), errFaulty
	}
	e.content = append(e.content, p[:n]...)
	return n, err
}

// TestErraticWriter holds that the lines are whole and in order whatever writes come to.
func TestErraticWriter(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			w := &erratic{random: rand.New(rand.NewPCG(seed, 0))}
			l, err := Open(Stdout, w, Options{Places: 100})
			if err != nil {
				t.Fatal(err)
			}
			want := names("line ", 100)
			for i, id := range want {
				l.Write(line(id))
				if i%7 == 0 {
					time.Sleep(firstRetry)
				}
			}
			closed(t, l)
			wantLines(t, w.content, want...)
		})
	}
}

// counting counts writes.
type counting struct {
	writes int
	gate   chan struct{}
}

func (c *counting) Write(p []byte) (int, error) {
	<-c.gate
	c.writes++
	return len(p), nil
}

// TestOneWrite holds that lines that wait are written at once.
func TestOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &counting{gate: make(chan struct{})}
		l, _ := threePlaces(t, w)
		l.Write(line("0"))
		synctest.Wait()
		l.Write(line("1"))
		l.Write(line("2"))
		close(w.gate)
		closed(t, l)
		if w.writes != 2 {
			t.Errorf("%d writes, want 2: of the first line, and of those that waited for it", w.writes)
		}
	})
}

// TestTogether holds that calls that end at the same time do not have a write each, although nothing waits.
func TestTogether(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that those that are ready have an order
	const calls = 20
	w := &counting{gate: make(chan struct{})}
	close(w.gate)
	l, err := Open(Stdout, w, Options{Places: calls})
	if err != nil {
		t.Fatal(err)
	}
	var ended sync.WaitGroup
	for range calls {
		ended.Go(func() { l.Write(line("")) })
	}
	ended.Wait()
	closed(t, l)
	if w.writes > calls/2 {
		t.Errorf("%d writes for %d lines, want at most half as many", w.writes, calls)
	}
}

// BenchmarkWrite is all of the work, that of the writer included.
func BenchmarkWrite(b *testing.B) {
	for _, reserve := range []bool{false, true} {
		b.Run(fmt.Sprintf("reserve %v", reserve), func(b *testing.B) {
			options := Options{Places: 1000, OnDrop: func() { b.Error("a line was dropped") }}
			l, err := Open(b.TempDir()+"/audit.log", nil, options)
			if err != nil {
				b.Fatal(err)
			}
			line := exampleLine()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				for i%100 == 0 && taken(l) > 0 {
					runtime.Gosched()
				}
				if !reserve {
					l.Write(line)
					continue
				}
				place, err := l.Reserve()
				if err != nil {
					b.Fatal(err)
				}
				place.Write(line)
			}
			b.StopTimer()
			_ = l.Close(b.Context())
		})
	}
}

func taken(l *Log) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken.reserved + l.taken.other
}

func BenchmarkLine(b *testing.B) {
	line := exampleLine()
	buffer := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buffer = line.appendTo(buffer[:0])
	}
}
