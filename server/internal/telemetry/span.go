package telemetry

import (
	"context"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
)

// What spans say beside the semantic conventions. None of it names a person: callers are services.
const (
	outcomeKey = attribute.Key("recoverycodes.outcome")
	callerKey  = attribute.Key("recoverycodes.caller")
	reasonKey  = attribute.Key("recoverycodes.reason")
	faultKey   = attribute.Key("recoverycodes.upstream_fault")
)

// Trace has spans made of calls. Call it before the first call.
func (o *Observer) Trace(t *Tracing) { o.tracing = t }

// Traces reports whether spans are made. Without them the functions below do nothing, but what they are given has a price.
func (o *Observer) Traces() bool { return o.tracing != nil }

// ArrivedRPC begins the span of a gRPC call, within the trace that its metadata tells of.
func (o *Observer) ArrivedRPC(ctx context.Context, record *call.Call, metadata propagation.TextMapCarrier) context.Context {
	if o.tracing == nil || !OfService(record.Method) {
		return ctx // health checks are no part of anybody's trace
	}
	name := record.Method[1:]
	return o.tracing.begin(ctx, record, metadata, name, semconv.RPCSystemNameGRPC, semconv.RPCMethod(name))
}

// ArrivedHTTP begins the span of a REST request. route is its path with the names of ids in the place of ids, empty where
// there is none: the path itself is not told. AnsweredHTTP ends the span.
func (o *Observer) ArrivedHTTP(ctx context.Context, record *call.Call, header propagation.TextMapCarrier, method, route string, secure bool) context.Context {
	if o.tracing == nil {
		return ctx
	}
	name, scheme := methodOf(method), "http"
	if secure {
		scheme = "https"
	}
	attributes := []attribute.KeyValue{semconv.HTTPRequestMethodKey.String(name), semconv.URLScheme(scheme)}
	if route != "" {
		attributes = append(attributes, semconv.HTTPRoute(route))
		name += " " + route
	}
	return o.tracing.begin(ctx, record, header, name, attributes...)
}

// methodOf is an HTTP method that may stand in a span; callers invent others.
func methodOf(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE":
		return method
	default:
		return "_OTHER"
	}
}

func (t *Tracing) begin(ctx context.Context, record *call.Call, carrier propagation.TextMapCarrier, name string, attributes ...attribute.KeyValue) context.Context {
	ctx = t.inbound.Extract(ctx, carrier)
	ctx, record.Span = t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(record.Start),
		trace.WithAttributes(attributes...))
	return ctx
}

// concluded writes into a call's span what became of the call, and ends it where the door has no more to say.
func concluded(record *call.Call, err *apierror.Error) {
	span := record.Span
	if span == nil {
		return
	}
	if record.Caller != "" {
		span.SetAttributes(callerKey.String(record.Caller))
	}
	if record.Outcome != "" {
		span.SetAttributes(outcomeKey.String(string(record.Outcome)))
	}
	answer := codes.OK
	if err != nil {
		answer = err.Code
		span.SetAttributes(reasonKey.String(err.Reason))
	}
	if record.Door != call.GRPC {
		return
	}
	name := code.Code(answer).String()
	span.SetAttributes(semconv.RPCResponseStatusCode(name))
	switch answer {
	case codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss:
		failed(span, name)
	default: // as the conventions have it, of these the caller is the cause
	}
	span.End()
}

// AnsweredHTTP ends the span of a REST request.
func (o *Observer) AnsweredHTTP(record *call.Call, status int) {
	span := record.Span
	if span == nil {
		return
	}
	span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	if status >= 500 {
		failed(span, strconv.Itoa(status))
	}
	span.End()
}

// failed marks a span as that of a failure of a type from a small set.
func failed(span trace.Span, kind string) {
	span.SetStatus(otelcodes.Error, "")
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
}

// Requesting begins the span of a request to the upstream at host and port, and returns what ends it, by the HTTP status, 0 when none came
// back, and the class of what cut the exchange short. Nothing of it goes along with the request. Without tracing it
// returns nil.
func (o *Observer) Requesting(ctx context.Context, host string, port int, method, route string) func(status int, fault string) {
	if o.tracing == nil {
		return nil
	}
	_, span := o.tracing.tracer.Start(ctx, method+" "+route, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		semconv.HTTPRequestMethodKey.String(method), semconv.URLTemplate(route), semconv.ServerAddress(host), semconv.ServerPort(port)))
	return func(status int, fault string) {
		if status != 0 {
			span.SetAttributes(semconv.HTTPResponseStatusCode(status))
		}
		switch {
		case fault != "":
			span.SetAttributes(faultKey.String(fault))
			failed(span, fault)
		case status >= 400:
			failed(span, strconv.Itoa(status))
		}
		span.End()
	}
}

// exemplar leads from a series to a trace that is kept; nil without one.
func exemplar(record *call.Call) prometheus.Labels {
	if record.Span == nil || !record.Span.SpanContext().IsSampled() {
		return nil
	}
	return prometheus.Labels{"trace_id": record.Span.SpanContext().TraceID().String()}
}

func count(c prometheus.Counter, e prometheus.Labels) {
	if adder, ok := c.(prometheus.ExemplarAdder); ok && e != nil {
		adder.AddWithExemplar(1, e)
		return
	}
	c.Inc()
}

func observe(h prometheus.Observer, seconds float64, e prometheus.Labels) {
	if observer, ok := h.(prometheus.ExemplarObserver); ok && e != nil {
		observer.ObserveWithExemplar(seconds, e)
		return
	}
	h.Observe(seconds)
}
