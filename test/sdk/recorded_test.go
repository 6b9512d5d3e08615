package sdk

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"recoverycodes.internal/test/daemon"
)

// secret is what a caller has in place of the project's own.
const secret = "secret-of-the-caller"

// project is the sandbox's.
const project = "project-test-00000000-0000-4000-8000-000000000000"

// writePolicy writes the policy that knows the caller by its secret.
func writePolicy(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	text := fmt.Sprintf("callers:\n  - name: shop\n    match: { secret_sha256: %x }\n    methods: [Get, Recover, Rotate]\n    organizations: \"*\"\n",
		sha256.Sum256([]byte(secret)))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const keysPath = "/v1/b2b/sessions/jwks/"

// counting starts a proxy that counts how often session keys are fetched, and looks at how.
func counting(t *testing.T, upstream string) (string, *atomic.Int32) {
	t.Helper()
	target, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	var fetched atomic.Int32
	relay := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, keysPath) {
			fetched.Add(1)
			if len(r.Header) != 1 || r.UserAgent() == "" || r.URL.RawQuery != "" {
				t.Errorf("the keys were fetched with %v, query %q", r.Header, r.URL.RawQuery)
			}
		}
		relay.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL, &fetched
}

// dialects are how Stytch's SDKs differ in what they send, as far as it is known; what is not said here is alike. The ids
// of organization and member are external ones, "crm|17" and "hr|" with the SDK's name.
var dialects = map[string]struct {
	get         string // the member's path and more, after the organization's
	contentType string
	body        string // of Get
	claims      string // of Recover, when none are given
}{
	"node":   {get: "crm%7C17/hr%7Cnode", contentType: "application/json"},
	"go":     {get: "crm%7C17/hr%7Cgo", contentType: "application/json"},
	"python": {get: "crm%7C17/hr%7Cpython?organization_id=crm%7C17&member_id=hr%7Cpython", contentType: "application/json"},
	"ruby":   {get: "crm|17/hr|ruby", contentType: "application/json"},
	"java":   {get: "crm|17/hr|java?organization_id=crm%7C17&member_id=hr%7Cjava", contentType: "application/json", claims: `,"session_custom_claims":{}`},
	"php":    {get: "crm%7C17/hr%7Cphp", contentType: "application/json"},
	"rust": {get: "crm%7C17/hr%7Crust?organization_id=crm%7C17&member_id=hr%7Crust", contentType: "application/json", body: "{}",
		claims: `,"intermediate_session_token":null,"session_token":null,"session_jwt":null,"session_duration_minutes":null,"session_custom_claims":null,"telemetry_id":null`},
	"dotnet": {get: "crm%7C17/hr%7Cdotnet", contentType: "application/json; charset=utf-8"},
}

// TestRecordedRequests makes every call as each SDK writes it. The members have one code each, so that an answer with 0
// in it is among those that the strict ones must be able to read.
func TestRecordedRequests(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false, "--seed="+writeSeed(t))
	d := daemon.Start(t, sandbox.Env, "--policy="+writePolicy(t))
	for name, dialect := range dialects {
		t.Run(name, func(t *testing.T) {
			ids := fmt.Sprintf(`{"organization_id":"crm|17","member_id":"hr|%s"`, name)
			spend := ids + `,"recovery_code":"the only one"` + dialect.claims + "}"
			for _, step := range []struct {
				operation, line, body string
				status                int
				has                   string // among the answer's members
				strict                []string
			}{
				{"get", "GET /v1/b2b/recovery_codes/" + dialect.get, dialect.body, 200, `"recovery_codes":["the only one"]`, []string{"recovery_codes"}},
				{"recover", "POST /v1/b2b/recovery_codes/recover", spend, 200, `"recovery_codes_remaining":0`,
					[]string{"session_token", "session_jwt", "recovery_codes_remaining"}},
				{"recover again", "POST /v1/b2b/recovery_codes/recover", spend, 401, `"error_type":"unable_to_authenticate_recovery_code"`, nil},
				{"get none", "GET /v1/b2b/recovery_codes/" + dialect.get, dialect.body, 200, `"recovery_codes":[]`, []string{"recovery_codes"}},
				{"rotate", "POST /v1/b2b/recovery_codes/rotate", ids + "}", 200, `"recovery_codes":[`, []string{"recovery_codes"}},
			} {
				wire := fmt.Sprintf("%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: %s\r\nUser-Agent: Stytch\r\nConnection: close\r\n",
					step.line, d.HTTP, base64.StdEncoding.EncodeToString([]byte(project+":"+secret)), dialect.contentType)
				if step.body != "" {
					wire += fmt.Sprintf("Content-Length: %d\r\n", len(step.body))
				}
				status, text := send(t, d.HTTP, wire+"\r\n"+step.body)
				if status != step.status || !strings.Contains(text, step.has) {
					t.Errorf("%s: status %d, %s", step.operation, status, text)
				}
				required := []string{"status_code", "request_id", "error_type", "error_message", "error_url"}
				if step.strict != nil {
					required = slices.Concat([]string{"status_code", "request_id", "member_id", "member", "organization"}, step.strict)
				}
				complete(t, step.operation, text, required)
			}
		})
	}
}

