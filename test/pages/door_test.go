package pages

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"recoverycodes.internal/test/daemon"
)

// all is what the pages consist of.
var all = []string{"/", "/docs", "/docs/openapi.json", "/docs/style.css", "/docs/reference.js", "/docs/icon.svg"}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// TestPagesAskForAToken asks for all pages with and without a token, in both forms.
func TestPagesAskForAToken(t *testing.T) {
	const token = "admin-token-0123456789-0123456789"
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemon.Start(t, nil, "--sandbox", "--admin-token-file="+path)
	try := `{"method":"GET","path":"` + pathGet + `"}`
	ask := func(where, authorization string, header ...string) (*http.Response, string) {
		method, content := http.MethodGet, ""
		if where == "/docs/try" {
			method, content, header = http.MethodPost, try, append(header, "Content-Type", "application/json")
		}
		if authorization != "" {
			header = append(header, "Authorization", authorization)
		}
		return request(t, method, d.Admin+where, content, header...)
	}
	for _, where := range append(slices.Clone(all), "/docs/try", "/metrics") {
		for _, wrong := range []string{
			"", "Bearer x", basic("", "x"), basic(token, ""), basic(token, "x"), "Basic " + token, "Digest " + token, "Bearer " + basic("", token),
		} {
			resp, body := ask(where, wrong)
			if resp.StatusCode != http.StatusUnauthorized || len(body) > 100 {
				t.Errorf("%s with %q: %d %s", where, wrong, resp.StatusCode, body)
			}
			// A browser asks its user only when it is told that a password would do.
			if !slices.ContainsFunc(resp.Header.Values("WWW-Authenticate"), func(v string) bool { return strings.HasPrefix(v, "Basic realm=") }) {
				t.Errorf("%s asks for %q", where, resp.Header.Values("WWW-Authenticate"))
			}
		}
		for _, right := range []string{"Bearer " + token, basic("", token), basic("whoever", token)} {
			if resp, body := ask(where, right); resp.StatusCode != http.StatusOK || strings.Contains(body, token) {
				t.Errorf("%s with %q: %d", where, right, resp.StatusCode)
			}
		}
		// With a token, the door may have any name.
		if resp, _ := ask(where, "Bearer "+token, "Host", "admin.example"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s under another name: %d", where, resp.StatusCode)
		}
	}
	// The admin door's token is no caller's credential, and the other way round.
	if _, body := ask("/docs/try", "Bearer "+token); strings.Contains(body, token) {
		t.Error("the token came back")
	}
}

// TestPagesOfAnotherSite asks as a browser does that a page of another site makes ask: under a name that points here, or
// across origins.
func TestPagesOfAnotherSite(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	_, port, _ := strings.Cut(d.Admin, ":")
	for _, where := range append(slices.Clone(all), "/metrics", "/log-level") {
		for host, want := range map[string]int{
			"rebound.example": http.StatusMisdirectedRequest, "rebound.example:" + port: http.StatusMisdirectedRequest,
			"localhost.example": http.StatusMisdirectedRequest, "127.0.0.1.example": http.StatusMisdirectedRequest,
			"localhost": http.StatusOK, "LocalHost:" + port: http.StatusOK, "127.0.0.1:" + port: http.StatusOK, "[::1]:" + port: http.StatusOK, "[::1]": http.StatusOK,
		} {
			if resp, _ := request(t, http.MethodGet, d.Admin+where, "", "Host", host); resp.StatusCode != want {
				t.Errorf("%s of %s: %d, want %d", where, host, resp.StatusCode, want)
			}
		}
	}
	for _, where := range []string{"/livez", "/readyz"} { // a kubelet may say what it likes
		if resp, _ := request(t, http.MethodGet, d.Admin+where, "", "Host", "rebound.example"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", where, resp.StatusCode)
		}
	}
	for name, header := range map[string][]string{
		"another site":   {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"another origin": {"Origin", "http://localhost:1"},
	} {
		header = append(header, "Content-Type", "application/json")
		content := `{"method":"POST","path":"` + pathRotate + `","body":"{\"organization_id\":\"` + organization + `\",\"member_id\":\"` + member + `\"}"}`
		if resp, body := request(t, http.MethodPost, d.Admin+"/docs/try", content, header...); resp.StatusCode != http.StatusForbidden {
			t.Errorf("a call from %s: %d %.100s", name, resp.StatusCode, body)
		}
		if resp, body := request(t, http.MethodPut, d.Admin+"/log-level", `{"level":"debug"}`, header...); resp.StatusCode != http.StatusForbidden {
			t.Errorf("a level from %s: %d %s", name, resp.StatusCode, body)
		}
	}
	if _, body := request(t, http.MethodGet, d.HTTP+pathGet, ""); !strings.Contains(body, code1) {
		t.Errorf("the codes were rotated: %.100s", body)
	}
}

// TestEveryAnswerIsKeptApart asks for whatever the door has, for what it has not, and as somebody whom it refuses: a browser is
// told each time to keep the answer from other sites and from its disk.
func TestEveryAnswerIsKeptApart(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	look := func(method, where string, want int, header ...string) {
		t.Helper()
		resp, _ := request(t, method, d.Admin+where, "", header...)
		if resp.StatusCode != want {
			t.Errorf("%s %s: %d", method, where, resp.StatusCode)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := resp.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s %s: %s is %q", method, where, name, got)
			}
		}
		rules := resp.Header.Values("Content-Security-Policy")
		if len(rules) != 1 || !strings.Contains(rules[0], "default-src 'none'") || !strings.Contains(rules[0], "frame-ancestors 'none'") {
			t.Errorf("%s %s: the policy is %q", method, where, rules)
		}
	}
	for _, where := range append(slices.Clone(all), "/metrics", "/log-level", "/livez", "/readyz") {
		look(http.MethodGet, where, http.StatusOK)
	}
	look(http.MethodGet, "/nothing", http.StatusNotFound)
	look(http.MethodDelete, "/metrics", http.StatusMethodNotAllowed)
	look(http.MethodGet, "/", http.StatusMisdirectedRequest, "Host", "rebound.example")
	look(http.MethodPost, "/docs/try", http.StatusForbidden, "Sec-Fetch-Site", "cross-site")
}

