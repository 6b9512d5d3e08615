package telemetry_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/audit"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/telemetry"
)

const service = "/stytch.b2b.recoverycodes.v1.RecoveryCodesService/"

// observed returns an Observer and the lines it writes.
func observed() (*telemetry.Observer, *observer.ObservedLogs) {
	core, lines := observer.New(zap.DebugLevel)
	return telemetry.NewObserver(zap.New(core), nil), lines
}

// series returns the server's own series that are exposed, by name and labels.
func series(t *testing.T, o *telemetry.Observer) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	o.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("the metrics answered %d", w.Code)
	}
	out := make(map[string]string)
	for line := range strings.Lines(w.Body.String()) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && strings.HasPrefix(name, "recoverycodes_") {
			out[name+"}"] = value
		} else if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, "recoverycodes_") {
			out[name] = value
		}
	}
	return out
}

// record is a call that came in a second ago.
func record(door call.Door, method string, more func(*call.Call)) *call.Call {
	r := call.New(door, "request-id-1")
	r.Method = method
	r.Start = time.Now().Add(-time.Second)
	if more != nil {
		more(r)
	}
	return r
}

func TestAccessLine(t *testing.T) {
	refusal := &apierror.Error{Code: codes.NotFound, Domain: apierror.StytchDomain, Reason: "MEMBER_NOT_FOUND", Message: "No such member."}
	tests := []struct {
		name   string
		record *call.Call
		err    *apierror.Error
		want   map[string]any // but for the duration
	}{
		{
			name: "delivered",
			record: record(call.REST, service+"Recover", func(r *call.Call) {
				r.Outcome, r.UpstreamStatus, r.UpstreamRequestID = call.Done, 200, "request-id-test-1"
				r.UpstreamTime, r.Answer = 250*time.Millisecond, []byte(`{"session_token":"secret"}`)
			}),
			want: map[string]any{
				"method": "Recover", "door": "rest", "code": "OK", "request_id": "request-id-1", "outcome": "done",
				"stytch_request_id": "request-id-test-1", "upstream_status": int64(200), "upstream_duration": 250 * time.Millisecond,
			},
		},
		{
			name: "refused upstream",
			record: record(call.GRPC, service+"Get", func(r *call.Call) {
				r.Outcome, r.UpstreamStatus, r.UpstreamRequestID, r.UpstreamTime = call.Refused, 404, "request-id-test-2", time.Second
			}),
			err: refusal,
			want: map[string]any{
				"method": "Get", "door": "grpc", "code": "NotFound", "request_id": "request-id-1", "outcome": "refused",
				"reason": "MEMBER_NOT_FOUND", "stytch_request_id": "request-id-test-2", "upstream_status": int64(404),
				"upstream_duration": time.Second,
			},
		},
		{
			name: "cut short",
			record: record(call.GRPC, service+"Rotate", func(r *call.Call) {
				r.Outcome, r.UpstreamFault, r.UpstreamTime = call.Unknown, "timeout", 31*time.Second
			}),
			err: &apierror.Error{Code: codes.Unknown, Reason: apierror.OutcomeUnknown, Message: "no verdict"},
			want: map[string]any{
				"method": "Rotate", "door": "grpc", "code": "Unknown", "request_id": "request-id-1", "outcome": "unknown",
				"reason": "OUTCOME_UNKNOWN", "stytch_request_id": "", "upstream_status": int64(0),
				"upstream_duration": 31 * time.Second, "upstream_fault": "timeout",
			},
		},
		{
			name:   "refused here",
			record: record(call.REST, service+"Get", func(r *call.Call) { r.Outcome = call.Refused }),
			err:    apierror.Invalid(apierror.Violation{Field: "member_id", Description: "is required"}),
			want: map[string]any{
				"method": "Get", "door": "rest", "code": "InvalidArgument", "request_id": "request-id-1", "outcome": "refused",
				"reason": "INVALID_REQUEST",
			},
		},
		{
			name:   "no route",
			record: record(call.REST, "", nil),
			err:    &apierror.Error{Code: codes.NotFound, Reason: apierror.RouteNotFound, Message: "no such path"},
			want: map[string]any{
				"method": "none", "door": "rest", "code": "NotFound", "request_id": "request-id-1", "reason": "ROUTE_NOT_FOUND",
			},
		},
		{
			name:   "another service",
			record: record(call.GRPC, "/grpc.health.v1.Health/Check", nil),
			want:   map[string]any{"method": "grpc.health.v1.Health/Check", "door": "grpc", "code": "OK", "request_id": "request-id-1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, lines := observed()
			o.Ended(tt.record, tt.err)
			if lines.Len() != 1 {
				t.Fatalf("%d lines, want 1", lines.Len())
			}
			line := lines.All()[0]
			got := line.ContextMap()
			took, _ := got["duration"].(time.Duration)
			if took < time.Second || took > time.Minute {
				t.Errorf("the duration is %v, want the second since the call's arrival", got["duration"])
			}
			delete(got, "duration")
			if diff := cmp.Diff(tt.want, got); diff != "" || line.Message != "call" {
				t.Errorf("line %q (-want +got):\n%s", line.Message, diff)
			}
		})
	}
}

