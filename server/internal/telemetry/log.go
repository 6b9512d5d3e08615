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
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Access lines wait for each other in memory, for so long and as much at most. A process that is killed loses those; the
// audit log is written through.
const (
	accessDelay  = 100 * time.Millisecond
	accessBuffer = 64 << 10
)

// accessName is the name of the logger whose lines may wait. It is not written.
const accessName = "access"

// NewLogger returns a logger that writes to w, one line each, and its lowest level, which may be changed while lines are
// written. format is "json" or "console", level a zap level. Nothing is sampled: an access line that is missing is missed
// when it matters. end writes what still waits; afterwards the logger must not be used.
func NewLogger(w io.Writer, format, level string) (log *zap.Logger, lowest zap.AtomicLevel, end func(), err error) {
	lowest, err = zap.ParseAtomicLevel(level)
	if err != nil {
		return nil, lowest, nil, fmt.Errorf("telemetry: %w", err)
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.MessageKey, encoding.NameKey = "time", "message", zapcore.OmitKey
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	var encoder zapcore.Encoder
	switch format {
	case "json":
		encoder = zapcore.NewJSONEncoder(encoding)
	case "console":
		encoder = zapcore.NewConsoleEncoder(encoding)
	default:
		return nil, lowest, nil, fmt.Errorf("telemetry: no log format %q", format)
	}
	lines := &zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(struct{ io.Writer }{w}), // to flush is not to sync a disk
		Size: accessBuffer, FlushInterval: accessDelay}
	core := prompt{zapcore.NewCore(encoder, lines, lowest)}
	return zap.New(core), lowest, func() { _ = lines.Stop() }, nil // whoever cannot be written to cannot be told
}

// prompt is a core that lets access lines wait in its buffer and no other: those are few, and somebody may wait for them.
type prompt struct{ zapcore.Core }

// With implements zapcore.Core.
func (p prompt) With(fields []zap.Field) zapcore.Core { return prompt{p.Core.With(fields)} }

// Check implements zapcore.Core.
func (p prompt) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if p.Enabled(entry.Level) {
		return checked.AddCore(entry, p)
	}
	return checked
}

// Write implements zapcore.Core.
func (p prompt) Write(entry zapcore.Entry, fields []zap.Field) error {
	err := p.Core.Write(entry, fields)
	if err == nil && (entry.LoggerName != accessName || entry.Level >= zap.ErrorLevel) {
		err = p.Sync()
	}
	return err
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