// TestPagesHoldNoSecret makes calls by which every secret there is passes through the process, and looks for them.
func TestPagesHoldNoSecret(t *testing.T) {
	const key, caller = "an-idempotency-key-0123456789", "a-callers-secret-0123456789-0123456789"
	d := daemon.Start(t, nil, "--sandbox")
	busy(t, d)
	members := map[string]any{
		"organization_id": organization, "member_id": member, "recovery_code": code2, "intermediate_session_token": "sandbox-ist-0123456789",
	}
	status, recovered := call(t, d, pathRecover, members, "Idempotency-Key", key, "Authorization", "Bearer "+caller)
	if status != http.StatusOK {
		t.Fatal(recovered)
	}
	_, got := request(t, http.MethodGet, d.HTTP+pathGet, "")
	var answers struct {
		Codes []string `json:"recovery_codes"`
		Token string   `json:"session_token"`
		JWT   string   `json:"session_jwt"`
	}
	for _, answer := range []string{got, recovered} {
		if err := json.Unmarshal([]byte(answer), &answers); err != nil {
			t.Fatal(err)
		}
	}
	secrets := append(answers.Codes, answers.Token, answers.JWT, key, caller, code2, "sandbox-ist-0123456789", "secret-test-sandbox")
	if len(secrets) != 15 || slices.Contains(secrets, "") {
		t.Fatalf("there are the secrets %q", secrets)
	}
	for _, where := range append(slices.Clone(all), "/metrics") {
		resp, page := request(t, http.MethodGet, d.Admin+where, "")
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", where, resp.StatusCode)
		}
		for _, secret := range secrets {
			if strings.Contains(page, secret) {
				t.Errorf("%s has %q in it", where, secret)
			}
		}
		// The reference begins with the member of the sandbox, whom everybody knows.
		if where != "/docs" && (strings.Contains(page, member) || strings.Contains(page, organization)) || strings.Contains(page, "member-test-fault-truncated") {
			t.Errorf("%s names whom a call was about", where)
		}
	}
}

// TestNoFormBeforeARealProject starts with settings of a project. Nothing is there at its address, and nothing is asked.
func TestNoFormBeforeARealProject(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	d := daemon.Start(t, sandbox.Env, "--insecure-allow-any-caller")
	if _, page := request(t, http.MethodGet, d.Admin+"/docs", ""); strings.Contains(page, "<form") || !strings.Contains(page, "real project") {
		t.Error("the reference offers to call a real project, or does not say why it does not")
	}
	content := `{"method":"GET","path":"` + pathGet + `"}`
	if resp, body := request(t, http.MethodPost, d.Admin+"/docs/try", content, "Content-Type", "application/json"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if calls := sandbox.Member(t, member).Calls; calls.Get != 0 {
		t.Errorf("%d calls were made", calls.Get)
	}
}

// TestPolicyIsInForceWhenTrying calls from the reference a server that knows its callers.
func TestPolicyIsInForceWhenTrying(t *testing.T) {
	_, out := daemon.Run(t, nil, "new-secret")
	words := strings.Fields(out) // secret, its value, secret_sha256, its value
	path := filepath.Join(t.TempDir(), "policy.yaml")
	policy := `callers:
  - name: login-web
    match: { secret_sha256: "` + words[3] + `" }
    methods: [Get]
    organizations: ["*"]
`
	if err := os.WriteFile(path, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemon.Start(t, nil, "--sandbox", "--policy="+path)
	for authorization, want := range map[string]string{"": `{"status":401,`, "Bearer wrong": `{"status":401,`, "Bearer " + words[1]: `{"status":200,`} {
		content := `{"method":"GET","path":"` + pathGet + `","authorization":"` + authorization + `"}`
		resp, body := request(t, http.MethodPost, d.Admin+"/docs/try", content, "Content-Type", "application/json")
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(body, want) {
			t.Errorf("%q: %d %.200s", authorization, resp.StatusCode, body)
		}
	}
	if _, page := request(t, http.MethodGet, d.Admin+"/", ""); !strings.Contains(page, `<dd>1</dd><dd class="note">in the policy</dd>`) {
		t.Error("the page does not say that the policy has one caller")
	}
}