func TestLevels(t *testing.T) {
	internal := &apierror.Error{Code: codes.Internal, Reason: apierror.Internal, Message: "internal error"}
	refusal := &apierror.Error{Code: codes.InvalidArgument, Reason: apierror.InvalidRequest, Message: "member_id: is required"}
	tests := []struct {
		name    string
		method  string
		outcome call.Outcome
		err     *apierror.Error
		want    zapcore.Level
	}{
		{"done", service + "Recover", call.Done, nil, zap.InfoLevel},
		{"refused", service + "Recover", call.Refused, refusal, zap.InfoLevel},
		{"not sent", service + "Recover", call.NotSent, refusal, zap.InfoLevel},
		{"a Get that failed", service + "Get", call.Failed, refusal, zap.InfoLevel},
		{"unknown", service + "Recover", call.Unknown, refusal, zap.ErrorLevel},
		{"unknown, whatever was answered", service + "Rotate", call.Unknown, nil, zap.ErrorLevel},
		{"answer lost", service + "Rotate", call.Lost, refusal, zap.ErrorLevel},
		{"internal", service + "Get", "", internal, zap.ErrorLevel},
		{"no route", "", "", refusal, zap.InfoLevel},
		{"health", "/grpc.health.v1.Health/Check", "", nil, zap.DebugLevel},
		{"reflection", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "", refusal, zap.DebugLevel},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, lines := observed()
			o.Ended(record(call.GRPC, tt.method, func(r *call.Call) { r.Outcome = tt.outcome }), tt.err)
			if got := lines.All(); len(got) != 1 || got[0].Level != tt.want {
				t.Errorf("got %v, want one line at %v", got, tt.want)
			}
		})
	}
}

// TestWhoGaveUpWaitingIsNoOutcome: the call that was waited for has one, and nobody is to be woken for both.
func TestWhoGaveUpWaitingIsNoOutcome(t *testing.T) {
	o, lines := observed()
	o.Ended(record(call.REST, service+"Rotate", func(r *call.Call) { r.Outcome, r.GaveUp = call.Unknown, true }),
		&apierror.Error{Code: codes.Unknown, Reason: apierror.OutcomeUnknown, Message: "no verdict"})
	for name := range series(t, o) {
		if strings.HasPrefix(name, "recoverycodes_outcomes_total") {
			t.Errorf("counted as %s", name)
		}
	}
	got := lines.All()
	if len(got) != 1 || got[0].Level != zap.InfoLevel || got[0].ContextMap()["gave_up_waiting"] != true || got[0].ContextMap()["outcome"] != "unknown" {
		t.Errorf("%+v", got)
	}
}

// TestEndedOnce ends a call twice, as the corridor and then the REST door do.
func TestEndedOnce(t *testing.T) {
	o, lines := observed()
	r := record(call.REST, service+"Get", func(r *call.Call) { r.Outcome, r.UpstreamTime, r.UpstreamStatus = call.Done, time.Second, 200 })
	o.Ended(r, nil)
	o.Ended(r, &apierror.Error{Code: codes.Internal, Reason: apierror.Internal, Message: "internal error"})
	if lines.Len() != 1 {
		t.Errorf("%d lines, want 1", lines.Len())
	}
	got := series(t, o)
	for _, name := range []string{
		`recoverycodes_calls_total{caller="",code="OK",door="rest",method="Get"}`,
		`recoverycodes_call_duration_seconds_count{door="rest",method="Get"}`,
		`recoverycodes_outcomes_total{method="Get",outcome="done"}`,
		`recoverycodes_upstream_duration_seconds_count{method="Get",status="200"}`,
	} {
		if got[name] != "1" {
			t.Errorf("%s is %q, want 1", name, got[name])
		}
	}
	if name := `recoverycodes_calls_total{caller="",code="Internal",door="rest",method="Get"}`; got[name] != "" {
		t.Errorf("%s is %s, want no such series", name, got[name])
	}
}

