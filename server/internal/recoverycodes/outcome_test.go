package recoverycodes

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/stytch"
)

// verdict is what a caller can tell apart.
type verdict struct {
	outcome    call.Outcome
	code       codes.Code
	http       int // 0: the canonical one
	reason     string
	domain     string
	neverRetry bool
}

func say(outcome call.Outcome, code codes.Code, http int, reason string) verdict {
	return verdict{outcome: outcome, code: code, http: http, reason: reason, domain: apierror.Domain}
}

func stytchSays(code codes.Code, http int, reason string) verdict {
	return verdict{outcome: call.Refused, code: code, http: http, reason: reason, domain: apierror.StytchDomain}
}

var (
	unknown = verdict{call.Unknown, codes.Unknown, 0, "OUTCOME_UNKNOWN", apierror.Domain, true}
	lost    = verdict{call.Lost, codes.Unknown, 0, "ANSWER_LOST", apierror.Domain, true}
	unsent  = say(call.NotSent, codes.Unavailable, 0, "NOT_SENT")
)

func stytchError(status int, errorType string) stytch.Exchange {
	return stytch.Exchange{Sent: true, Status: status, Body: fmt.Appendf(nil,
		`{"status_code":%d,"request_id":"request-id-test-1","error_type":%q,"error_message":"No.","error_url":"https://stytch.com/x"}`,
		status, errorType)}
}

