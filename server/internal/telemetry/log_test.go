package telemetry_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/telemetry"
)

// written returns what a log has written when it has ended.
func written(t *testing.T, format, level string, write func(*zap.Logger)) string {
	t.Helper()
	var out bytes.Buffer
	log, err := telemetry.NewLog(&out, format, level)
	if err != nil {
		t.Fatal(err)
	}
	write(log.Logger)
	log.End()
	return out.String()
}

// TestAccessLinesWait holds that access lines, and no others, are written together: by time, by whatever line follows that
// may not wait, or at the end.
func TestAccessLinesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		log, err := telemetry.NewLog(&out, "json", "info")
		if err != nil {
			t.Fatal(err)
		}
		observer := telemetry.NewObserver(log.Logger, nil)
		ended := func(err *apierror.Error) { observer.Ended(call.New(call.GRPC, ""), err) }
		lines := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if got := strings.Count(out.String(), "\n"); got != want {
				t.Errorf("%s: %d lines, want %d", when, got, want)
			}
		}
		ended(nil)
		ended(nil)
		lines("at once", 0)
		time.Sleep(100 * time.Millisecond)
		lines("in time", 2)
		ended(nil)
		log.Info("stopping")
		lines("before another line", 4)
		ended(&apierror.Error{Code: codes.Internal, Reason: apierror.Internal, Message: "internal error"})
		lines("an error", 5)
		ended(nil)
		log.End()
		lines("at the end", 6)
	})
}

// lockedBuffer is a writer that is read while it is written to.
type lockedBuffer struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

func TestJSONLine(t *testing.T) {
	out := written(t, "json", "info", func(log *zap.Logger) {
		log.Info("hello", zap.Duration("duration", 1500*time.Millisecond), zap.String("text", "two\nlines"))
	})
	if got := strings.Count(out, "\n"); got != 1 || !strings.HasSuffix(out, "\n") {
		t.Fatalf("%d line ends in %q, want one at the end", got, out)
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(out), &line); err != nil {
		t.Fatal(err)
	}
	at, ok := line["time"].(string)
	if _, err := time.Parse(time.RFC3339Nano, at); !ok || err != nil {
		t.Errorf("the time is %v, want RFC 3339", line["time"])
	}
	delete(line, "time")
	want := map[string]any{"level": "info", "message": "hello", "duration": "1.5s", "text": "two\nlines"}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

func TestConsoleLine(t *testing.T) {
	out := written(t, "console", "info", func(log *zap.Logger) { log.Info("hello", zap.String("method", "Get")) })
	columns := strings.Split(strings.TrimSuffix(out, "\n"), "\t")
	if len(columns) != 4 {
		t.Fatalf("%q has %d columns, want time, level, message and fields", out, len(columns))
	}
	if diff := cmp.Diff([]string{"info", "hello", `{"method": "Get"}`}, columns[1:]); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
}

func TestLowestLevel(t *testing.T) {
	levels := []string{"debug", "info", "warn", "error"}
	for i, lowest := range levels {
		out := written(t, "json", lowest, func(log *zap.Logger) {
			log.Debug("debug")
			log.Info("info")
			log.Warn("warn")
			log.Error("error")
		})
		var got []string
		for line := range strings.Lines(out) {
			var l struct{ Level string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			got = append(got, l.Level)
		}
		if diff := cmp.Diff(levels[i:], got); diff != "" {
			t.Errorf("from %s on (-want +got):\n%s", lowest, diff)
		}
	}
}

// TestNothingIsSampled writes the same line often, which samplers thin out.
func TestNothingIsSampled(t *testing.T) {
	const n = 2000
	out := written(t, "json", "info", func(log *zap.Logger) {
		for range n {
			log.Info("call")
		}
	})
	if got := strings.Count(out, "\n"); got != n {
		t.Errorf("%d of %d lines were written", got, n)
	}
}

func TestWrongLogSettings(t *testing.T) {
	tests := map[string]struct{ format, level, names string }{
		"format": {"xml", "info", `"xml"`},
		"level":  {"json", "loud", `"loud"`},
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		tt := tests[name]
		log, err := telemetry.NewLog(&bytes.Buffer{}, tt.format, tt.level)
		if err == nil || log != nil {
			t.Errorf("%s: a logger was made", name)
			continue
		}
		if !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%s: the error %q does not name %s", name, err, tt.names)
		}
	}
}