// TestEnding has an hour between the end of a call and its report, which tells of the end.
func TestEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, lines := observer.New(zap.DebugLevel)
		o := telemetry.NewObserver(zap.New(core), nil)
		r := record(call.REST, service+"Get", func(r *call.Call) { r.Outcome = call.Unknown })
		ended := time.Now()

		report := o.Ending(r, nil)
		if again := o.Ending(r, nil); again != nil {
			t.Error("a call has ended twice")
		}
		time.Sleep(time.Hour)
		const calls, seconds = `recoverycodes_calls_total{caller="",code="OK",door="rest",method="Get"}`,
			`recoverycodes_call_duration_seconds_sum{door="rest",method="Get"}`
		if got := series(t, o)[calls]; got != "" || lines.Len() != 0 {
			t.Errorf("before the report %s is %q, and there are %d lines", calls, got, lines.Len())
		}

		report()
		if got := series(t, o); got[calls] != "1" || got[seconds] != "1" {
			t.Errorf("%s is %q and %s %q, want 1 and 1", calls, got[calls], seconds, got[seconds])
		}
		got := lines.All()
		if len(got) != 1 || !got[0].Time.Equal(ended) || got[0].ContextMap()["duration"] != time.Second {
			t.Errorf("%+v; want one line, of %v and of a call that took a second", got, ended)
		}
		if u := o.Unsettled(); len(u) != 1 || !u[0].Ended.Equal(ended) {
			t.Errorf("%+v; want one, that ended at %v", u, ended)
		}
	})
}

// TestReportThatFails has a report panic, which a name that is no UTF-8 makes of a metric. It is a defect that is told, the call
// is in the audit log, and others are reported.
func TestReportThatFails(t *testing.T) {
	var text bytes.Buffer
	audited, err := audit.Open(audit.Stdout, &text, audit.Options{Places: 1})
	if err != nil {
		t.Fatal(err)
	}
	core, lines := observer.New(zap.DebugLevel)
	o := telemetry.NewObserver(zap.New(core), audited)
	place, err := audited.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	o.Ended(record(call.GRPC, service+"Rotate", func(r *call.Call) { r.Caller, r.Place = "\xff", place }), nil)
	if got := series(t, o)["recoverycodes_panics_total"]; got != "1" || lines.FilterMessage("panic").Len() != 1 {
		t.Errorf("%s panics and %d lines of one, want 1 and 1", got, lines.FilterMessage("panic").Len())
	}
	o.Ended(record(call.GRPC, service+"Rotate", nil), nil)
	if got := lines.FilterMessage("call").Len(); got != 1 {
		t.Errorf("%d access lines, want that of the second call", got)
	}
	if err := audited.Close(t.Context()); err != nil || strings.Count(text.String(), "Rotate") != 2 {
		t.Errorf("the audit log is %s, %v; want two lines", text.String(), err)
	}
}