// TestDecide is the outcome table: every row for Get and for the two operations with an effect.
func TestDecide(t *testing.T) {
	html := []byte("<html>")
	for _, test := range []struct {
		name   string
		x      stytch.Exchange
		usable bool
		get    verdict
		effect verdict
	}{
		{"bad id", stytch.Exchange{Fault: stytch.FaultBadID}, false,
			say(call.Refused, codes.InvalidArgument, 0, "INVALID_REQUEST"), say(call.Refused, codes.InvalidArgument, 0, "INVALID_REQUEST")},
		{"name does not resolve", stytch.Exchange{Fault: stytch.FaultResolve}, false, unsent, unsent},
		{"connection refused", stytch.Exchange{Fault: stytch.FaultConnect}, false, unsent, unsent},
		{"TLS handshake", stytch.Exchange{Fault: stytch.FaultTLS}, false, unsent, unsent},
		{"time-out while connecting", stytch.Exchange{Fault: stytch.FaultTimeout}, false, unsent, unsent},
		{"no time left", stytch.Exchange{Fault: stytch.FaultDeadline}, false, unsent, unsent},
		{"cancelled before sending", stytch.Exchange{Fault: stytch.FaultCancelled}, false,
			say(call.NotSent, codes.Canceled, 499, "CANCELLED"), say(call.NotSent, codes.Canceled, 499, "CANCELLED")},

		{"reset", stytch.Exchange{Sent: true, Fault: stytch.FaultReset}, false,
			say(call.Failed, codes.Unavailable, 502, "UPSTREAM_FAILED"), unknown},
		{"time-out", stytch.Exchange{Sent: true, Fault: stytch.FaultTimeout}, false,
			say(call.Failed, codes.DeadlineExceeded, 0, "UPSTREAM_TIMEOUT"), unknown},
		{"caller's deadline", stytch.Exchange{Sent: true, Fault: stytch.FaultDeadline}, false,
			say(call.Failed, codes.DeadlineExceeded, 0, "UPSTREAM_TIMEOUT"), unknown},
		{"cancelled after sending", stytch.Exchange{Sent: true, Fault: stytch.FaultCancelled}, false,
			say(call.Failed, codes.Canceled, 499, "CANCELLED"), unknown},
		{"500 of Stytch", stytchError(500, "internal_server_error"), false,
			say(call.Failed, codes.Unavailable, 502, "UPSTREAM_FAILED"), unknown},
		{"502 of a proxy", stytch.Exchange{Sent: true, Status: 502, Body: html}, false,
			say(call.Failed, codes.Unavailable, 502, "UPSTREAM_FAILED"), unknown},
		{"503", stytchError(503, "server_unavailable"), false,
			say(call.Failed, codes.Unavailable, 503, "UPSTREAM_FAILED"), unknown},
		{"504", stytch.Exchange{Sent: true, Status: 504}, false,
			say(call.Failed, codes.DeadlineExceeded, 0, "UPSTREAM_TIMEOUT"), unknown},
		{"redirect", stytch.Exchange{Sent: true, Status: 307}, false,
			say(call.Failed, codes.Unavailable, 502, "UPSTREAM_FAILED"), unknown},
		{"408, whoever says it", stytchError(408, "request_timeout"), false,
			say(call.Failed, codes.DeadlineExceeded, 0, "UPSTREAM_TIMEOUT"), unknown},
		{"499, whoever says it", stytchError(499, "client_closed_request"), false,
			say(call.Failed, codes.Unavailable, 502, "UPSTREAM_FAILED"), unknown},
		{"4xx of a proxy", stytch.Exchange{Sent: true, Status: 403, Body: html}, false,
			say(call.Failed, codes.Unavailable, 502, "UPSTREAM_FAILED"), unknown},
		{"4xx whose body was cut", stytch.Exchange{Sent: true, Status: 404, Fault: stytch.FaultReset}, false,
			say(call.Failed, codes.Unavailable, 502, "UPSTREAM_FAILED"), unknown},

		{"success", stytch.Exchange{Sent: true, Status: 200}, true, verdict{outcome: call.Done}, verdict{outcome: call.Done}},
		{"success that cannot be read", stytch.Exchange{Sent: true, Status: 200}, false,
			say(call.Failed, codes.Unavailable, 502, "UPSTREAM_FAILED"), lost},
		{"success that was cut", stytch.Exchange{Sent: true, Status: 200, Fault: stytch.FaultReset}, false,
			say(call.Failed, codes.Unavailable, 502, "UPSTREAM_FAILED"), lost},
		{"success that is too large", stytch.Exchange{Sent: true, Status: 200, Fault: stytch.FaultTooLarge}, false,
			say(call.Failed, codes.Unavailable, 502, "UPSTREAM_FAILED"), lost},

		{"429 of Stytch", stytchError(429, "user_lock_limit_reached"), false,
			stytchSays(codes.ResourceExhausted, 429, "USER_LOCK_LIMIT_REACHED"), stytchSays(codes.ResourceExhausted, 429, "USER_LOCK_LIMIT_REACHED")},
		{"429 of a proxy", stytch.Exchange{Sent: true, Status: 429, Body: html}, false,
			say(call.Refused, codes.ResourceExhausted, 0, "RATE_LIMITED"), say(call.Refused, codes.ResourceExhausted, 0, "RATE_LIMITED")},

		{"400", stytchError(400, "invalid_argument"), false,
			stytchSays(codes.InvalidArgument, 400, "INVALID_ARGUMENT"), stytchSays(codes.InvalidArgument, 400, "INVALID_ARGUMENT")},
		{"400 about a state", stytchError(400, "action_available_only_for_active_members"), false,
			stytchSays(codes.FailedPrecondition, 400, "ACTION_AVAILABLE_ONLY_FOR_ACTIVE_MEMBERS"),
			stytchSays(codes.FailedPrecondition, 400, "ACTION_AVAILABLE_ONLY_FOR_ACTIVE_MEMBERS")},
		{"401 about the person", stytchError(401, "unable_to_authenticate_recovery_code"), false,
			stytchSays(codes.Unauthenticated, 401, "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE"),
			stytchSays(codes.Unauthenticated, 401, "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE")},
		{"401 of an unknown type", stytchError(401, "brand_new_type"), false,
			stytchSays(codes.Unauthenticated, 401, "BRAND_NEW_TYPE"), stytchSays(codes.Unauthenticated, 401, "BRAND_NEW_TYPE")},
		{"403", stytchError(403, "organization_suspended"), false,
			stytchSays(codes.PermissionDenied, 403, "ORGANIZATION_SUSPENDED"), stytchSays(codes.PermissionDenied, 403, "ORGANIZATION_SUSPENDED")},
		{"404", stytchError(404, "member_not_found"), false,
			stytchSays(codes.NotFound, 404, "MEMBER_NOT_FOUND"), stytchSays(codes.NotFound, 404, "MEMBER_NOT_FOUND")},
		{"409", stytchError(409, "duplicate"), false,
			stytchSays(codes.FailedPrecondition, 409, "DUPLICATE"), stytchSays(codes.FailedPrecondition, 409, "DUPLICATE")},
		{"422", stytchError(422, "odd"), false,
			stytchSays(codes.InvalidArgument, 422, "ODD"), stytchSays(codes.InvalidArgument, 422, "ODD")},

		{"our credentials", stytchError(401, "unauthorized_credentials"), false,
			say(call.Refused, codes.Internal, 0, "UPSTREAM_CREDENTIALS"), say(call.Refused, codes.Internal, 0, "UPSTREAM_CREDENTIALS")},
		{"our project id", stytchError(401, "unauthorized_project_id_live"), false,
			say(call.Refused, codes.Internal, 0, "UPSTREAM_CREDENTIALS"), say(call.Refused, codes.Internal, 0, "UPSTREAM_CREDENTIALS")},
		{"our stack", stytchError(401, "wrong_stack_test"), false,
			say(call.Refused, codes.Internal, 0, "UPSTREAM_CREDENTIALS"), say(call.Refused, codes.Internal, 0, "UPSTREAM_CREDENTIALS")},
		{"our domain", stytchError(401, "cname_not_found"), false,
			say(call.Refused, codes.Internal, 0, "UPSTREAM_CREDENTIALS"), say(call.Refused, codes.Internal, 0, "UPSTREAM_CREDENTIALS")},
		{"our address", stytchError(404, "route_not_found"), false,
			say(call.Refused, codes.Internal, 0, "UPSTREAM_ADDRESS"), say(call.Refused, codes.Internal, 0, "UPSTREAM_ADDRESS")},
		{"our scheme", stytchError(403, "use_https"), false,
			say(call.Refused, codes.Internal, 0, "UPSTREAM_ADDRESS"), say(call.Refused, codes.Internal, 0, "UPSTREAM_ADDRESS")},
	} {
		t.Run(test.name, func(t *testing.T) {
			for op, want := range map[*operation]verdict{
				{name: "Get"}:                        test.get,
				{name: "Recover", help: helpRecover}: test.effect,
				{name: "Rotate", help: helpRotate}:   test.effect,
			} {
				outcome, e := decide(op, &test.x, errorBody(&test.x, nil), test.usable)
				got := verdict{outcome: outcome}
				if e != nil {
					info := e.GRPCStatus()
					got = verdict{outcome, info.Code(), e.HTTP, e.Reason, e.Domain, e.NeverRetry}
					if got.domain == "" {
						got.domain = apierror.Domain
					}
					if e.Message == "" {
						t.Errorf("%s: no message", op.name)
					}
					if e.NeverRetry && (e.RetryAfter != 0 || e.Help == "") {
						t.Errorf("%s: retry hint %v, help %q", op.name, e.RetryAfter, e.Help)
					}
				}
				if got != want {
					t.Errorf("%s:\ngot  %+v\nwant %+v", op.name, got, want)
				}
			}
		})
	}
}

