package interceptor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
)

// marked is a text that no caller and no log line may show.
const marked = "ckss-2skx-ebow"

// TestRequestID follows the id to the three places where it is read: the handler's record, the answer's header and the
// access line.
func TestRequestID(t *testing.T) {
	tests := []struct {
		name, proposed string
		kept           bool
	}{
		{"proposed", "5f0c2e1a-9f6d-4a1b", true},
		{"128 characters", strings.Repeat("x", 128), true},
		{"none", "", false},
		{"129 characters", strings.Repeat("x", 129), false},
		{"space", "two words", false},
		{"markup", "<id>", false},
	}
	for _, tt := range tests {
		for _, fails := range []error{nil, apierror.Invalid(apierror.Violation{Field: "member_id", Description: "is required"})} {
			t.Run(fmt.Sprint(tt.name, ", fails ", fails != nil), func(t *testing.T) {
				var handled string
				handle := func(ctx context.Context) error {
					handled = call.FromContext(ctx).RequestID
					return fails
				}
				throughBothDoors(t, handle, func(t *testing.T, h *house, d door) {
					r := d.recover(t.Context(), tt.proposed)
					if status.Code(r.err) != status.Code(fails) {
						t.Fatalf("got %v, want %v", r.err, fails)
					}
					if kept := handled == tt.proposed; kept != tt.kept || handled == "" {
						t.Errorf("proposed %q, the handler saw %q", tt.proposed, handled)
					}
					// A failure has it in the trailer, and no header: clients do not send again what has begun to be answered.
					has, hasNot := r.header, r.trailer
					if fails != nil {
						has, hasNot = r.trailer, r.header
					}
					if got, other := has.Get(call.RequestIDKey), hasNot.Get(call.RequestIDKey); !slices.Equal(got, []string{handled}) || len(other) != 0 {
						t.Errorf("header %v, trailer %v, want %s", r.header, r.trailer, handled)
					}
					if got := h.accessLine(t).ContextMap()["request_id"]; got != handled {
						t.Errorf("the access line says %v, the handler saw %q", got, handled)
					}
				})
			})
		}
	}
}

func TestTwoProposedRequestIDsAreNone(t *testing.T) {
	h := build(done)
	conn := h.serve(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), call.RequestIDKey, "one", call.RequestIDKey, "two")
	r := recoverOver(ctx, conn)
	if r.err != nil {
		t.Fatal(r.err)
	}
	got := r.header.Get(call.RequestIDKey)
	if len(got) != 1 || strings.Contains(got[0], "one") || strings.Contains(got[0], "two") {
		t.Errorf("the ids are %q, want one of the server's own", got)
	}
}