func TestMetrics(t *testing.T) {
	o, _ := observed()
	delivered := func(r *call.Call) { r.Outcome, r.UpstreamStatus, r.UpstreamTime = call.Done, 200, 250*time.Millisecond }
	o.Ended(record(call.GRPC, service+"Recover", delivered), nil)
	o.Ended(record(call.GRPC, service+"Recover", delivered), nil)
	o.Ended(record(call.REST, service+"Recover", delivered), nil)
	o.Ended(record(call.GRPC, service+"Rotate", func(r *call.Call) { r.Outcome, r.UpstreamTime = call.Unknown, 31*time.Second }),
		&apierror.Error{Code: codes.Unknown, Reason: apierror.OutcomeUnknown, Message: "no verdict"})
	o.Ended(record(call.REST, "", nil), &apierror.Error{Code: codes.NotFound, Reason: apierror.RouteNotFound, Message: "no such path"})
	o.Panicked(record(call.GRPC, service+"Get", nil), nil)
	o.Drifted("Get", "member.new", "unknown")
	o.AuditDropped()
	o.Uncounted("alone")
	o.StoreRefused(errors.New("it is full"))
	o.StoreRefused(errors.New("it is full"))
	o.NotReloaded("policy", errors.New("line 1"))
	o.ExportFailed("no answer in time")
	o.AcceptFailed("rest", "too many open files")
	o.Ended(record(call.REST, service+"Get", nil), &apierror.Error{Code: codes.ResourceExhausted, Reason: apierror.NotSent, Limit: apierror.LimitRate})
	o.Ended(record(call.REST, service+"Get", nil), &apierror.Error{Code: codes.Internal, Reason: apierror.UpstreamCredentials})
	o.Build("v1", "go1", "abc")
	o.State("recoverycodes_light", "Which it is.", []string{"red", "green"}, func() string { return "green" })
	o.Gauge("recoverycodes_something", "It is read when it is asked for.", func() float64 { return 7 })

	want := map[string]string{
		`recoverycodes_calls_total{caller="",code="OK",door="grpc",method="Recover"}`:        "2",
		`recoverycodes_calls_total{caller="",code="OK",door="rest",method="Recover"}`:        "1",
		`recoverycodes_calls_total{caller="",code="Unknown",door="grpc",method="Rotate"}`:    "1",
		`recoverycodes_calls_total{caller="",code="NotFound",door="rest",method="none"}`:     "1",
		`recoverycodes_call_duration_seconds_count{door="grpc",method="Recover"}`:            "2",
		`recoverycodes_call_duration_seconds_count{door="rest",method="Recover"}`:            "1",
		`recoverycodes_call_duration_seconds_count{door="grpc",method="Rotate"}`:             "1",
		`recoverycodes_call_duration_seconds_count{door="rest",method="none"}`:               "1",
		`recoverycodes_outcomes_total{method="Recover",outcome="done"}`:                      "3",
		`recoverycodes_outcomes_total{method="Rotate",outcome="unknown"}`:                    "1",
		`recoverycodes_upstream_duration_seconds_count{method="Recover",status="200"}`:       "3",
		`recoverycodes_upstream_duration_seconds_sum{method="Recover",status="200"}`:         "0.75",
		`recoverycodes_upstream_duration_seconds_count{method="Rotate",status="0"}`:          "1",
		`recoverycodes_upstream_duration_seconds_sum{method="Rotate",status="0"}`:            "31",
		`recoverycodes_upstream_duration_seconds_bucket{method="Rotate",status="0",le="20"}`: "0",
		`recoverycodes_upstream_duration_seconds_bucket{method="Rotate",status="0",le="32"}`: "1",
		`recoverycodes_call_duration_seconds_bucket{door="grpc",method="Recover",le="0.5"}`:  "0",
		`recoverycodes_call_duration_seconds_bucket{door="grpc",method="Recover",le="+Inf"}`: "2",
		`recoverycodes_answer_drift_total{kind="unknown",method="Get"}`:                      "1",
		`recoverycodes_panics_total`:                                                             "1",
		`recoverycodes_audit_dropped_total`:                                                      "1",
		`recoverycodes_attempts_store_failures_total{consequence="alone"}`:                       "1",
		`recoverycodes_reload_failures_total{what="policy"}`:                                     "1",
		`recoverycodes_something`:                                                                "7",
		`recoverycodes_trace_export_failures_total`:                                              "1",
		`recoverycodes_accept_failures_total{door="rest"}`:                                       "1",
		`recoverycodes_limit_refusals_total{limit="rate",method="Get"}`:                          "1",
		`recoverycodes_upstream_credentials_refused_total`:                                       "1",
		`recoverycodes_build_info{goversion="go1",revision="abc",version="v1"}`:                  "1",
		`recoverycodes_light{state="green"}`:                                                     "1",
		`recoverycodes_light{state="red"}`:                                                       "0",
		`recoverycodes_calls_total{caller="",code="ResourceExhausted",door="rest",method="Get"}`: "1",
		`recoverycodes_calls_total{caller="",code="Internal",door="rest",method="Get"}`:          "1",
		`recoverycodes_keyed_calls_refused_total`:                                                "2",
	}
	got := series(t, o)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s is %q, want %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok && !strings.Contains(name, "_seconds_") {
			t.Errorf("unexpected: %s", name)
		}
	}
}

