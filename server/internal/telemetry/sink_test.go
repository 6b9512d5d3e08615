package telemetry_test

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"recoverycodes.internal/server/internal/telemetry"
)

// stuckWriter takes nothing before it is released.
type stuckWriter struct {
	released chan struct{}
	out      bytes.Buffer
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.released
	return w.out.Write(p)
}

// TestNobodyWaitsForTheLog writes far more than is kept while nobody reads the log. Nobody waits for it, every line is written
// or counted as lost, and the log says how many are lost when it can be written again.
func TestNobodyWaitsForTheLog(t *testing.T) {
	for _, size := range []int{100, 200, 400, 10 << 10} {
		t.Run(strconv.Itoa(size), func(t *testing.T) { writeUnread(t, size) })
	}
}

func writeUnread(t *testing.T, size int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{released: make(chan struct{})}
		log, err := telemetry.NewLog(w, "json", "info")
		if err != nil {
			t.Fatal(err)
		}
		lines := 30 << 20 / size
		text := strings.Repeat("x", size-100) // beside level, time and message
		start := time.Now()
		for range lines {
			log.Info("line", zap.String("text", text))
		}
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("somebody waited for %v", took)
		}
		lost := int(log.Dropped())
		if kept := (lines - lost) * size; kept < 6<<20 || kept > 18<<20 {
			t.Errorf("%d bytes are kept, want 8 MB, or twice as much", kept)
		}
		close(w.released)
		synctest.Wait()
		log.Info("after")
		log.End()
		if got := strings.Count(w.out.String(), `"message":"line"`); got != lines-lost || int(log.Dropped()) != lost {
			t.Errorf("%d lines are written and %d lost, want %d and %d", got, log.Dropped(), lines-lost, lost)
		}
		told := 0
		for line := range strings.Lines(w.out.String()) {
			if strings.Contains(line, "lines of this log are lost") && strings.Contains(line, `"lines":`+strconv.Itoa(lost)+"}") {
				told++
			}
		}
		if told != 1 || !strings.Contains(w.out.String(), `"message":"after"`) {
			t.Errorf("the log tells %d times that %d lines are lost, want once", told, lost)
		}
	})
}

// TestEndOfALogThatIsNotRead gives up in time. Nothing is written from then on.
func TestEndOfALogThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{released: make(chan struct{})}
		log, err := telemetry.NewLog(w, "json", "info")
		if err != nil {
			t.Fatal(err)
		}
		log.Info("before")
		start := time.Now()
		log.End()
		if took := time.Since(start); took != 500*time.Millisecond {
			t.Errorf("it took %v, want half a second", took)
		}
		log.Info("after")
		close(w.released)
		synctest.Wait()
		if got := w.out.String(); !strings.Contains(got, "before") || strings.Contains(got, "after") || log.Dropped() != 1 {
			t.Errorf("%d are lost of\n%s", log.Dropped(), got)
		}
	})
}

// failingWriter takes a part of what it is given, and fails if that is not all.
type failingWriter struct {
	takes float64
	out   bytes.Buffer
}

func (w *failingWriter) Write(p []byte) (int, error) {
	n, _ := w.out.Write(p[:int(w.takes*float64(len(p)))])
	if n < len(p) {
		return n, errors.New("no space")
	}
	return n, nil
}

// TestLogThatCannotBeWritten counts lines that are lost to errors, and goes on.
func TestLogThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &failingWriter{}
		log, err := telemetry.NewLog(w, "json", "info")
		if err != nil {
			t.Fatal(err)
		}
		for _, takes := range []float64{0.5, 0.5, 0} { // and so a line is torn when all is well again
			w.takes = takes
			log.Info("before")
			synctest.Wait()
		}
		w.takes = 1
		log.Info("after")
		synctest.Wait()
		log.End()
		if got := w.out.String(); log.Dropped() != 3 || !strings.Contains(got, "\n"+`{"level":"info"`) || !strings.Contains(got, `"lines":3}`) {
			t.Errorf("%d are lost of\n%s", log.Dropped(), got)
		}
	})
}
