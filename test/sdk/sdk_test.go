// Package sdk calls a running server through Stytch's own SDK for Node, unchanged, as a program does that used to call
// Stytch itself. It knows what the SDK returns and throws, and nothing of the wire.
package sdk

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"recoverycodes.internal/test/daemon"
)

func TestMain(m *testing.M) {
	m.Run()
	_ = os.RemoveAll(installed.dir)
	daemon.Remove()
}

// The sandbox's seed, as docs/sandbox.md tells it.
const (
	organization = "organization-test-07971b06-ac8b-4cdb-9c15-63b17e653931"
	member       = "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f"
	code1        = "sand-b0xc-ode1"
	code2        = "mill-7pon-d2ru"
)

// A call is what the script is told: a method of one of the client's APIs, at the address of a REST door.
type call struct {
	Door   string         `json:"door"`
	Secret string         `json:"secret"`
	API    string         `json:"api"`
	Method string         `json:"method"`
	Params map[string]any `json:"params"`
}

// A result is what the script says of a call. Exactly one of its members is set.
type result struct {
	Answer *answer   `json:"answer"`
	Error  *sdkError `json:"error"`  // what was thrown is the SDK's StytchError
	Thrown string    `json:"thrown"` // anything else
}

type answer struct {
	StatusCode int    `json:"status_code"`
	RequestID  string `json:"request_id"`
	MemberID   string `json:"member_id"`
	Member     struct {
		MemberID string `json:"member_id"`
	} `json:"member"`
	Organization struct {
		OrganizationID string `json:"organization_id"`
	} `json:"organization"`
	RecoveryCodes          []string `json:"recovery_codes"`
	RecoveryCodesRemaining *int     `json:"recovery_codes_remaining"`
	SessionToken           string   `json:"session_token"`
	SessionJWT             string   `json:"session_jwt"`
	MemberSession          struct {
		CustomClaims map[string]any `json:"custom_claims"`
	} `json:"member_session"`
}

type sdkError struct {
	StatusCode   int    `json:"status_code"`
	ErrorType    string `json:"error_type"`
	ErrorMessage string `json:"error_message"`
	ErrorURL     string `json:"error_url"`
	RequestID    string `json:"request_id"`
}

// A row is one call and what is expected of it. The rows run in order, since a code that was spent stays spent.
type row struct {
	name   string
	method string
	params map[string]any
	cut    bool // through a server that cannot reach its upstream
	api    string

	// Either a check of the answer, or the error.
	check  func(t *testing.T, got *answer)
	status int
	kind   string
	text   string // a part of the message
}

// of is the parameters of a call about a member of the seeded organization; more adds to them, and replaces.
func of(member string, more map[string]any) map[string]any {
	params := map[string]any{"organization_id": organization, "member_id": member}
	maps.Copy(params, more)
	return params
}

func code(code string) map[string]any { return map[string]any{"recovery_code": code} }

func recoverWith(name string, value any) map[string]any {
	return of(member, map[string]any{"recovery_code": code2, name: value})
}