// TestNoEffectGetsACodeThatMeshesRepeat is the point of the table: whatever status comes back after the request may
// have left, Recover and Rotate answer with a code that no mesh repeats, unless Stytch itself refused.
func TestNoEffectGetsACodeThatMeshesRepeat(t *testing.T) {
	repeated := []codes.Code{codes.Canceled, codes.DeadlineExceeded, codes.Internal, codes.ResourceExhausted, codes.Unavailable}
	op := &operation{name: "Recover", help: helpRecover}
	for status := 100; status <= 599; status++ {
		for _, fault := range []stytch.Fault{"", stytch.FaultReset, stytch.FaultTimeout, stytch.FaultCancelled, stytch.FaultOther} {
			x := stytch.Exchange{Sent: true, Status: status, Fault: fault}
			outcome, e := decide(op, &x, errorBody(&x, nil), false)
			switch {
			case status == http.StatusTooManyRequests:
				if outcome != call.Refused || e.Code != codes.ResourceExhausted {
					t.Errorf("429 with fault %q: %s %s", fault, outcome, e.Code)
				}
			case e == nil || slices.Contains(repeated, e.Code) || !e.NeverRetry:
				t.Errorf("status %d, fault %q: %s %+v", status, fault, outcome, e)
			}
		}
	}
}

func TestOurFaultTellsNothingOfOurs(t *testing.T) {
	x := stytchError(401, "unauthorized_credentials")
	_, e := decide(&operation{name: "Get"}, &x, errorBody(&x, nil), false)
	if e.Message == "No." || e.PublicType() != "upstream_credentials" || e.PublicURL() == "https://stytch.com/x" {
		t.Errorf("relayed %q, %q, %q", e.Message, e.PublicType(), e.PublicURL())
	}
	if e.RequestID != "request-id-test-1" {
		t.Errorf("request id %q", e.RequestID)
	}
}

func TestRelayedTextIsPlainAndBounded(t *testing.T) {
	x := stytchError(400, "t")
	x.Body = []byte(`{"error_type":"odd\ntype","error_message":"a\r\nb\u0000\ud800` + strings.Repeat("é", 2000) + `"}`)
	x.RetryAfter = time.Minute
	_, e := decide(&operation{name: "Get"}, &x, errorBody(&x, nil), false)
	if e.Type != "odd type" || e.Reason != "ODD_TYPE" {
		t.Errorf("type %q, reason %q", e.Type, e.Reason)
	}
	if !strings.HasPrefix(e.Message, "a  b \uFFFDéé") || len(e.Message) > 1024 || strings.HasSuffix(e.Message, "\uFFFD") {
		t.Errorf("message of %d bytes: %.20q", len(e.Message), e.Message)
	}
}

func TestUpstreamSaysWhenToComeBack(t *testing.T) {
	x := stytchError(429, "too_many_requests")
	x.RetryAfter = 7 * time.Second
	if _, e := decide(&operation{name: "Get"}, &x, errorBody(&x, nil), false); e.RetryAfter != 7*time.Second {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	x.RetryAfter = 0
	if _, e := decide(&operation{name: "Get"}, &x, errorBody(&x, nil), false); e.RetryAfter != 0 {
		t.Errorf("made up a wait of %v", e.RetryAfter)
	}
}
