package sdk

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"recoverycodes.internal/test/daemon"
)

// stytchTypes are the errors of the three operations by their status, as far as Stytch's types are known.
var stytchTypes = map[int][]string{
	400: {
		"bad_request", "action_available_only_for_active_members", "action_available_only_once_primary_authentication_is_met",
		"invalid_argument", "invalid_organization_id", "invalid_recovery_code", "no_active_recovery_code_backed_factor",
		"totp_code_used_as_recovery_code", "no_session_arguments", "too_many_session_arguments", "member_session_member_id_mismatch",
		"invalid_session_duration_minutes", "custom_claims_too_large", "a_type_of_tomorrow",
	},
	401: {
		"unable_to_authenticate_recovery_code", "unauthorized_credentials", "unauthorized_project_id_live", "unauthorized_project_id_test",
		"wrong_stack_live", "wrong_stack_test", "invalid_project_id_authentication", "invalid_secret_authentication",
		"invalid_authorization_header", "enterprise_endpoint", "cname_not_found",
	},
	403: {"organization_suspended", "use_https", "captcha_required"},
	404: {
		"session_not_found", "intermediate_session_not_found", "organization_not_found", "member_not_found", "recovery_codes_not_found",
		"route_not_found",
	},
	405: {"method_not_allowed"},
	408: {"request_timeout"},
	429: {"too_many_requests", "too_few_tokens_authenticated", "user_lock_limit_reached", "captcha_failed"},
	499: {"client_closed_request"},
	500: {"internal_server_error"},
	503: {"server_unavailable"},
}

// told is what becomes of an error of Stytch's at the REST door: its status and type there.
func told(method string, status int, kind string) (int, string) {
	switch {
	case status == 401 && kind != "unable_to_authenticate_recovery_code":
		return 500, "upstream_credentials"
	case kind == "route_not_found", kind == "method_not_allowed", kind == "use_https":
		return 500, "upstream_address"
	case status == 408, status == 499, status >= 500:
		if method != "get" {
			return 500, "outcome_unknown"
		}
		switch status {
		case 408:
			return 504, "upstream_timeout"
		case 503:
			return 503, "upstream_failed"
		}
		return 502, "upstream_failed"
	}
	return status, kind
}

// refusing starts a Stytch that refuses every call with the error that the member's id names, "400~bad_request".
func refusing(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		member := path.Base(r.URL.Path)
		if r.Method == http.MethodPost {
			var body struct {
				MemberID string `json:"member_id"`
			}
			text, _ := io.ReadAll(r.Body)
			_ = json.Unmarshal(text, &body)
			member = body.MemberID
		}
		digits, kind, _ := strings.Cut(member, "~")
		status, err := strconv.Atoi(digits)
		if err != nil || kind == "" {
			t.Errorf("%s %s names no error", r.Method, member)
			status = http.StatusTeapot
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"status_code": status, "request_id": "request-id-test-of-" + kind, "error_type": kind,
			"error_message": "What " + kind + " means, “in words”.", "error_url": "https://stytch.com/docs/api/errors/" + digits + "#" + kind,
			"error_details": map[string]any{"more": 1},
		})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestErrorsOfStytch has the SDK throw each error twice, once asking Stytch itself and once through the server: what Stytch
// has said of the caller's request is word for word the same.
func TestErrorsOfStytch(t *testing.T) {
	sdk := start(t, install(t))
	upstream := refusing(t)
	env := []string{"STYTCH_PROJECT_ID=" + project, "STYTCH_SECRET=secret-of-the-server", "STYTCH_BASE_URL=" + upstream}
	door := "http://" + daemon.Start(t, env, "--policy="+writePolicy(t), "--upstream-breaker-failures=1000").HTTP
	for status, kinds := range stytchTypes {
		for _, kind := range kinds {
			t.Run(fmt.Sprintf("%d %s", status, kind), func(t *testing.T) {
				for _, method := range []string{"get", "recover", "rotate"} {
					params := of(fmt.Sprintf("%d~%s", status, kind), nil)
					if method == "recover" {
						params["recovery_code"] = code1
					}
					direct := sdk.make(t, call{Door: upstream, API: "recoveryCodes", Method: method, Params: params})
					got := sdk.make(t, call{Door: door, API: "recoveryCodes", Method: method, Params: params})
					wantStatus, wantKind := told(method, status, kind)
					if direct.Error == nil || direct.Error.ErrorType != kind {
						t.Fatalf("Stytch itself: %+v", direct)
					}
					if wantKind == kind {
						if got.Error == nil || *got.Error != *direct.Error {
							t.Errorf("%s: %+v, want %+v", method, got.Error, direct.Error)
						}
						continue
					}
					(&row{status: wantStatus, kind: wantKind}).failed(t, got)
				}
			})
		}
	}
}

// others are what the Node SDK cannot be made to meet, and why.
var others = map[string]string{
	"malformed_body":             "it makes the JSON itself",
	"unsupported_type":           "it always declares JSON",
	"method_not_allowed":         "none of its other methods has one of the three paths",
	"idempotency_key_reused":     "it sends no key",
	"caller_unknown":             "it always shows a secret",
	"caller_conflict":            "it shows one credential",
	"forwarded_identity_refused": "it forwards nobody's",
	"cancelled":                  "who goes away is told nothing",
	"internal":                   "a defect has to be found first",
}