var rows = []row{
	{name: "get lists the codes", method: "get", params: of(member, nil), check: func(t *testing.T, got *answer) {
		if len(got.RecoveryCodes) != 10 || got.RecoveryCodes[0] != code1 {
			t.Errorf("recovery_codes %q", got.RecoveryCodes)
		}
	}},
	{name: "recover spends one and mints a session", method: "recover", params: of(member, code(code1)), check: func(t *testing.T, got *answer) {
		if got.SessionToken == "" || got.SessionJWT == "" {
			t.Errorf("session_token %q, session_jwt %q", got.SessionToken, got.SessionJWT)
		}
		if got.RecoveryCodesRemaining == nil || *got.RecoveryCodesRemaining != 9 {
			t.Errorf("recovery_codes_remaining %v, want 9", got.RecoveryCodesRemaining)
		}
	}},
	{name: "a spent code", method: "recover", params: of(member, code(code1)), status: 401, kind: "unable_to_authenticate_recovery_code"},
	{name: "refused here: too short a session", method: "recover", params: recoverWith("session_duration_minutes", 4),
		status: 400, kind: "invalid_request", text: "session_duration_minutes: "},
	{name: "refused here: a reserved claim", method: "recover", params: recoverWith("session_custom_claims", map[string]any{"iss": "me"}),
		status: 400, kind: "invalid_request", text: "session_custom_claims.iss: "},
	{name: "refused here: an unknown parameter", method: "recover", params: recoverWith("sesion_token", "x"),
		status: 400, kind: "invalid_request", text: "sesion_token: "},
	{name: "refused here: an id with a slash", method: "get", params: of("a/b", nil), status: 400, kind: "invalid_request", text: "member_id: "},
	{name: "what is refused spends no code", method: "get", params: of(member, nil), check: func(t *testing.T, got *answer) {
		if len(got.RecoveryCodes) != 9 || got.RecoveryCodes[0] != code2 {
			t.Errorf("recovery_codes %q", got.RecoveryCodes)
		}
	}},
	{name: "rotate voids and mints", method: "rotate", params: of(member, nil), check: func(t *testing.T, got *answer) {
		if len(got.RecoveryCodes) != 10 || slices.Contains(got.RecoveryCodes, code2) {
			t.Errorf("recovery_codes %q", got.RecoveryCodes)
		}
	}},
	{name: "a voided code", method: "recover", params: of(member, code(code2)), status: 401, kind: "unable_to_authenticate_recovery_code"},
	{name: "no such organization", method: "rotate", params: of(member, map[string]any{"organization_id": "organization-test-none"}),
		status: 404, kind: "organization_not_found"},
	{name: "no such organization, by an id that is escaped in the path", method: "get", params: of(member, map[string]any{"organization_id": "none|1"}),
		status: 404, kind: "organization_not_found"},
	{name: "no such member", method: "get", params: of("member-test-none", nil), status: 404, kind: "member_not_found"},

	{name: "get failed", method: "get", params: of("member-test-fault-status-500~get", nil), status: 502, kind: "upstream_failed"},
	{name: "recover of unknown outcome", method: "recover", params: of("member-test-fault-status-500~recover", code(code1)),
		status: 500, kind: "outcome_unknown"},
	{name: "rotate of unknown outcome", method: "rotate", params: of("member-test-fault-status-500~rotate", nil), status: 500, kind: "outcome_unknown"},
	{name: "recover cut off", method: "recover", params: of("member-test-fault-reset-after-effect~recover", code(code1)),
		status: 500, kind: "outcome_unknown"},
	{name: "recover whose answer is lost", method: "recover", params: of("member-test-fault-truncated~recover", code(code1)),
		status: 500, kind: "answer_lost"},
	{name: "rotate whose answer is lost", method: "rotate", params: of("member-test-fault-truncated~rotate", nil), status: 500, kind: "answer_lost"},
	{name: "too many", method: "recover", params: of("member-test-fault-rate-limited~recover", code(code1)), status: 429, kind: "too_many_requests"},
	{name: "the server's own credentials", method: "recover", params: of("member-test-fault-bad-credentials~recover", code(code1)),
		status: 500, kind: "upstream_credentials"},

	{name: "get not sent", cut: true, method: "get", params: of(member, nil), status: 503, kind: "not_sent"},
	{name: "recover not sent", cut: true, method: "recover", params: of(member, code(code1)), status: 503, kind: "not_sent"},
	{name: "rotate not sent", cut: true, method: "rotate", params: of(member, nil), status: 503, kind: "not_sent"},

	{name: "an API that is not behind this door", api: "organizations", method: "get", params: map[string]any{"organization_id": organization},
		status: 404, kind: "route_not_found"},
}

// TestNodeSDK makes every call of the table, and some that depend on each other. What tells the SDK that it does not call
// Stytch is its two settings: the address and the secret.
func TestNodeSDK(t *testing.T) {
	dir := install(t)
	sandbox := daemon.StartSandbox(t, false)
	policy := writePolicy(t)
	door := "http://" + daemon.Start(t, sandbox.Env, "--policy="+policy).HTTP
	cut := "http://" + daemon.Start(t, append(slices.Clip(sandbox.Env), "STYTCH_BASE_URL=http://"+closedPort(t)), "--policy="+policy).HTTP
	sdk := start(t, dir)

	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c := call{Door: door, API: "recoveryCodes", Method: row.method, Params: row.params}
			if row.cut {
				c.Door = cut
			}
			if row.api != "" {
				c.API = row.api
			}
			got := sdk.make(t, c)
			if row.check != nil {
				row.check(t, got.succeeded(t))
			} else {
				row.failed(t, got)
			}
			id, _ := row.params["member_id"].(string)
			if calls := sandbox.Member(t, id).Calls; strings.HasPrefix(id, "member-test-fault-") && row.method != "get" && calls.Recover+calls.Rotate != 1 {
				t.Errorf("%+v arrived, want one call", calls)
			}
		})
	}

	t.Run("a claim that is null is deleted", func(t *testing.T) {
		recoverBy := func(params map[string]any) *answer {
			return sdk.make(t, call{Door: door, API: "recoveryCodes", Method: "recover", Params: of("member-test-fault-slow-1~claims", params)}).succeeded(t)
		}
		first := recoverBy(map[string]any{"recovery_code": code1, "session_custom_claims": map[string]any{"kept": "yes", "gone": "soon"}})
		if claims := first.MemberSession.CustomClaims; len(claims) != 2 {
			t.Errorf("custom_claims %v", claims)
		}
		second := recoverBy(map[string]any{"recovery_code": code2, "session_token": first.SessionToken, "session_custom_claims": map[string]any{"gone": nil}})
		if claims := second.MemberSession.CustomClaims; len(claims) != 1 || claims["kept"] != "yes" {
			t.Errorf("custom_claims %v", claims)
		}
	})

	t.Run("a session is checked with the keys", func(t *testing.T) {
		upstream, fetched := counting(t, sandbox.URL)
		door := "http://" + daemon.Start(t, append(slices.Clip(sandbox.Env), "STYTCH_BASE_URL="+upstream), "--policy="+policy).HTTP
		recovered := sdk.make(t, call{Door: door, API: "recoveryCodes", Method: "recover", Params: of("member-test-fault-slow-1~keys", code(code1))}).succeeded(t)
		for range 2 { // by a client of its own each
			check := call{Door: door, API: "sessions", Method: "authenticateJwtLocal", Params: map[string]any{"session_jwt": recovered.SessionJWT}}
			if got := sdk.make(t, check); got.Answer == nil || got.Answer.MemberID != recovered.MemberID {
				t.Errorf("%+v %s", got.Answer, got.Thrown)
			}
		}
		if n := fetched.Load(); n != 1 {
			t.Errorf("the keys were fetched %d times", n)
		}
	})
}

