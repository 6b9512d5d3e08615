package telemetry

import (
	"time"

	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
)

// accessLine is what is logged of a call, and nothing else of it, since it may wait. It writes itself into the line: a list
// of fields would take a kilobyte for each call.
type accessLine struct {
	method, code, reason string // there is no reason when the call was answered
	door                 call.Door
	took                 time.Duration

	requestID, traceID, caller string
	outcome                    call.Outcome
	upstreamTime               time.Duration // 0 when nothing was asked of the upstream
	upstreamRequestID          string
	upstreamStatus             int
	upstreamFault              string
	replayed, gaveUp           bool
	retries                    int
}

func accessLineOf(record *call.Call, err *apierror.Error, method string, code codes.Code, took time.Duration) *accessLine {
	l := &accessLine{
		method: method, code: code.String(), door: record.Door, took: took,
		requestID: record.RequestID, caller: record.Caller, outcome: record.Outcome,
		upstreamTime: record.UpstreamTime, upstreamRequestID: record.UpstreamRequestID,
		upstreamStatus: record.UpstreamStatus, upstreamFault: record.UpstreamFault,
		replayed: record.Replayed, gaveUp: record.GaveUp, retries: record.Retries,
	}
	if err != nil {
		l.reason = err.Reason
	}
	if record.Span != nil && record.Span.SpanContext().IsValid() {
		l.traceID = record.Span.SpanContext().TraceID().String()
	}
	return l
}

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (l *accessLine) MarshalLogObject(line zapcore.ObjectEncoder) error {
	text := func(name, value string) {
		if value != "" {
			line.AddString(name, value)
		}
	}
	line.AddString("method", l.method)
	line.AddString("door", string(l.door))
	line.AddString("code", l.code)
	line.AddDuration("duration", l.took)
	line.AddString("request_id", l.requestID)
	text("trace_id", l.traceID)
	text("caller", l.caller)
	text("outcome", string(l.outcome))
	text("reason", l.reason)
	if l.upstreamTime > 0 {
		line.AddString("stytch_request_id", l.upstreamRequestID)
		line.AddInt64("upstream_status", int64(l.upstreamStatus))
		line.AddDuration("upstream_duration", l.upstreamTime)
	}
	if l.replayed {
		line.AddBool("replayed", true)
	}
	if l.gaveUp {
		line.AddBool("gave_up_waiting", true)
	}
	if l.retries > 0 {
		line.AddInt64("retries", int64(l.retries))
	}
	text("upstream_fault", l.upstreamFault)
	return nil
}
