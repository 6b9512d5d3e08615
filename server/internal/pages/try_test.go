package pages_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"recoverycodes.internal/server/internal/pages"
)

// door is a REST door that remembers its last call.
type door struct {
	last *http.Request
	body string
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.last, d.body = r, string(body)
	w.Header().Set("WWW-Authenticate", "Basic")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	w.WriteHeader(http.StatusOK) // too late
	_, _ = io.WriteString(w, `{"number": 9007199254740993, "html": "<script>"}`)
}

func attempt(content string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/docs/try", strings.NewReader(content))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer the admin door's token")
	r.Header.Set("Cookie", "a=b")
	r.Header.Set("X-Forwarded-Client-Cert", "URI=spiffe://somebody")
	return r
}

// TestTryPassesOnWhatIsAskedFor makes calls with all that a browser sends along: none of that is the caller's.
func TestTryPassesOnWhatIsAskedFor(t *testing.T) {
	d := &door{}
	s := show(t, func(o *pages.Options) { o.Try = d })
	resp, text := s.request(t, attempt(`{"method": "POST", "path": "/v1/a%2Fb/c?d", "body": "{\"x\": 1}",
		"authorization": "Bearer a caller's", "idempotency_key": "key-1"}`))
	if d.last == nil {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	if d.last.Method != http.MethodPost || d.last.URL.EscapedPath() != "/v1/a%2Fb/c" || d.last.URL.RawQuery != "d" || d.body != `{"x": 1}` {
		t.Errorf("%s %s %s", d.last.Method, d.last.URL, d.body)
	}
	if names := slices.Sorted(maps.Keys(d.last.Header)); !slices.Equal(names, []string{"Authorization", "Content-Type", "Idempotency-Key"}) ||
		d.last.Header.Get("Authorization") != "Bearer a caller's" {
		t.Errorf("%v", d.last.Header)
	}
	var answer struct {
		Status int
		Header map[string]string
		Body   string
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("WWW-Authenticate") != "" || answer.Status != http.StatusUnauthorized ||
		answer.Body != `{"number": 9007199254740993, "html": "<script>"}` || answer.Header["Www-Authenticate"] != "Basic" {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, text)
	}
	if strings.Contains(text, "<script") {
		t.Error("the answer has markup in it")
	}

	if _, _ = s.request(t, attempt(`{"method": "GET", "path": "/v1/a"}`)); len(d.last.Header) != 0 {
		t.Errorf("a call without anything has %v", d.last.Header)
	}
}

func TestTryRefuses(t *testing.T) {
	form := attempt(`{"method": "GET", "path": "/v1/a"}`)
	form.Header.Set("Content-Type", "text/plain")
	for name, request := range map[string]*http.Request{
		"no JSON":                    attempt("GET /v1/a"),
		"a text, as a form sends it": form,
		"another path":               attempt(`{"method": "GET", "path": "/metrics"}`),
		"another host":               attempt(`{"method": "GET", "path": "http://example.com/v1/"}`),
		"a path that is none":        attempt(`{"method": "GET", "path": "/v1/%zz"}`),
		"a method that is none":      attempt(`{"method": "GE T", "path": "/v1/a"}`),
		"a header of its own":        attempt(`{"method": "GET", "path": "/v1/a", "header": {"X-Forwarded-Client-Cert": "a"}}`),
		"too much":                   attempt(`{"method": "GET", "path": "/v1/a", "body": "` + strings.Repeat("x", 6<<20) + `"}`),
	} {
		t.Run(name, func(t *testing.T) {
			d := &door{}
			resp, text := show(t, func(o *pages.Options) { o.Try = d }).request(t, request)
			if resp.StatusCode < 400 || resp.StatusCode > 499 || d.last != nil {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
		})
	}
}

// TestFormIsForTheSandboxAlone looks for the form, and for what it would call.
func TestFormIsForTheSandboxAlone(t *testing.T) {
	examples := map[string]string{"organization_id": `an "example"`, "recovery_code": "code-1"}
	with := show(t, func(o *pages.Options) { o.Try, o.Examples = &door{}, examples })
	without := show(t, func(o *pages.Options) { o.Examples = examples })

	_, page := with.get(t, "/docs")
	if n := strings.Count(page, "<form"); n != 3 || strings.Contains(page, "--sandbox") {
		t.Errorf("with a sandbox there are %d forms", n)
	}
	if !strings.Contains(page, `value="an &#34;example&#34;"`) || !strings.Contains(page, `&#34;recovery_code&#34;: &#34;code-1&#34;`) {
		t.Error("the examples are not in the forms")
	}
	_, page = without.get(t, "/docs")
	if strings.Contains(page, "<form") || !strings.Contains(page, "real project") || !strings.Contains(page, "--sandbox") {
		t.Error("without a sandbox there is a form, or nothing says why there is none")
	}
	if resp, _ := without.request(t, attempt(`{"method": "GET", "path": "/v1/a"}`)); resp.StatusCode != http.StatusNotFound {
		t.Errorf("without a sandbox a call is answered with %d", resp.StatusCode)
	}
}
