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

// Access lines wait for each other in memory, for so long and as much at most. A process that is killed or crashes loses
// those, and others that are not written yet; the audit log is written through.
const (
	accessDelay  = 100 * time.Millisecond
	accessBuffer = 64 << 10
)

// endLimit bounds how long the end of a log waits for whoever reads it.
const endLimit = 500 * time.Millisecond

// accessName is the name of the logger whose lines may wait. It is not written.
const accessName = "access"

// Log is a logger that has nobody wait for whoever reads it.
type Log struct {
	*zap.Logger
	Lowest zap.AtomicLevel // may be changed while lines are written

	lines *zapcore.BufferedWriteSyncer
	sink  *sink
}

// NewLog returns a log that writes to w, one line each, from a goroutine of its own. format is "json" or "console", level a
// zap level. Nothing is sampled: an access line that is missing is missed when it matters. Lines are lost when w fails, or
// when 8 MB wait for it; the log says so when it can be written again.
func NewLog(w io.Writer, format, level string) (*Log, error) {
	lowest, err := zap.ParseAtomicLevel(level)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
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
		return nil, fmt.Errorf("telemetry: no log format %q", format)
	}
	l := &Log{Lowest: lowest, sink: newSink(w)}
	l.lines = &zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(l.sink), Size: accessBuffer, FlushInterval: accessDelay}
	l.Logger = zap.New(prompt{zapcore.NewCore(encoder, l.lines, lowest)})
	l.sink.onDrop = func(lines uint64) {
		l.Warn("lines of this log are lost", zap.Uint64("lines", lines))
	}
	go l.sink.run()
	return l, nil
}

// Dropped is how many lines are lost.
func (l *Log) Dropped() uint64 { return l.sink.dropped.Load() }

// End has what still waits written, for half a second at most. What is not written by then, and what comes later, is lost.
func (l *Log) End() {
	_ = l.lines.Stop() // to a sink, which never fails
	l.sink.close(endLimit)
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