// TestMetricsOfTheProcess makes sure that what every dashboard asks of a Go process is there.
func TestMetricsOfTheProcess(t *testing.T) {
	o, _ := observed()
	w := httptest.NewRecorder()
	o.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, name := range []string{"go_goroutines ", "process_start_time_seconds "} {
		if !strings.Contains(w.Body.String(), "\n"+name) {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestObserversShareNothing(t *testing.T) {
	a, _ := observed()
	b, _ := observed()
	a.Panicked(record(call.GRPC, service+"Get", nil), nil)
	if got := series(t, b)["recoverycodes_panics_total"]; got != "0" {
		t.Errorf("a panic seen by one observer is counted %s by another", got)
	}
}

func TestPanicked(t *testing.T) {
	o, lines := observed()
	o.Panicked(record(call.GRPC, service+"Rotate", nil), []byte("goroutine 1"))
	if lines.Len() != 1 {
		t.Fatalf("%d lines, want 1", lines.Len())
	}
	line := lines.All()[0]
	want := map[string]any{"method": "Rotate", "request_id": "request-id-1", "stack": "goroutine 1"}
	if diff := cmp.Diff(want, line.ContextMap()); diff != "" || line.Level != zap.ErrorLevel {
		t.Errorf("at %v (-want +got):\n%s", line.Level, diff)
	}
}

func TestDriftIsLoggedOnceAndCountedAlways(t *testing.T) {
	o, lines := observed()
	for range 3 {
		o.Drifted("Get", "member.new", "unknown")
		o.Drifted("Get", "member.new", "wrong type")
		o.Drifted("Get", "member.other", "unknown")
		o.Drifted("Rotate", "member.new", "unknown")
	}
	var got []map[string]any
	for _, line := range lines.All() {
		if line.Level != zap.WarnLevel {
			t.Errorf("a line at %v, want a warning", line.Level)
		}
		got = append(got, line.ContextMap())
	}
	want := []map[string]any{
		{"method": "Get", "path": "member.new", "kind": "unknown"},
		{"method": "Get", "path": "member.new", "kind": "wrong type"},
		{"method": "Get", "path": "member.other", "kind": "unknown"},
		{"method": "Rotate", "path": "member.new", "kind": "unknown"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	counted := series(t, o)
	for name, want := range map[string]string{
		`recoverycodes_answer_drift_total{kind="unknown",method="Get"}`:    "6",
		`recoverycodes_answer_drift_total{kind="wrong type",method="Get"}`: "3",
		`recoverycodes_answer_drift_total{kind="unknown",method="Rotate"}`: "3",
	} {
		if counted[name] != want {
			t.Errorf("%s is %q, want %q", name, counted[name], want)
		}
	}
}

// TestDriftIsBounded has an upstream invent names, from several calls at once.
func TestDriftIsBounded(t *testing.T) {
	o, lines := observed()
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for i := range 1000 {
				o.Drifted("Get", fmt.Sprint("member.invented_", i), "unknown")
			}
		})
	}
	calls.Wait()
	if lines.Len() != 256 {
		t.Errorf("%d lines, want 256", lines.Len())
	}
	if got := series(t, o)[`recoverycodes_answer_drift_total{kind="unknown",method="Get"}`]; got != "4000" {
		t.Errorf("%s were counted, want 4000", got)
	}
}

// TestLabelsAreBounded holds that what a caller or the upstream chooses makes no series.
func TestLabelsAreBounded(t *testing.T) {
	o, _ := observed()
	end := func(i int) {
		r := call.New(call.REST, fmt.Sprint("chosen-", i))
		r.Method, r.Outcome, r.UpstreamTime = service+"Get", call.Done, time.Second
		r.UpstreamRequestID, r.UpstreamFault = fmt.Sprint("upstream-", i), fmt.Sprint("fault-", i)
		o.Ended(r, nil)
		o.Drifted("Get", fmt.Sprint("member.", i), "unknown")
	}
	end(0)
	before := len(series(t, o))
	for i := range 50 {
		end(i)
	}
	if after := len(series(t, o)); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}