// TestErrorsOfThisServer has the SDK throw each error type that docs/errors.md lists.
func TestErrorsOfThisServer(t *testing.T) {
	sdk := start(t, install(t))
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	var text strings.Builder
	text.WriteString("callers:\n")
	for name, more := range map[string]string{
		"shop":    `methods: [Get, Recover, Rotate], organizations: "*"`,
		"reader":  `methods: [Get], organizations: "*"`,
		"tenant":  `methods: [Get, Recover, Rotate], organizations: [organization-test-another]`,
		"limited": `methods: [Get, Recover, Rotate], organizations: "*", rate: { per_second: 0.001, burst: 1 }`,
	} {
		fmt.Fprintf(&text, "  - { name: %s, match: { secret_sha256: %x }, %s }\n", name, sha256.Sum256([]byte("secret-of-the-"+name)), more)
	}
	if err := os.WriteFile(policy, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "<h1>Too many</h1>")
	}))
	t.Cleanup(html.Close)

	sandbox := daemon.StartSandbox(t, false)
	serve := func(upstream string, args ...string) string {
		env := slices.Clip(sandbox.Env)
		if upstream != "" {
			env = append(env, "STYTCH_BASE_URL="+upstream)
		}
		return "http://" + daemon.Start(t, env, append(args, "--policy="+policy)...).HTTP
	}
	usual := serve("")
	seen := make(map[string]bool)
	for _, test := range []struct {
		name, door, secret string
		row
	}{
		{"a member misspelt", usual, "shop", row{method: "rotate", params: of(member, map[string]any{"orgnization_id": "x"}), status: 400, kind: "invalid_request"}},
		{"a code that is a number", usual, "shop", row{method: "recover", params: of(member, map[string]any{"recovery_code": 5}), status: 400, kind: "invalid_request"}},
		{"claims beyond all bounds", usual, "shop", row{method: "recover", params: recoverWith("session_custom_claims", map[string]any{"a": strings.Repeat("x", 3<<20)}),
			status: 413, kind: "body_too_large"}},
		{"an API that is not behind this door", usual, "shop", row{method: "get", api: "organizations", params: of(member, nil), status: 404, kind: "route_not_found"}},
		{"a secret of nobody", usual, "nobody", row{method: "get", params: of(member, nil), status: 401, kind: "credential_invalid"}},
		{"an operation of others", usual, "reader", row{method: "rotate", params: of(member, nil), status: 403, kind: "operation_not_allowed"}},
		{"an organization of others", usual, "tenant", row{method: "get", params: of(member, nil), status: 403, kind: "organization_not_allowed"}},
		{"an organization by its slug", usual, "tenant", row{method: "get", params: of(member, map[string]any{"organization_id": "example-org"}),
			status: 403, kind: "organization_id_required"}},
		{"the first of a limited caller", usual, "limited", row{method: "get", params: of("member-test-none", nil), status: 404, kind: "member_not_found"}},
		{"the second", usual, "limited", row{method: "get", params: of("member-test-none", nil), status: 429, kind: "not_sent"}},
		{"nobody there", serve("http://" + closedPort(t)), "shop", row{method: "rotate", params: of(member, nil), status: 503, kind: "not_sent"}},
		{"a limit in front of Stytch", serve(html.URL), "shop", row{method: "recover", params: of(member, code(code1)), status: 429, kind: "rate_limited"}},
		{"a Get that takes too long", serve("", "--upstream-timeout=1s", "--upstream-least-time=100ms"), "shop",
			row{method: "get", params: of("member-test-fault-slow-20000~get", nil), status: 504, kind: "upstream_timeout"}},
		{"a Get that fails", usual, "shop", row{method: "get", params: of("member-test-fault-status-500", nil), status: 502, kind: "upstream_failed"}},
		{"an unknown outcome", usual, "shop", row{method: "rotate", params: of("member-test-fault-reset-after-effect", nil), status: 500, kind: "outcome_unknown"}},
		{"an answer lost", usual, "shop", row{method: "rotate", params: of("member-test-fault-truncated", nil), status: 500, kind: "answer_lost"}},
		{"the server's own credentials", usual, "shop", row{method: "get", params: of("member-test-fault-bad-credentials", nil), status: 500, kind: "upstream_credentials"}},
		{"another server than Stytch's", serve(sandbox.URL + "/elsewhere"), "shop", row{method: "get", params: of(member, nil), status: 500, kind: "upstream_address"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := call{Door: test.door, Secret: "secret-of-the-" + test.secret, API: "recoveryCodes", Method: test.method, Params: test.params}
			if test.api != "" {
				c.API = test.api
			}
			test.failed(t, sdk.make(t, c))
			seen[test.kind] = true
		})
	}

	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	reasons := regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| ").FindAllStringSubmatch(string(page), -1)
	if len(reasons) < 20 {
		t.Errorf("docs/errors.md has %d reasons", len(reasons))
	}
	for _, m := range reasons {
		if kind := strings.ToLower(m[1]); seen[kind] == (others[kind] != "") {
			t.Errorf("%s: thrown %t, and why it cannot be: %q", kind, seen[kind], others[kind])
		}
	}
}
