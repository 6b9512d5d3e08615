package parity

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// A faultRow is one kind of fault of the sandbox and what callers are told.
type faultRow struct {
	kind    string
	get     verdict
	effect  verdict // Recover and Rotate
	effects int     // how often Recover and Rotate take effect each
}

var (
	done        = verdict{}
	failed      = verdict{code: codes.Unavailable, http: 502, domain: ours, reason: "UPSTREAM_FAILED", details: details{retry: true}}
	failed503   = verdict{code: codes.Unavailable, http: 503, domain: ours, reason: "UPSTREAM_FAILED", details: details{retry: true}}
	timedOut    = verdict{code: codes.DeadlineExceeded, http: 504, domain: ours, reason: "UPSTREAM_TIMEOUT"}
	unknown     = verdict{code: codes.Unknown, http: 500, domain: ours, reason: "OUTCOME_UNKNOWN", details: details{help: true, never: true}}
	lost        = verdict{code: codes.Unknown, http: 500, domain: ours, reason: "ANSWER_LOST", details: details{help: true, never: true}}
	credentials = verdict{code: codes.Internal, http: 500, domain: ours, reason: "UPSTREAM_CREDENTIALS"}
	limited     = verdict{code: codes.ResourceExhausted, http: 429, domain: stytchs, reason: "TOO_MANY_REQUESTS"}
)

func relayed(code codes.Code, http int, reason string) verdict {
	return verdict{code: code, http: http, domain: stytchs, reason: reason, details: details{status: strconv.Itoa(http)}}
}

// upstreamLimit bounds an exchange in these tests; the faults that never answer cost this much.
const upstreamLimit = 1500 * time.Millisecond

var faults = []faultRow{
	{"reset-before-effect", failed, unknown, 0},
	{"reset-after-effect", failed, unknown, 1},
	{"goaway-after-effect", failed, unknown, 1},
	{"refused-stream-after-effect", failed, unknown, 1},
	{"slow-100", done, done, 1},
	{"slow-30000", timedOut, unknown, 1},
	{"status-400", relayed(codes.InvalidArgument, 400, "BAD_REQUEST"), relayed(codes.InvalidArgument, 400, "BAD_REQUEST"), 0},
	{"status-401", relayed(codes.Unauthenticated, 401, "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE"), relayed(codes.Unauthenticated, 401, "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE"), 0},
	{"status-403", relayed(codes.PermissionDenied, 403, "ORGANIZATION_SUSPENDED"), relayed(codes.PermissionDenied, 403, "ORGANIZATION_SUSPENDED"), 0},
	{"status-404", relayed(codes.NotFound, 404, "MEMBER_NOT_FOUND"), relayed(codes.NotFound, 404, "MEMBER_NOT_FOUND"), 0},
	{"status-408", timedOut, unknown, 0},
	{"status-408-after-effect", timedOut, unknown, 1},
	{"status-418", relayed(codes.FailedPrecondition, 418, "BAD_REQUEST"), relayed(codes.FailedPrecondition, 418, "BAD_REQUEST"), 0},
	{"status-429", limited, limited, 0},
	{"status-499-after-effect", failed, unknown, 1},
	{"status-500", failed, unknown, 0},
	{"status-500-after-effect", failed, unknown, 1},
	{"status-503", failed503, unknown, 0},
	{"html-502", failed, unknown, 0},
	{"html-502-after-effect", failed, unknown, 1},
	{"truncated", failed, lost, 1},
	{"not-json", failed, lost, 1},
	{"huge", failed, lost, 1},
	{"redirect", failed, unknown, 0},
	{"redirect-303", failed, unknown, 0},
	{"unknown-fields", done, done, 1},
	{"wrong-types", done, done, 1},
	{"bad-utf8", done, done, 1},
	{"deep", done, done, 1},
	{"rate-limited", limited, limited, 0},
	{"bad-credentials", credentials, credentials, 0},
}

// TestEveryFaultThroughEveryDoor runs kind × method × door against a sandbox that speaks HTTP/1.1 and one that speaks
// HTTP/2: what callers are told, how often the call took effect, and that nothing of the inside leaves with an error.
func TestEveryFaultThroughEveryDoor(t *testing.T) {
	for _, secure := range []bool{false, true} {
		protocol := "HTTP/1.1"
		if secure {
			protocol = "HTTP/2"
		}
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			sandbox := daemon.StartSandbox(t, secure)
			d := daemon.Start(t, sandbox.Env, "--insecure-allow-any-caller", "--upstream-timeout="+upstreamLimit.String(),
				"--upstream-header-timeout="+upstreamLimit.String(), "--upstream-breaker-failures=0")
			for _, row := range faults {
				// One after the other: over HTTP/2 some faults take down a connection that others would share.
				t.Run(row.kind, func(t *testing.T) { row.run(t, sandbox, d, secure) })
			}
			if connections, bytes := sandbox.Redirected(t); connections != 0 || bytes != 0 {
				t.Errorf("%d connections and %d bytes arrived where a redirect points", connections, bytes)
			}
		})
	}
}