// succeeded returns the answer, whose members that every answer has are as they must be.
func (r result) succeeded(t *testing.T) *answer {
	t.Helper()
	got := r.Answer
	if got == nil {
		t.Fatalf("thrown: %+v %s", r.Error, r.Thrown)
	}
	if got.StatusCode != http.StatusOK || got.RequestID == "" || got.MemberID == "" || got.Member.MemberID != got.MemberID ||
		got.Organization.OrganizationID != organization {
		t.Errorf("%+v", got)
	}
	return got
}

// failed holds what was thrown to the row.
func (r *row) failed(t *testing.T, result result) {
	t.Helper()
	got := result.Error
	if got == nil {
		t.Fatalf("no StytchError: answer %+v, thrown %s", result.Answer, result.Thrown)
	}
	if got.StatusCode != r.status || got.ErrorType != r.kind || got.ErrorMessage == "" || !strings.Contains(got.ErrorMessage, r.text) ||
		!strings.HasPrefix(got.ErrorURL, "https://") || got.RequestID == "" {
		t.Errorf("%+v, want %d %s, %q in the message, and no empty field", *got, r.status, r.kind, r.text)
	}
}

// closedPort returns an address that refuses connections until the test ends: the near end of a connection holds it.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}

//go:embed package.json package-lock.json calls.js
var files embed.FS

// installed is where the script and the SDK are, once for all tests.
var installed struct {
	once sync.Once
	dir  string
	err  error
}

// install puts the script and the SDK into a directory outside the work tree, and returns it. Where there is no Node, or
// no registry to install from, the test is skipped, unless it is mandatory.
func install(t *testing.T) string {
	t.Helper()
	installed.once.Do(func() {
		if installed.dir, installed.err = os.MkdirTemp("", "sdk"); installed.err != nil {
			return
		}
		if installed.err = os.CopyFS(installed.dir, files); installed.err != nil {
			return
		}
		npm := exec.Command("npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund",
			"--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000") // milliseconds; without them, a minute until it gives up
		npm.Dir = installed.dir
		if out, err := npm.CombinedOutput(); err != nil {
			installed.err = fmt.Errorf("npm ci: %w\n%s", err, out)
		}
	})
	if installed.err != nil {
		if os.Getenv("RECOVERYCODES_CI") != "" {
			t.Fatal(installed.err)
		}
		t.Skip(installed.err)
	}
	return installed.dir
}

// sdk is a running script with the SDK in it. Once stopped it takes no more calls.
type sdk struct {
	calls   *json.Encoder
	results *json.Decoder
	stop    func() (stderr string)
}

// start runs the script until the test ends.
func start(t *testing.T, dir string) *sdk {
	t.Helper()
	script := exec.Command("node", "calls.js")
	script.Dir, script.Env = dir, append(os.Environ(), "STYTCH_PROJECT_ID="+project)
	var stderr bytes.Buffer
	script.Stderr = &stderr
	stdin, err := script.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := script.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() string {
		_ = script.Process.Kill()
		_ = script.Wait()
		return stderr.String()
	}
	t.Cleanup(func() { stop() })
	return &sdk{json.NewEncoder(stdin), json.NewDecoder(stdout), stop}
}

// make makes a call, as the caller that the policy knows unless the call has another secret.
func (s *sdk) make(t *testing.T, c call) result {
	t.Helper()
	c.Secret = cmp.Or(c.Secret, secret)
	if err := s.calls.Encode(c); err != nil {
		t.Fatal(err)
	}
	var got result
	if err := s.results.Decode(&got); err != nil {
		t.Fatalf("%v\n%s", err, s.stop())
	}
	return got
}
