// Package telemetry is what leaves the process for its operators: log lines, metrics and spans. It is handed facts about
// calls, never messages, so that no payload can pass through it.
//
// It knows zap, Prometheus, OpenTelemetry and the record of a call. It knows no service, and of transports only what the
// semantic conventions call their parts.
package telemetry

import (
	"fmt"
	"io"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger returns a logger that writes to w, one line each, and its lowest level, which may be changed while lines are
// written. format is "json" or "console", level a zap level. Nothing is sampled: an access line that is missing is missed
// when it matters.
func NewLogger(w io.Writer, format, level string) (*zap.Logger, zap.AtomicLevel, error) {
	lowest, err := zap.ParseAtomicLevel(level)
	if err != nil {
		return nil, lowest, fmt.Errorf("telemetry: %w", err)
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.MessageKey = "time", "message"
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	var encoder zapcore.Encoder
	switch format {
	case "json":
		encoder = zapcore.NewJSONEncoder(encoding)
	case "console":
		encoder = zapcore.NewConsoleEncoder(encoding)
	default:
		return nil, lowest, fmt.Errorf("telemetry: no log format %q", format)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), lowest)), lowest, nil
}

// firsts remembers which of a bounded number of things have been seen, to say each of them once.
type firsts struct {
	mu   sync.Mutex
	seen map[string]struct{}
}

// maxFirsts bounds firsts. Names that an upstream invents cannot fill the memory or the log.
const maxFirsts = 256

func (f *firsts) first(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.seen[name]; ok || len(f.seen) >= maxFirsts {
		return false
	}
	if f.seen == nil {
		f.seen = make(map[string]struct{})
	}
	f.seen[name] = struct{}{}
	return true
}