func (row *faultRow) run(t *testing.T, sandbox *daemon.Sandbox, d *daemon.Daemon, secure bool) {
	for _, door := range []string{"grpc", "rest"} {
		for _, method := range []string{"Get", "Recover", "Rotate"} {
			t.Run(method+" by "+door, func(t *testing.T) {
				id := fmt.Sprintf("member-test-fault-%s~%s-%s", row.kind, strings.ToLower(method), door)
				request := faultRequest(method, id)
				want := step{want: row.effect}
				if method == "Get" {
					want.want = row.get
					if secure && (row.kind == "refused-stream-after-effect" || row.kind == "goaway-after-effect") {
						want.want = timedOut // the transport sends a refused Get again, until its time is up
					}
				}
				var answer proto.Message
				var got verdict
				if door == "grpc" {
					answer, got = throughGRPC(t, d, request)
				} else {
					answer, got = throughREST(t, d, request)
				}
				want.compare(t, got, door == "rest")
				row.compareDetails(t, method, door, got, want.want)
				if got.code == codes.OK && got.http == 0 {
					nothingIsLost(t, method, answer, got.raw, door == "rest")
				} else {
					nothingLeaks(t, sandbox, got.raw, id)
				}
			})
		}
		for method, n := range map[string]func(daemon.State) int{
			"Recover": func(s daemon.State) int { return s.Effects.Recover },
			"Rotate":  func(s daemon.State) int { return s.Effects.Rotate },
		} {
			id := fmt.Sprintf("member-test-fault-%s~%s-%s", row.kind, strings.ToLower(method), door)
			state := sandbox.Member(t, id)
			if n(state) != row.effects || state.Calls.Recover+state.Calls.Rotate != 1 {
				t.Errorf("%s by %s: %+v, want %d effects of one call", method, door, state, row.effects)
			}
		}
	}
}

// compareDetails holds what goes with an error to what the row says of it. The upstream's status stands in the kind's
// name; a Get never begins an answer that fails, a Recover and a Rotate always do once they were sent.
func (row *faultRow) compareDetails(t *testing.T, method, door string, got, wanted verdict) {
	t.Helper()
	if wanted.code == codes.OK {
		return
	}
	want := wanted.details
	if status := regexp.MustCompile(`-([1-5][0-9][0-9])(-|$)`).FindStringSubmatch(row.kind); status != nil {
		want.status = status[1]
	}
	if status, ok := statusOf[row.kind]; ok {
		want.status = status
	}
	want.header = method != "Get"
	if door == "rest" {
		want = want.overREST()
	}
	if got.details != want {
		t.Errorf("got %+v, want %+v", got.details, want)
	}
}

// statusOf is the upstream's status for the kinds whose names do not say it.
var statusOf = map[string]string{
	"truncated": "200", "not-json": "200", "huge": "200", "redirect": "307", "rate-limited": "429", "bad-credentials": "401",
}

func faultRequest(method, id string) proto.Message {
	switch method {
	case "Get":
		return &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: id}
	case "Recover":
		return &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: id, RecoveryCode: code1}
	default:
		return &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: id}
	}
}

// nothingIsLost looks for what the call was made for in an answer that is spoilt elsewhere.
func nothingIsLost(t *testing.T, method string, answer proto.Message, raw string, rest bool) {
	t.Helper()
	var got struct {
		SessionToken  string   `json:"session_token"`
		SessionJWT    string   `json:"session_jwt"`
		RecoveryCodes []string `json:"recovery_codes"`
	}
	if rest {
		if err := json.Unmarshal([]byte(raw[strings.Index(raw, "{"):]), &got); err != nil {
			t.Fatal(err)
		}
	} else if recovered, ok := answer.(*recoverycodesv1.RecoverResponse); ok {
		got.SessionToken, got.SessionJWT = recovered.GetSessionToken(), recovered.GetSessionJwt()
	} else if listed, ok := answer.(interface{ GetRecoveryCodes() []string }); ok {
		got.RecoveryCodes = listed.GetRecoveryCodes()
	}
	if method == "Recover" && (got.SessionToken == "" || got.SessionJWT == "") {
		t.Error("the session is lost")
	}
	if method != "Recover" && len(got.RecoveryCodes) != 10 {
		t.Errorf("%d codes", len(got.RecoveryCodes))
	}
}

// nothingLeaks searches everything that came back with an error.
func nothingLeaks(t *testing.T, sandbox *daemon.Sandbox, raw, id string) {
	t.Helper()
	upstream, err := url.Parse(sandbox.URL)
	if err != nil {
		t.Fatal(err)
	}
	if raw == "" {
		t.Fatal("nothing came back")
	}
	for _, word := range []string{
		upstream.Host, upstream.Port(), id, organization, code1, "secret-test-sandbox", "dial", "tcp", " EOF", "json:", "http2", "net/http",
		"stream error", "connection", "goroutine", "panic", "context ", "<html>",
	} {
		if strings.Contains(raw, word) {
			t.Errorf("%q leaves with the error:\n%s", word, raw)
		}
	}
}

// TestABlackholeCostsNoOutcome lets a connection go silent after a Rotate. A Rotate after a few idle seconds does not go
// out on it: it succeeds at once, instead of taking the whole time limit and ending in an unknown outcome.
func TestABlackholeCostsNoOutcome(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			t.Parallel()
			sandbox := daemon.StartSandbox(t, secure)
			d := daemon.Start(t, sandbox.Env, "--insecure-allow-any-caller")
			request := faultRequest("Rotate", "member-test-fault-idle-blackhole~x")
			if _, v := throughGRPC(t, d, request); v.code != codes.OK {
				t.Fatalf("%+v", v)
			}
			time.Sleep(4 * time.Second) // real time: it is the operating system's connection that is idle
			start := time.Now()
			_, v := throughGRPC(t, d, request)
			if took := time.Since(start); v.code != codes.OK || took > 10*time.Second {
				t.Errorf("after %v: %+v", took, v)
			}
			if n := sandbox.Member(t, "member-test-fault-idle-blackhole~x").Effects.Rotate; n != 2 {
				t.Errorf("%d effects", n)
			}
		})
	}
}