// TestErrorNamesTheRequest: the id of the upstream's request where there is one, since that is what its support asks for.
func TestErrorNamesTheRequest(t *testing.T) {
	for name, tt := range map[string]struct{ stytch, want string }{
		"ours":     {"", "our-id"},
		"Stytch's": {"request-id-test-1", "request-id-test-1"},
	} {
		t.Run(name, func(t *testing.T) {
			handle := func(context.Context) error {
				return &apierror.Error{Code: codes.NotFound, Reason: "MEMBER_NOT_FOUND", Message: "No such member.", RequestID: tt.stytch}
			}
			throughBothDoors(t, handle, func(t *testing.T, _ *house, d door) {
				r := d.recover(t.Context(), "our-id")
				if got := detail[errdetails.RequestInfo](r.err).GetRequestId(); got != tt.want {
					t.Errorf("the error names the request %q, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestAccessLine(t *testing.T) {
	tests := []struct {
		name    string
		outcome call.Outcome
		err     error
		code    string
		reason  string
	}{
		{"done", call.Done, nil, "OK", ""},
		{
			"refused", call.Refused, &apierror.Error{Code: codes.NotFound, Reason: "MEMBER_NOT_FOUND", Message: "No such member."},
			"NotFound", "MEMBER_NOT_FOUND",
		},
		{
			"unknown", call.Unknown, &apierror.Error{Code: codes.Unknown, Reason: apierror.OutcomeUnknown, Message: "no verdict"},
			"Unknown", "OUTCOME_UNKNOWN",
		},
		{"a defect", call.NotSent, errors.New(marked), "Internal", "INTERNAL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			handle := func(ctx context.Context) error {
				call.FromContext(ctx).Outcome = tt.outcome
				return tt.err
			}
			throughBothDoors(t, handle, func(t *testing.T, h *house, d door) {
				r := d.recover(t.Context(), "id-1")
				if got := status.Code(r.err).String(); got != tt.code {
					t.Errorf("the caller got %s, want %s", got, tt.code)
				}
				got := h.accessLine(t).ContextMap()
				if took, ok := got["duration"].(time.Duration); !ok || took <= 0 {
					t.Errorf("the duration is %v", got["duration"])
				}
				delete(got, "duration")
				want := map[string]any{
					"method": "Recover", "door": string(d.name), "code": tt.code, "request_id": "id-1", "outcome": string(tt.outcome),
					"caller": "anyone",
				}
				if tt.reason != "" {
					want["reason"] = tt.reason
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("line (-want +got):\n%s", diff)
				}
				series := fmt.Sprintf(`recoverycodes_calls_total{caller="anyone",code=%q,door=%q,method="Recover"}`, tt.code, d.name)
				if got := h.metric(t, series); got != "1" {
					t.Errorf("%s is %q, want 1", series, got)
				}
			})
		})
	}
}

// TestStrayErrorsLoseTheirText is about errors that the service did not write for callers.
func TestStrayErrorsLoseTheirText(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want codes.Code
	}{
		{"Go error", errors.New(marked), codes.Internal},
		{"status UNKNOWN", status.Error(codes.Unknown, marked), codes.Internal},
		{"status of a library", status.Error(codes.ResourceExhausted, marked), codes.ResourceExhausted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			throughBothDoors(t, func(context.Context) error { return tt.err }, func(t *testing.T, h *house, d door) {
				r := d.recover(t.Context(), "")
				if status.Code(r.err) != tt.want {
					t.Errorf("got %v, want %v", r.err, tt.want)
				}
				shows(t, h, r, marked, false)
			})
		})
	}
}

// shows checks whether a text is anywhere in what left the process by a call.
func shows(t *testing.T, h *house, r reply, text string, want bool) {
	t.Helper()
	var out strings.Builder
	_, _ = fmt.Fprintf(&out, "%v %v %v %v\n", r.err, status.Convert(r.err).Proto(), r.header, r.trailer)
	h.settled(t)
	for _, line := range h.lines.All() {
		_, _ = fmt.Fprintf(&out, "%s %v\n", line.Message, line.ContextMap())
	}
	if got := strings.Contains(out.String(), text); got != want {
		t.Errorf("shows %q: %v, want %v:\n%s", text, got, want, out.String())
	}
}

func TestPanicIsContained(t *testing.T) {
	var nobody *call.Call
	tests := []struct {
		name  string
		cause func()
	}{
		{"text", func() { panic("code " + marked) }},
		{"error", func() { panic(fmt.Errorf("code %s", marked)) }},
		{"nil", func() { panic(nil) }},
		{"nil pointer", func() { nobody.Method = marked }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ran := 0
			handle := func(ctx context.Context) error {
				if ran++; ran == 1 {
					tt.cause()
				}
				return done(ctx)
			}
			throughBothDoors(t, handle, func(t *testing.T, h *house, d door) {
				ran = 0
				r := d.recover(t.Context(), "id-1")
				if status.Code(r.err) != codes.Internal || reason(r.err) != apierror.Internal {
					t.Errorf("got %v %s, want INTERNAL", r.err, reason(r.err))
				}
				if got := r.trailer.Get("grpc-retry-pushback-ms"); len(got) != 0 {
					t.Errorf("nothing was sent, but retries are forbidden: %q", got)
				}
				shows(t, h, r, marked, false)
				shows(t, h, r, "id-1", true)
				if got := h.metric(t, "recoverycodes_panics_total"); got != "1" {
					t.Errorf("%s panics were counted, want 1", got)
				}
				if line := h.accessLine(t); line.Level != zap.ErrorLevel || line.ContextMap()["code"] != "Internal" {
					t.Errorf("the access line is %v %v", line.Level, line.ContextMap())
				}
				panics := h.lines.FilterMessage("panic").All()
				if len(panics) != 1 {
					t.Fatalf("%d lines about the panic, want 1", len(panics))
				}
				fields := panics[0].ContextMap()
				if stack := fmt.Sprint(fields["stack"]); !strings.Contains(stack, "TestPanicIsContained") {
					t.Errorf("the stack does not lead to the handler:\n%s", stack)
				}
				if fields["request_id"] != "id-1" || fields["method"] != "Recover" {
					t.Errorf("the line names %v %v", fields["method"], fields["request_id"])
				}
				if r := d.recover(t.Context(), ""); r.err != nil {
					t.Errorf("the next call failed: %v", r.err)
				}
			})
		})
	}
}

// TestPanicAfterSending is the panic that must not be answered by a status which proxies repeat.
func TestPanicAfterSending(t *testing.T) {
	handle := func(ctx context.Context) error {
		call.FromContext(ctx).Outcome = call.Unknown
		panic(marked)
	}
	throughBothDoors(t, handle, func(t *testing.T, h *house, d door) {
		r := d.recover(t.Context(), "")
		if status.Code(r.err) != codes.Unknown || reason(r.err) != apierror.OutcomeUnknown {
			t.Errorf("got %v %s, want UNKNOWN, OUTCOME_UNKNOWN", r.err, reason(r.err))
		}
		if diff := cmp.Diff([]string{"-1"}, r.trailer.Get("grpc-retry-pushback-ms")); diff != "" {
			t.Errorf("pushback (-want +got):\n%s", diff)
		}
		if help := detail[errdetails.Help](r.err); len(help.GetLinks()) != 1 || !strings.Contains(help.GetLinks()[0].GetDescription(), "Get") {
			t.Errorf("the help is %v, want it to lead to Get", help)
		}
		shows(t, h, r, marked, false)
		if got := h.metric(t, "recoverycodes_panics_total"); got != "1" {
			t.Errorf("%s panics were counted, want 1", got)
		}
		line := h.accessLine(t)
		if got := line.ContextMap(); got["outcome"] != "unknown" || got["code"] != "Unknown" || line.Level != zap.ErrorLevel {
			t.Errorf("the access line is %v %v", line.Level, got)
		}
	})
}

func TestNeverRetry(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want []string
	}{
		{"success", nil, nil},
		{"outcome unknown", &apierror.Error{Code: codes.Unknown, Reason: apierror.OutcomeUnknown, Message: "no verdict", NeverRetry: true}, []string{"-1"}},
		{"not sent", &apierror.Error{Code: codes.Unavailable, Reason: apierror.NotSent, Message: "no connection", RetryAfter: time.Second}, nil},
		{"refused", apierror.Invalid(apierror.Violation{Field: "member_id", Description: "is required"}), nil},
		{"a defect", errors.New(marked), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			throughBothDoors(t, func(context.Context) error { return tt.err }, func(t *testing.T, _ *house, d door) {
				r := d.recover(t.Context(), "")
				if (r.err != nil) != (tt.err != nil) {
					t.Fatalf("got %v", r.err)
				}
				if diff := cmp.Diff(tt.want, r.trailer.Get("grpc-retry-pushback-ms")); diff != "" {
					t.Errorf("pushback (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestDeadline(t *testing.T) {
	const slack = 10 * time.Second // the gRPC door has a real clock
	tests := []struct {
		name   string
		caller time.Duration // 0: none
		want   time.Duration
	}{
		{"none", 0, limit},
		{"shorter", limit / 2, limit / 2},
		{"longer", 10 * limit, limit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var left time.Duration
			handle := func(ctx context.Context) error {
				at, ok := ctx.Deadline()
				if left = time.Until(at); !ok {
					t.Error("the handler saw no deadline")
				}
				return nil
			}
			throughBothDoors(t, handle, func(t *testing.T, _ *house, d door) {
				ctx := t.Context()
				if tt.caller > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.caller)
					defer cancel()
				}
				if r := d.recover(ctx, ""); r.err != nil {
					t.Fatal(r.err)
				}
				if left > tt.want || left < tt.want-slack {
					t.Errorf("the handler had %v left, want %v", left, tt.want)
				}
			})
		})
	}
}

// TestDeadlinePasses lets the time run out, on a clock of its own.
func TestDeadlinePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(func(ctx context.Context) error {
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		})
		start := time.Now()
		r := h.restDoor().recover(t.Context(), "")
		if status.Code(r.err) != codes.DeadlineExceeded {
			t.Errorf("got %v, want DEADLINE_EXCEEDED", r.err)
		}
		if took := time.Since(start); took != limit {
			t.Errorf("the handler was given %v, want %v", took, limit)
		}
		if got := h.accessLine(t).ContextMap()["duration"]; got != limit {
			t.Errorf("the access line says %v, want %v", got, limit)
		}
	})
}

func TestHealthIsLoggedAtDebug(t *testing.T) {
	throughBothDoors(t, done, func(t *testing.T, h *house, d door) {
		if _, err := healthpb.NewHealthClient(d.conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
		line := h.accessLine(t)
		if line.Level != zap.DebugLevel || line.ContextMap()["method"] != "grpc.health.v1.Health/Check" {
			t.Errorf("the line is %v %v", line.Level, line.ContextMap())
		}
	})
}

// Calls that are ready at the same time take the same step at the same time: most have been handled when the first few
// are answered.
func TestCallsTakeStepsTogether(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that those that are ready have an order
	const calls, few = 40, 10                       // the scheduler lets one or two go ahead
	var handled, answered, then atomic.Int64
	var upstream sync.WaitGroup // answers when all have asked
	upstream.Add(calls)
	h := build(func(ctx context.Context) error {
		upstream.Done()
		upstream.Wait()
		handled.Add(1)
		return done(ctx)
	})
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			_ = recoverOver(t.Context(), h.corridor)
			if answered.Add(1) == few {
				then.Store(handled.Load())
			}
		})
	}
	all.Wait()
	if then.Load() < calls/2 {
		t.Errorf("%d of %d calls had been handled when %d were answered", then.Load(), calls, few)
	}
}
