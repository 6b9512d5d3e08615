package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/telemetry"
)

// traced returns an observer that makes spans, and what ends the making and returns them.
func traced(t *testing.T, propagators ...string) (*telemetry.Observer, func() tracetest.SpanStubs) {
	t.Helper()
	kept := &keeper{}
	o, _ := observed()
	tracing, err := telemetry.NewTracing(kept, telemetry.TraceSettings{Propagators: propagators, Version: "v1"}, func(class string) {
		t.Errorf("an export failed: %s", class)
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Trace(tracing)
	return o, func() tracetest.SpanStubs {
		if err := tracing.Close(t.Context()); err != nil {
			t.Error(err)
		}
		return tracetest.SpanStubsFromReadOnlySpans(kept.spans)
	}
}

// keeper is an exporter that keeps spans beyond its shutdown.
type keeper struct {
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan
}

func (k *keeper) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spans = append(k.spans, spans...)
	return nil
}

func (k *keeper) Shutdown(context.Context) error { return nil }

// attributesOf are a span's, as text.
func attributesOf(s tracetest.SpanStub) map[string]string {
	out := make(map[string]string)
	for _, a := range s.Attributes {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

func TestSpanOfAnRPC(t *testing.T) {
	for name, test := range map[string]struct {
		outcome call.Outcome
		err     *apierror.Error
		want    map[string]string
		status  string
	}{
		"done": {call.Done, nil, map[string]string{"rpc.response.status_code": "OK", "recoverycodes.outcome": "done"}, "Unset"},
		"the caller's fault": {
			call.Refused, apierror.Invalid(apierror.Violation{Field: "member_id", Description: "is required"}),
			map[string]string{
				"rpc.response.status_code": "INVALID_ARGUMENT", "recoverycodes.outcome": "refused", "recoverycodes.reason": "INVALID_REQUEST",
			}, "Unset",
		},
		"unknown": {
			call.Unknown, &apierror.Error{Code: codes.Unknown, Reason: apierror.OutcomeUnknown, Message: "no verdict"},
			map[string]string{
				"rpc.response.status_code": "UNKNOWN", "recoverycodes.outcome": "unknown", "recoverycodes.reason": "OUTCOME_UNKNOWN",
				"error.type": "UNKNOWN",
			}, "Error",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, spans := traced(t, "tracecontext")
			r := record(call.GRPC, service+"Recover", func(r *call.Call) { r.Caller, r.Outcome = "web", test.outcome })
			o.ArrivedRPC(t.Context(), r, propagation.MapCarrier{})
			o.Ending(r, test.err) // the span does not wait for the report
			got := spans()
			if len(got) != 1 {
				t.Fatalf("%d spans, want 1", len(got))
			}
			test.want["rpc.system.name"], test.want["rpc.method"] = "grpc", service[1:]+"Recover"
			test.want["recoverycodes.caller"] = "web"
			if diff := cmp.Diff(test.want, attributesOf(got[0])); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
			if got[0].Name != service[1:]+"Recover" || got[0].SpanKind.String() != "server" || got[0].Status.Code.String() != test.status ||
				!got[0].StartTime.Equal(r.Start) || got[0].Status.Description != "" {
				t.Errorf("%q %v %v from %v", got[0].Name, got[0].SpanKind, got[0].Status, got[0].StartTime)
			}
		})
	}
}

func TestSpanOfARequest(t *testing.T) {
	for name, test := range map[string]struct {
		method, route string
		status        int
		spanName      string
		want          map[string]string
	}{
		"a route": {"POST", "/a/{b}", 200, "POST /a/{b}", map[string]string{
			"http.request.method": "POST", "http.route": "/a/{b}", "http.response.status_code": "200", "url.scheme": "https"}},
		"none": {"GET", "", 404, "GET", map[string]string{
			"http.request.method": "GET", "http.response.status_code": "404", "url.scheme": "https"}},
		"an invented method": {"SECRET", "", 405, "_OTHER", map[string]string{
			"http.request.method": "_OTHER", "http.response.status_code": "405", "url.scheme": "https"}},
		"failed": {"GET", "/a", 503, "GET /a", map[string]string{
			"http.request.method": "GET", "http.route": "/a", "http.response.status_code": "503", "url.scheme": "https", "error.type": "503"}},
	} {
		t.Run(name, func(t *testing.T) {
			o, spans := traced(t)
			r := record(call.REST, service+"Get", nil)
			o.ArrivedHTTP(t.Context(), r, propagation.MapCarrier{}, test.method, test.route, true)
			o.Ended(r, nil)
			o.AnsweredHTTP(r, test.status)
			got := spans()
			if len(got) != 1 || got[0].Name != test.spanName {
				t.Fatalf("%v", got)
			}
			if diff := cmp.Diff(test.want, attributesOf(got[0])); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestJoiningTraces has a caller tell of its trace in each of the forms.
func TestJoiningTraces(t *testing.T) {
	const trace, other, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7"
	w3c := map[string]string{"traceparent": "00-" + trace + "-" + parent + "-01"}
	single := map[string]string{"b3": trace + "-" + parent + "-1"}
	multi := map[string]string{"x-b3-traceid": trace, "x-b3-spanid": parent, "x-b3-sampled": "1"}
	both := map[string]string{"traceparent": w3c["traceparent"], "b3": other + "-" + parent + "-1"}
	all := []string{"b3", "tracecontext", "b3multi"}
	for name, test := range map[string]struct {
		header map[string]string
		known  []string
		joined bool
	}{
		"W3C": {w3c, all, true}, "B3": {single, all, true}, "B3 in many headers": {multi, all, true}, "the W3C's wins": {both, all, true},
		"none": {nil, all, false}, "W3C alone is known": {single, all[1:2], false}, "B3 alone is known": {w3c, all[:1], false},
		"nothing is known": {both, nil, false}, "malformed": {map[string]string{"traceparent": "00-x-y-01"}, all, false},
	} {
		t.Run(name, func(t *testing.T) {
			o, spans := traced(t, test.known...)
			r := record(call.GRPC, service+"Get", nil)
			ctx := o.ArrivedRPC(t.Context(), r, propagation.MapCarrier(test.header))
			o.Requesting(ctx, "test.stytch.com", 443, "GET", "/a/{b}")(503, "")
			o.Ended(r, nil)
			got := spans()
			if len(got) != 2 {
				t.Fatalf("%d spans", len(got))
			}
			upstream, door := got[0], got[1]
			if joined := door.SpanContext.TraceID().String() == trace; joined != test.joined || joined != (door.Parent.SpanID().String() == parent) {
				t.Errorf("trace %s below %s", door.SpanContext.TraceID(), door.Parent.SpanID())
			}
			if upstream.Parent.SpanID() != door.SpanContext.SpanID() || upstream.SpanKind.String() != "client" {
				t.Errorf("the upstream's span is %v below %v", upstream.SpanKind, upstream.Parent)
			}
			want := map[string]string{
				"http.request.method": "GET", "url.template": "/a/{b}", "server.address": "test.stytch.com", "server.port": "443",
				"http.response.status_code": "503", "error.type": "503",
			}
			if diff := cmp.Diff(want, attributesOf(upstream)); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTraceIDsLeadFromLinesAndSeries follows a trace from the access line and, for who asks for OpenMetrics, the metrics.
func TestTraceIDsLeadFromLinesAndSeries(t *testing.T) {
	for name, test := range map[string]struct {
		flags    string
		exemplar bool
	}{"kept": {"01", true}, "not kept": {"00", false}} {
		t.Run(name, func(t *testing.T) {
			const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
			o, lines := observed()
			tracing, err := telemetry.NewTracing(&keeper{}, telemetry.TraceSettings{Propagators: []string{"tracecontext"}}, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			o.Trace(tracing)
			r := record(call.GRPC, service+"Get", func(r *call.Call) { r.Outcome, r.UpstreamStatus, r.UpstreamTime = call.Done, 200, time.Second })
			o.ArrivedRPC(t.Context(), r, propagation.MapCarrier{"traceparent": "00-" + trace + "-00f067aa0ba902b7-" + test.flags})
			o.Ended(r, nil)
			if got := lines.All()[0].ContextMap()["trace_id"]; got != trace {
				t.Errorf("the line says %v", got)
			}
			for accept, want := range map[string]bool{"application/openmetrics-text; version=1.0.0": test.exemplar, "text/plain": false} {
				w, req := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
				req.Header.Set("Accept", accept)
				o.Metrics().ServeHTTP(w, req)
				for _, series := range []string{"recoverycodes_calls_total{", "recoverycodes_outcomes_total{", "recoverycodes_upstream_duration_seconds_bucket{"} {
					found := false
					for line := range strings.Lines(w.Body.String()) {
						found = found || strings.HasPrefix(line, series) && strings.Contains(line, `# {trace_id="`+trace+`"}`)
					}
					if found != want {
						t.Errorf("%s: an exemplar of %s: %v, want %v", accept, series, found, want)
					}
				}
			}
			if err := tracing.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHealthHasNoSpan(t *testing.T) {
	o, spans := traced(t)
	r := record(call.GRPC, "/grpc.health.v1.Health/Check", nil)
	o.ArrivedRPC(t.Context(), r, propagation.MapCarrier{})
	o.Ended(r, nil)
	if got := spans(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// failing is an exporter whose errors show what nobody may see.
type failing struct{ err error }

func (f failing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return f.err }
func (f failing) Shutdown(context.Context) error                             { return nil }

func TestExportErrorsAreClassed(t *testing.T) {
	const marked = "https://user:hunter2@collector.internal"
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"refused connection": {&net.OpError{Op: "dial", Err: fmt.Errorf("%s: %w", marked, syscall.ECONNREFUSED)}, "connection refused"},
		"no such name":       {&net.DNSError{Err: marked, Name: marked}, "the collector's name does not resolve"},
		"no time":            {fmt.Errorf("%s: %w", marked, context.DeadlineExceeded), "no answer in time"},
		"a gRPC status":      {status.Error(codes.Unauthenticated, marked), "Unauthenticated"},
		"anything":           {errors.New(marked), "the collector refused them"},
	} {
		t.Run(name, func(t *testing.T) {
			var classes []string
			tracing, err := telemetry.NewTracing(failing{test.err}, telemetry.TraceSettings{}, func(class string) { classes = append(classes, class) })
			if err != nil {
				t.Fatal(err)
			}
			o, _ := observed()
			o.Trace(tracing)
			r := record(call.GRPC, service+"Get", nil)
			o.ArrivedRPC(t.Context(), r, propagation.MapCarrier{})
			o.Ended(r, nil)
			if err := tracing.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{test.want}, classes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTroubleIsLoggedSeldom reports the same trouble often: every time counts, one line is written.
func TestTroubleIsLoggedSeldom(t *testing.T) {
	o, lines := observed()
	for range 100 {
		o.ExportFailed("no answer in time")
		o.AcceptFailed("grpc", "too many open files")
	}
	if lines.Len() != 2 {
		t.Errorf("%d lines, want 2: %v", lines.Len(), lines.All())
	}
	got := series(t, o)
	if got["recoverycodes_trace_export_failures_total"] != "100" || got[`recoverycodes_accept_failures_total{door="grpc"}`] != "100" {
		t.Errorf("%v", got)
	}
}

// BenchmarkWithoutSpans is what tracing costs a call when there is none.
func BenchmarkWithoutSpans(b *testing.B) {
	o := telemetry.NewObserver(zap.NewNop(), nil)
	r := call.New(call.REST, "id-1")
	r.Method = service + "Get"
	header := propagation.HeaderCarrier(http.Header{})
	b.ReportAllocs()
	for b.Loop() {
		withoutSpans(o, r, header)
	}
}

func withoutSpans(o *telemetry.Observer, r *call.Call, header propagation.HeaderCarrier) {
	ctx := o.ArrivedHTTP(context.Background(), r, header, "GET", "/a/{b}", false)
	if o.Requesting(ctx, "host", 443, "GET", "/a/{b}") != nil {
		panic("a span is made")
	}
	o.AnsweredHTTP(r, 200)
}

func TestWithoutSpansNothingIsAllocated(t *testing.T) {
	o := telemetry.NewObserver(zap.NewNop(), nil)
	r := call.New(call.REST, "id-1")
	header := propagation.HeaderCarrier(http.Header{})
	if n := testing.AllocsPerRun(100, func() { withoutSpans(o, r, header) }); n != 0 {
		t.Errorf("%v allocations for a call", n)
	}
}
