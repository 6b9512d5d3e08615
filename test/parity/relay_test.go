package parity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
	"recoverycodes.internal/test/documents"
)

const stopSignal = syscall.SIGTERM

// inFrontOf starts a server whose Stytch is the handler.
func inFrontOf(t *testing.T, upstream http.HandlerFunc, args ...string) *daemon.Daemon {
	t.Helper()
	s := httptest.NewServer(upstream)
	t.Cleanup(s.Close)
	d := daemon.Start(t, []string{
		"STYTCH_PROJECT_ID=project-test-1", "STYTCH_SECRET=secret-test-relay", "STYTCH_BASE_URL=" + s.URL,
	}, append(args, "--insecure-allow-any-caller")...)
	if !strings.Contains(d.Log(), "ANY CALLER") {
		t.Error("it does not say that any caller may use the credential")
	}
	return d
}

// requests is one request of each RPC, with the document that the stub upstream answers it with.
var requests = map[string]struct {
	request  proto.Message
	document []byte
}{
	"Get":     {&recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: "m"}, documents.Get()},
	"Recover": {&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "c"}, documents.Recover()},
	"Rotate":  {&recoverycodesv1.RotateRequest{OrganizationId: "o", MemberId: "m"}, documents.Rotate()},
}

// TestAnswersAreTheUpstreams compares both doors with what the upstream sent: REST to the byte, gRPC member by member,
// nulls aside.
func TestAnswersAreTheUpstreams(t *testing.T) {
	for method, c := range requests {
		t.Run(method, func(t *testing.T) {
			d := inFrontOf(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(c.document) })

			resp, text := send(t, d, method, c.request)
			if resp.StatusCode != http.StatusOK || !bytes.Equal(text, c.document) {
				t.Errorf("status %d, REST answered\n%s", resp.StatusCode, text)
			}

			answer, got := throughGRPC(t, d, c.request)
			if got.code != codes.OK {
				t.Fatalf("%+v", got)
			}
			back, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(answer)
			if err != nil {
				t.Fatal(err)
			}
			var sent, received map[string]any
			if err := json.Unmarshal(c.document, &sent); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(back, &received); err != nil {
				t.Fatal(err)
			}
			if n := compare(t, method, sent, received); n < 60 {
				t.Errorf("only %d values were compared", n)
			}
		})
	}
}

// compare walks what was sent and finds each of its values in what was received. It returns how many there were.
func compare(t *testing.T, path string, sent, received any) int {
	t.Helper()
	switch sent := sent.(type) {
	case nil:
		return 0
	case map[string]any:
		n := 0
		other, _ := received.(map[string]any)
		for name, value := range sent {
			n += compare(t, path+"."+name, value, other[name])
		}
		return n
	case []any:
		n := 0
		other, _ := received.([]any)
		if len(other) != len(sent) {
			t.Errorf("%s: %d elements, want %d", path, len(other), len(sent))
			return 0
		}
		for i, value := range sent {
			n += compare(t, fmt.Sprintf("%s[%d]", path, i), value, other[i])
		}
		return n
	default:
		if diff := cmp.Diff(instant(sent), instant(received)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
		return 1
	}
}

// instant makes a timestamp comparable: protojson writes the same instant with 0, 3, 6 or 9 digits.
func instant(v any) any {
	if text, ok := v.(string); ok {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			return at.UTC()
		}
	}
	return v
}

// TestClaimsReachTheUpstreamWithTheirNulls looks at what is sent through either door.
func TestClaimsReachTheUpstreamWithTheirNulls(t *testing.T) {
	bodies := make(chan string, 1)
	d := inFrontOf(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		bodies <- string(text)
		_, _ = w.Write(documents.Recover())
	})
	request := &recoverycodesv1.RecoverRequest{
		OrganizationId: "o", MemberId: "m", RecoveryCode: " Ünverändert ",
		SessionCustomClaims: claims(map[string]any{"gone": nil, "deep": []any{nil, map[string]any{"x": nil}}, "n": 0.5}),
	}
	const want = `{"organization_id":"o","member_id":"m","recovery_code":" Ünverändert ",` +
		`"session_custom_claims":{"deep":[null,{"x":null}],"gone":null,"n":0.5}}`
	throughGRPC(t, d, request)
	if got := strings.TrimSpace(<-bodies); got != want {
		t.Errorf("gRPC sent\n%s", got)
	}
	throughREST(t, d, request)
	if got := strings.TrimSpace(<-bodies); got != want {
		t.Errorf("REST sent\n%s", got)
	}
}

