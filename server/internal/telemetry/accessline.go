package telemetry

import (
	"time"

	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
)

// accessLine is what is logged of a call. It writes itself into the line: a list of fields would take a kilobyte for
// each call.
type accessLine struct {
	record *call.Call
	err    *apierror.Error // nil when the call was answered
	method string
	code   codes.Code
	took   time.Duration
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l *accessLine) MarshalLogObject(line zapcore.ObjectEncoder) error {
	record := l.record
	line.AddString("method", l.method)
	line.AddString("door", string(record.Door))
	line.AddString("code", l.code.String())
	line.AddDuration("duration", l.took)
	line.AddString("request_id", record.RequestID)
	if record.Span != nil && record.Span.SpanContext().IsValid() {
		line.AddString("trace_id", record.Span.SpanContext().TraceID().String())
	}
	if record.Caller != "" {
		line.AddString("caller", record.Caller)
	}
	if record.Outcome != "" {
		line.AddString("outcome", string(record.Outcome))
	}
	if l.err != nil {
		line.AddString("reason", l.err.Reason)
	}
	if record.UpstreamTime > 0 {
		line.AddString("stytch_request_id", record.UpstreamRequestID)
		line.AddInt64("upstream_status", int64(record.UpstreamStatus))
		line.AddDuration("upstream_duration", record.UpstreamTime)
	}
	if record.Replayed {
		line.AddBool("replayed", true)
	}
	if record.GaveUp {
		line.AddBool("gave_up_waiting", true)
	}
	if record.Retries > 0 {
		line.AddInt64("retries", int64(record.Retries))
	}
	if record.UpstreamFault != "" {
		line.AddString("upstream_fault", record.UpstreamFault)
	}
	return nil
}