// TestKeysWithoutIdentity fetches the session keys as the constructor of the Go SDK does: before anything else, and
// without a credential.
func TestKeysWithoutIdentity(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	upstream, fetched := counting(t, sandbox.URL)
	env := append(slices.Clip(sandbox.Env), "STYTCH_BASE_URL="+upstream)
	d := daemon.Start(t, env, "--policy="+writePolicy(t))
	fetch := func(of, headers string) (int, string) {
		return send(t, d.HTTP, "GET "+keysPath+of+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+headers+"\r\n")
	}
	for range 2 {
		status, text := fetch(project, "")
		if status != http.StatusOK || !strings.Contains(text, `"kty":"RSA"`) {
			t.Errorf("status %d, %s", status, text)
		}
	}
	// A credential that is wrong is not looked at, and none is sent on; see counting.
	if status, _ := fetch(project, "Authorization: Basic bm9ib2R5\r\nCookie: a=b\r\nX-Forwarded-For: 203.0.113.9\r\n"); status != http.StatusOK {
		t.Errorf("status %d with a credential", status)
	}
	status, text := fetch("project-test-11111111-1111-4111-8111-111111111111", "")
	if status != http.StatusNotFound {
		t.Errorf("another project: status %d", status)
	}
	complete(t, "another project", text, []string{"status_code", "request_id", "error_type", "error_message", "error_url"})
	if n := fetched.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if !d.AwaitLog(`"method":"jwks"`, 4) {
		t.Errorf("not one line for each of 4 requests:\n%s", d.Log())
	}
	resp, err := http.Get("http://" + d.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`recoverycodes_calls_total{caller="",code="OK",door="rest",method="jwks"} 3`,
		`recoverycodes_calls_total{caller="",code="NotFound",door="rest",method="jwks"} 1`,
		`recoverycodes_upstream_duration_seconds_count{method="jwks",status="200"} 1`,
	} {
		if !strings.Contains(string(metrics), line) {
			t.Errorf("no %s", line)
		}
	}

	down := daemon.Start(t, append(slices.Clip(sandbox.Env), "STYTCH_BASE_URL=http://"+closedPort(t)), "--policy="+writePolicy(t))
	status, text = send(t, down.HTTP, "GET "+keysPath+project+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if status != http.StatusBadGateway || !strings.Contains(text, `"upstream_failed"`) {
		t.Errorf("with Stytch down: status %d, %s", status, text)
	}
	complete(t, "with Stytch down", text, []string{"status_code", "request_id", "error_type", "error_message", "error_url"})
}

// complete checks that an answer has the members, and that none of them is null.
func complete(t *testing.T, what, text string, required []string) {
	t.Helper()
	var answer map[string]any
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Errorf("%s: %v: %s", what, err, text)
	}
	for _, name := range required {
		if answer[name] == nil || answer[name] == "" {
			t.Errorf("%s: %s is %v", what, name, answer[name])
		}
	}
}

// writeSeed writes a sandbox's seed with a member for each dialect.
func writeSeed(t *testing.T) string {
	t.Helper()
	var members []map[string]any
	for name := range dialects {
		members = append(members, map[string]any{
			"member_id": "member-test-" + name, "external_id": "hr|" + name, "recovery_codes": []string{"the only one"},
		})
	}
	text, err := json.Marshal(map[string]any{"organizations": []any{map[string]any{
		"organization_id": "organization-test-17", "organization_external_id": "crm|17", "members": members,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "seed.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// send writes a request as it stands and reads the answer.
func send(t *testing.T, address, request string) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