// TestUpstreamFailures is the outcome table as a caller sees it through either door. The table of package
// recoverycodes has every row; here stand those that differ in what a caller is told.
func TestUpstreamFailures(t *testing.T) {
	const notOurs = `{"status_code":%d,"request_id":"request-id-test-1","error_type":%q,"error_message":"The text.","error_url":"https://stytch.com/docs"}`
	for _, test := range []struct {
		name   string
		status int
		body   string
		get    verdict
		effect verdict
	}{
		{"Stytch's 404", 404, fmt.Sprintf(notOurs, 404, "member_not_found"),
			verdict{code: codes.NotFound, http: 404, domain: stytchs, reason: "MEMBER_NOT_FOUND", message: "The text."},
			verdict{code: codes.NotFound, http: 404, domain: stytchs, reason: "MEMBER_NOT_FOUND", message: "The text."}},
		{"a type nobody knows", 409, fmt.Sprintf(notOurs, 409, "brand_new"),
			verdict{code: codes.FailedPrecondition, http: 409, domain: stytchs, reason: "BRAND_NEW", message: "The text."},
			verdict{code: codes.FailedPrecondition, http: 409, domain: stytchs, reason: "BRAND_NEW", message: "The text."}},
		{"Stytch's 429", 429, fmt.Sprintf(notOurs, 429, "too_many_requests"),
			verdict{code: codes.ResourceExhausted, http: 429, domain: stytchs, reason: "TOO_MANY_REQUESTS", message: "The text."},
			verdict{code: codes.ResourceExhausted, http: 429, domain: stytchs, reason: "TOO_MANY_REQUESTS", message: "The text."}},
		{"our credentials", 401, fmt.Sprintf(notOurs, 401, "unauthorized_credentials"),
			verdict{code: codes.Internal, http: 500, domain: ours, reason: "UPSTREAM_CREDENTIALS"},
			verdict{code: codes.Internal, http: 500, domain: ours, reason: "UPSTREAM_CREDENTIALS"}},
		{"Stytch's 500", 500, fmt.Sprintf(notOurs, 500, "internal_server_error"),
			verdict{code: codes.Unavailable, http: 502, domain: ours, reason: "UPSTREAM_FAILED"},
			verdict{code: codes.Unknown, http: 500, domain: ours, reason: "OUTCOME_UNKNOWN"}},
		{"HTML", 502, "<html>", verdict{code: codes.Unavailable, http: 502, domain: ours, reason: "UPSTREAM_FAILED"},
			verdict{code: codes.Unknown, http: 500, domain: ours, reason: "OUTCOME_UNKNOWN"}},
		{"a redirect", 302, "", verdict{code: codes.Unavailable, http: 502, domain: ours, reason: "UPSTREAM_FAILED"},
			verdict{code: codes.Unknown, http: 500, domain: ours, reason: "OUTCOME_UNKNOWN"}},
		{"a success that is no JSON", 200, "<html>", verdict{code: codes.Unavailable, http: 502, domain: ours, reason: "UPSTREAM_FAILED"},
			verdict{code: codes.Unknown, http: 500, domain: ours, reason: "ANSWER_LOST"}},
		{"a success that ends early", 200, `{"session_token":"s`, verdict{code: codes.Unavailable, http: 502, domain: ours, reason: "UPSTREAM_FAILED"},
			verdict{code: codes.Unknown, http: 500, domain: ours, reason: "ANSWER_LOST"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := inFrontOf(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			})
			for method, c := range requests {
				s := step{want: test.effect}
				if method == "Get" {
					s.want = test.get
				}
				_, got := throughGRPC(t, d, c.request)
				s.compare(t, got, false)
				_, got = throughREST(t, d, c.request)
				s.compare(t, got, true)
			}
		})
	}
}

// TestIdempotencyKeys sends each call twice with a key, through either door: one request arrives, the second answer is the
// first and says that it is. The key is not sent upstream, and is not in the log.
func TestIdempotencyKeys(t *testing.T) {
	const key = "key-7d1f"
	for _, method := range []string{"Recover", "Rotate"} {
		for _, status := range []int{200, 502} {
			t.Run(fmt.Sprintf("%s %d", method, status), func(t *testing.T) {
				var arrived atomic.Int32
				d := inFrontOf(t, func(w http.ResponseWriter, r *http.Request) {
					arrived.Add(1)
					if fmt.Sprint(r.Header) != strings.ReplaceAll(fmt.Sprint(r.Header), key, "") || strings.Contains(strings.ToLower(fmt.Sprint(r.Header)), "idempotency") {
						t.Errorf("sent upstream: %v", r.Header)
					}
					w.WriteHeader(status)
					_, _ = w.Write(requests[method].document)
				})
				var first verdict
				for i := range 2 {
					ctx := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", key)
					var header metadata.MD
					_, answer := rpc(requests[method].request)
					err := d.Dial(t).Invoke(ctx, "/"+service+"/"+method, requests[method].request, answer, grpc.Header(&header))
					v := verdictOf(t, err)
					if i == 0 {
						first = v
					}
					if replayed := header.Get("idempotency-replayed"); v.code != first.code || v.reason != first.reason || (len(replayed) == 1) != (i == 1) {
						t.Errorf("call %d by gRPC: %+v, replayed %v", i, v, replayed)
					}
				}
				// The same key and request by the other door is the same call.
				text := `{"organization_id":"o","member_id":"m"}`
				if method == "Recover" {
					text = `{"organization_id":"o","member_id":"m","recovery_code":"c"}`
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.HTTP+"/v1/b2b/recovery_codes/"+strings.ToLower(method), strings.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Idempotency-Key", key)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.Header.Get("Idempotency-Replayed") != "true" || (status == 200) != (string(body) == string(requests[method].document)) {
					t.Errorf("by REST: %v %s", resp.Header, body)
				}
				if n := arrived.Load(); n != 1 {
					t.Errorf("%d requests arrived", n)
				}
				if !d.AwaitLog(`"replayed":true`, 2) || strings.Contains(d.Log(), key) {
					t.Errorf("the log:\n%s", d.Log())
				}
			})
		}
	}
}
