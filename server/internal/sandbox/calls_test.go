package sandbox_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"recoverycodes.internal/server/internal/sandbox"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestAnswerBytes holds every answer to its golden file, byte by byte but for
// what is random: shape, order of keys, nulls, empty lists and maps.
func TestAnswerBytes(t *testing.T) {
	p := start(t, sandbox.Options{Clock: newClock().Now})
	random := []struct {
		form        *regexp.Regexp
		replacement string
	}{
		{regexp.MustCompile(`request-id-test-[0-9a-f-]{36}`), "request-id-test-…"},
		{regexp.MustCompile(`session-test-[0-9a-f-]{36}`), "session-test-…"},
		{regexp.MustCompile(`recovery-code-test-[0-9a-f-]{36}`), "recovery-code-test-…"},
		{regexp.MustCompile(`"session_jwt":"ey[\w.-]{800,}"`), `"session_jwt":"…"`},
		{regexp.MustCompile(`"session_token":"[\w-]{44}"`), `"session_token":"…"`},
		{regexp.MustCompile(`(("[a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{4}",?){10})`), `"ten codes"`},
	}
	for name, a := range map[string]answer{
		"get": p.get(getPath),
		"recover": p.post(recoverPath, member("recovery_code", sandbox.RecoveryCodes()[3], "telemetry_id", "t",
			"session_custom_claims", map[string]any{"team": "<quay> & mill"})),
		"rotate": p.post(rotatePath, member()),
		"error":  p.get("/v1/b2b/recovery_codes/nobody/nothing"),
	} {
		t.Run(name, func(t *testing.T) {
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type is %q", got)
			}
			got := a.body
			for _, r := range random {
				got = r.form.ReplaceAll(got, []byte(r.replacement))
			}
			golden := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
				t.Errorf("answer differs from %s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

// lines breaks compact JSON up so that a difference can be read.
func lines(b []byte) []string { return strings.SplitAfter(string(b), ",") }

func TestGetShowsCodesWithoutSpending(t *testing.T) {
	p := start(t, sandbox.Options{})
	for range 2 {
		a := p.get(getPath)
		a.wantOK(t)
		if diff := cmp.Diff(sandbox.RecoveryCodes(), a.list("recovery_codes")); diff != "" {
			t.Errorf("codes (-want +got):\n%s", diff)
		}
	}
}

func TestRecoverSpendsOneCodeOnce(t *testing.T) {
	p := start(t, sandbox.Options{})
	codes := sandbox.RecoveryCodes()
	for i, code := range codes {
		a := p.post(recoverPath, member("recovery_code", code))
		a.wantOK(t)
		if got, want := a.at("recovery_codes_remaining"), json.Number(itoa(9-i)); got != want {
			t.Errorf("recovery_codes_remaining is %v, want %v", got, want)
		}
		p.post(recoverPath, member("recovery_code", code)).wantError(t, 401, "unable_to_authenticate_recovery_code")
	}
	a := p.get(getPath)
	a.wantOK(t)
	if !bytes.Contains(a.body, []byte(`"recovery_codes":[]`)) {
		t.Errorf("with every code spent, recovery_codes is not []: %s", a.body)
	}
}

func TestRotateVoidsAllCodes(t *testing.T) {
	p := start(t, sandbox.Options{})
	a := p.post(rotatePath, member())
	a.wantOK(t)
	fresh := a.list("recovery_codes")
	form := regexp.MustCompile(`^[a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{4}$`)
	for _, code := range fresh {
		if !form.MatchString(code) {
			t.Errorf("code of an unknown form: %q", code)
		}
		if slices.Contains(sandbox.RecoveryCodes(), code) {
			t.Errorf("rotation kept a code")
		}
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(fresh))); len(distinct) != 10 {
		t.Errorf("%d distinct codes, want 10", len(distinct))
	}
	if diff := cmp.Diff(fresh, p.get(getPath).list("recovery_codes")); diff != "" {
		t.Errorf("Get after Rotate (-want +got):\n%s", diff)
	}
	p.post(recoverPath, member("recovery_code", sandbox.RecoveryCodes()[0])).wantError(t, 401, "unable_to_authenticate_recovery_code")
	p.post(recoverPath, member("recovery_code", fresh[9])).wantOK(t)
}

func TestOneCodeInManyHands(t *testing.T) {
	p := start(t, sandbox.Options{})
	var callers sync.WaitGroup
	statuses := make(chan int, 50)
	for range cap(statuses) {
		callers.Go(func() { statuses <- p.post(recoverPath, member("recovery_code", sandbox.RecoveryCodes()[0])).status })
	}
	callers.Wait()
	close(statuses)
	won := 0
	for status := range statuses {
		if status == http.StatusOK {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d of 50 concurrent calls spent the same code, want 1", won)
	}
	if left := len(p.get(getPath).list("recovery_codes")); left != 9 {
		t.Errorf("%d codes left, want 9", left)
	}
}

func TestNames(t *testing.T) {
	seed := &sandbox.Seed{Organizations: []sandbox.Organization{
		{ID: "o-1", Slug: "first.org~", ExternalID: "ext|1", Members: []sandbox.Member{{ID: "m-1", ExternalID: "p|1/x"}}},
		{ID: "o-2", Members: []sandbox.Member{{ID: "m-2", ExternalID: "p|1/x"}, {ID: ".."}}},
	}}
	p := start(t, sandbox.Options{Seed: seed})
	for _, c := range []struct{ name, path, memberID, kind string }{
		{"by ids", "o-1/m-1", "m-1", ""},
		{"by slug", "first.org~/m-1", "m-1", ""},
		{"by external ids, escaped", "ext%7C1/p%7C1%2Fx", "m-1", ""},
		{"external id of another organization", "o-2/p%7C1%2Fx", "m-2", ""},
		{"dots are an id", "o-2/%2e%2e", "..", ""},
		{"query parameters are ignored", "o-1/m-1?organization_id=o-2&member_id=m-2", "m-1", ""},
		{"unknown organization", "o-3/m-1", "", "organization_not_found"},
		{"unknown member", "o-1/m-3", "", "member_not_found"},
		{"member of another organization", "o-1/m-2", "", "member_not_found"},
		{"names are case-sensitive", "O-1/m-1", "", "organization_not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := p.get("/v1/b2b/recovery_codes/" + c.path)
			if c.kind != "" {
				a.wantError(t, 404, c.kind)
				return
			}
			a.wantOK(t)
			if a.text("member_id") != c.memberID || a.text("member", "member_id") != c.memberID {
				t.Errorf("answer is about %q and %q, want %q", a.text("member_id"), a.text("member", "member_id"), c.memberID)
			}
		})
	}
}

func TestMembersThatMayNot(t *testing.T) {
	seed := &sandbox.Seed{Organizations: []sandbox.Organization{
		{ID: "open", Members: []sandbox.Member{{ID: "pending", Status: "pending"}, {ID: "bare", NoTOTP: true}}},
		{ID: "closed", Suspended: true, Members: []sandbox.Member{{ID: "shut-out"}}},
	}}
	p := start(t, sandbox.Options{Seed: seed})
	for _, c := range []struct {
		organization, member string
		status               int
		kind, recoverKind    string
	}{
		{"open", "pending", 400, "action_available_only_for_active_members", ""},
		{"closed", "shut-out", 403, "organization_suspended", ""},
		{"open", "bare", 404, "recovery_codes_not_found", "no_active_recovery_code_backed_factor"},
	} {
		t.Run(c.member, func(t *testing.T) {
			fields := map[string]any{"organization_id": c.organization, "member_id": c.member}
			p.get("/v1/b2b/recovery_codes/"+c.organization+"/"+c.member).wantError(t, c.status, c.kind)
			p.post(rotatePath, fields).wantError(t, c.status, c.kind)
			fields["recovery_code"] = sandbox.RecoveryCodes()[0]
			if c.recoverKind != "" {
				c.status, c.kind = 400, c.recoverKind
			}
			p.post(recoverPath, fields).wantError(t, c.status, c.kind)
		})
	}
}

func TestRefusals(t *testing.T) {
	const good = `{"organization_id":"example-org","member_id":"` + sandbox.MemberID + `"}`
	with := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	user := func(project, secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(project, secret) }
	}
	code := func(rest string) string {
		return strings.TrimSuffix(good, "}") + `,"recovery_code":"nope"` + rest + "}"
	}
	p := start(t, sandbox.Options{})
	for _, c := range []struct {
		name, method, path, body string
		change                   func(*http.Request)
		status                   int
		kind                     string
	}{
		{"no credentials", "GET", getPath, "", func(r *http.Request) { r.Header.Del("Authorization") }, 401, "unauthorized_credentials"},
		{"wrong secret", "GET", getPath, "", user(sandbox.ProjectID, "x"), 401, "unauthorized_credentials"},
		{"wrong project", "POST", rotatePath, good, user("x", sandbox.Secret), 401, "unauthorized_credentials"},
		{"bearer", "POST", rotatePath, good, with("Authorization", "Bearer "+sandbox.Secret), 401, "unauthorized_credentials"},
		{"unknown path", "GET", "/v1/b2b/members", "", nil, 404, "route_not_found"},
		{"path not cleaned", "GET", "/v1/b2b/./recovery_codes/a/b", "", nil, 404, "route_not_found"},
		{"three ids", "GET", getPath + "/more", "", nil, 404, "route_not_found"},
		{"Get by POST", "POST", getPath, good, nil, 405, "method_not_allowed"},
		{"Get by HEAD's sibling DELETE", "DELETE", getPath, "", nil, 405, "method_not_allowed"},
		{"Recover by GET", "GET", recoverPath, "", nil, 405, "method_not_allowed"},
		{"Rotate by PUT", "PUT", rotatePath, good, nil, 405, "method_not_allowed"},
		{"charset", "POST", rotatePath, good, with("Content-Type", "application/json; charset=utf-8"), 400, "bad_request"},
		{"charset on Get", "GET", getPath, "", with("Content-Type", "application/json; charset=utf-8"), 400, "bad_request"},
		{"form", "POST", rotatePath, good, with("Content-Type", "application/x-www-form-urlencoded"), 400, "bad_request"},
		{"no content type", "POST", rotatePath, good, with("Content-Type", ""), 400, "bad_request"},
		{"no body", "POST", rotatePath, "", nil, 400, "bad_request"},
		{"broken JSON", "POST", rotatePath, good[:20], nil, 400, "bad_request"},
		{"two values", "POST", rotatePath, good + good, nil, 400, "bad_request"},
		{"a list", "POST", rotatePath, "[]", nil, 400, "bad_request"},
		{"null", "POST", rotatePath, "null", nil, 400, "bad_request"},
		{"too large", "POST", rotatePath, good + strings.Repeat(" ", 1<<20), nil, 400, "bad_request"},
		{"member_id a number", "POST", rotatePath, `{"organization_id":"o","member_id":7}`, nil, 400, "bad_request"},
		{"organization_id missing", "POST", rotatePath, `{"member_id":"m"}`, nil, 400, "invalid_organization_id"},
		{"organization_id in camel case", "POST", rotatePath, `{"organizationId":"example-org","member_id":"m"}`, nil, 400, "invalid_organization_id"},
		{"organization_id null", "POST", rotatePath, `{"organization_id":null,"member_id":"m"}`, nil, 400, "invalid_organization_id"},
		{"organization_id empty in path", "GET", "/v1/b2b/recovery_codes//m", "", nil, 400, "invalid_organization_id"},
		{"member_id missing", "POST", rotatePath, `{"organization_id":"o"}`, nil, 400, "invalid_argument"},
		{"recovery_code missing", "POST", recoverPath, good, nil, 400, "invalid_recovery_code"},
		{"unknown organization", "POST", rotatePath, `{"organization_id":"o","member_id":"m"}`, nil, 404, "organization_not_found"},
		{"unknown member", "POST", rotatePath, `{"organization_id":"example-org","member_id":"m"}`, nil, 404, "member_not_found"},
		{"wrong code", "POST", recoverPath, code(""), nil, 401, "unable_to_authenticate_recovery_code"},
		{"duration a text", "POST", recoverPath, code(`,"session_duration_minutes":"60"`), nil, 400, "bad_request"},
		{"claims a list", "POST", recoverPath, code(`,"session_custom_claims":[]`), nil, 400, "bad_request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := p.request(c.method, c.path, c.body)
			if c.change != nil {
				c.change(r)
			}
			p.do(r).wantError(t, c.status, c.kind)
		})
	}
	if diff := cmp.Diff(sandbox.RecoveryCodes(), p.get(getPath).list("recovery_codes")); diff != "" {
		t.Errorf("a refusal had an effect (-want +got):\n%s", diff)
	}
}

// TestWhatSDKsSend lists requests that differ from the plain one and are good.
func TestWhatSDKsSend(t *testing.T) {
	p := start(t, sandbox.Options{})
	for name, r := range map[string]*http.Request{
		"an object as body of a GET": p.request("GET", getPath, "{}"),
		"nulls": p.request("POST", recoverPath, `{"organization_id":"example-org","member_id":"`+sandbox.MemberID+
			`","recovery_code":"`+sandbox.RecoveryCodes()[0]+`","session_token":null,"session_duration_minutes":null,"session_custom_claims":null}`),
		"empty claims": p.request("POST", recoverPath, `{"organization_id":"example-org","member_id":"`+sandbox.MemberID+
			`","recovery_code":"`+sandbox.RecoveryCodes()[1]+`","session_custom_claims":{},"a_member_from_tomorrow":1}`),
	} {
		t.Run(name, func(t *testing.T) { p.do(r).wantOK(t) })
	}
	t.Run("GET without content type", func(t *testing.T) {
		r := p.request("GET", getPath, "")
		r.Header.Del("Content-Type")
		p.do(r).wantOK(t)
	})
}

func TestReset(t *testing.T) {
	s, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := serve(t, s)
	p.post(rotatePath, member()).wantOK(t)
	s.Reset()
	if diff := cmp.Diff(sandbox.RecoveryCodes(), p.get(getPath).list("recovery_codes")); diff != "" {
		t.Errorf("codes after Reset (-want +got):\n%s", diff)
	}
}
