package pages

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"recoverycodes.internal/test/daemon"
)

// markup is what a browser must never take for more than text. Scripts and pictures would be in the tab's requests, too.
const markup = `"><img src=//evil.example onerror=alert(1)><script>alert(1)</script>`

// TestMarkupInAnswersIsText calls from the reference about a member and an organization with names of that kind.
func TestMarkupInAnswersIsText(t *testing.T) {
	seed, err := json.Marshal(map[string]any{"organizations": []any{map[string]any{
		"organization_id": "organization-test-1", "organization_name": markup,
		"members": []any{map[string]any{"member_id": "member-test-1", "name": markup, "recovery_codes": []string{markup}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "seed.json")
	if err := os.WriteFile(path, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemon.Start(t, nil, "--sandbox", "--sandbox-seed="+path)
	p := open(t, "light", 1280)
	p.do(t, chromedp.Navigate("http://"+d.Admin+"/docs"))
	status, text := try(t, p, "Get", map[string]string{"path:organization_id": "organization-test-1", "path:member_id": "member-test-1"})
	if status != "200" || strings.Count(text, "evil.example") < 3 {
		t.Errorf("Get: %s\n%s", status, text)
	}
	if n := is[int](t, p, `document.querySelectorAll('.result *:not(p):not(pre)').length`); n != 0 {
		t.Errorf("%d elements came out of an answer", n)
	}
	p.wasQuiet(t, d.Admin)
}

// TestMarkupOfTheUpstreamIsText has an upstream fail with a type, a text and a request id of that kind.
func TestMarkupOfTheUpstreamIsText(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"status_code": 500, "request_id": markup, "error_type": markup, "error_message": markup, "error_url": "javascript:alert(1)//" + markup,
		})
	}))
	t.Cleanup(upstream.Close)
	d := daemon.Start(t, []string{"STYTCH_PROJECT_ID=project-test-1", "STYTCH_SECRET=x", "STYTCH_BASE_URL=" + upstream.URL}, "--insecure-allow-any-caller")
	if status, body := call(t, d, pathRotate, map[string]any{"organization_id": organization, "member_id": member}, "X-Request-Id", markup); status != http.StatusInternalServerError {
		t.Fatalf("%d %s", status, body)
	}
	p := open(t, "dark", 1280)
	p.do(t, chromedp.Navigate("http://"+d.Admin+"/"))
	if text := is[string](t, p, `document.body.innerText`); !strings.Contains(text, markup) {
		t.Errorf("Stytch's request id is not shown:\n%s", text)
	}
	if n := is[int](t, p, `document.querySelectorAll('img, script, iframe, a[href^="javascript"]').length`); n != 0 {
		t.Errorf("%d elements came out of an answer", n)
	}
	p.fits(t)
	p.wasQuiet(t, d.Admin)
}

// TestAnotherPageInTheBrowser opens a page of another port of this machine, which to a browser is the nearest stranger. It puts
// the pages into a frame, loads the reference as a script, reads what it can, and has a set of codes rotated.
func TestAnotherPageInTheBrowser(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, strings.ReplaceAll(`<!doctype html><title>stranger</title><script>
const door = 'http://DOOR';
const rotate = JSON.stringify({method: 'POST', path: '`+pathRotate+`', body: JSON.stringify({organization_id: '`+organization+`', member_id: '`+member+`'})});
const reach = (path, options) => fetch(door + path, options).then(answer => answer.type, () => 'nothing');
const load = (name, path) => new Promise(done => {
  const e = document.createElement(name);
  e.onload = () => done('loaded');
  e.onerror = () => done('nothing');
  e[name === 'link' ? 'href' : 'src'] = door + path;
  if (name === 'link') e.rel = 'stylesheet';
  document.head.append(e);
});
const attempts = (async () => ({
  page: await reach('/'), reference: await reach('/docs'), metrics: await reach('/metrics'),
  opaque: await reach('/docs', {mode: 'no-cors'}),
  json: await reach('/docs/try', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: rotate}),
  text: await reach('/docs/try', {method: 'POST', mode: 'no-cors', body: rotate}),
  level: await reach('/log-level', {method: 'PUT', body: '{"level":"debug"}'}),
  script: await load('script', '/docs/openapi.json'), style: await load('link', '/docs/style.css'), picture: await load('script', '/metrics'),
}))();
</script><body><iframe src="http://DOOR/docs"></iframe>`, "DOOR", d.Admin))
	}))
	t.Cleanup(stranger.Close)
	p := open(t, "light", 1280)
	p.do(t, chromedp.Navigate(stranger.URL))
	got := is[map[string]string](t, p, `attempts`, chromedp.EvalAwaitPromise)
	if len(got) != 10 {
		t.Errorf("%v", got)
	}
	for name, result := range got {
		if result != "nothing" {
			t.Errorf("%s: %s", name, result)
		}
	}
	p.mu.Lock()
	console := strings.Join(p.console, "\n")
	p.mu.Unlock()
	if !strings.Contains(console, "frame-ancestors") {
		t.Errorf("nothing refused the frame:\n%s", console)
	}
	if _, body := request(t, http.MethodGet, d.HTTP+pathGet, ""); !strings.Contains(body, code1) {
		t.Errorf("the codes were rotated: %.100s", body)
	}
	if _, body := request(t, http.MethodGet, d.Admin+"/log-level", ""); !strings.Contains(body, "info") {
		t.Errorf("the level is %s", body)
	}
}

// TestNothingOfATryStays makes a call with secrets in it, leaves the page and comes back: neither the address, nor what
// the browser keeps, nor the form has anything of them.
func TestNothingOfATryStays(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	p := open(t, "light", 1280)
	p.do(t, chromedp.Navigate("http://"+d.Admin+"/docs"))
	const caller, key = "Bearer a-callers-secret-0123456789", "a-key-0123456789"
	body := `{"organization_id": "` + organization + `", "member_id": "` + member + `", "recovery_code": "` + code2 + `"}`
	status, _ := try(t, p, "Recover", map[string]string{"body": body, "authorization": caller, "idempotency_key": key})
	if status != "200" {
		t.Errorf("Recover: %s", status)
	}
	if kept := is[string](t, p, `location.href + history.length + localStorage.length + sessionStorage.length + document.cookie`); kept != "http://"+d.Admin+"/docs2"+"00" {
		t.Errorf("the browser has %s", kept)
	}
	p.do(t, chromedp.Navigate("http://"+d.Admin+"/"))
	p.do(t, chromedp.NavigateBack())
	p.do(t, chromedp.WaitVisible(chromedp.CSS("#Recover form")))
	page := is[string](t, p, `document.documentElement.outerHTML + [...document.querySelectorAll('input, textarea')].map(e => e.value)`)
	for _, secret := range []string{caller, key, code2, "session_token\": \""} {
		if strings.Contains(page, secret) {
			t.Errorf("%q is still there", secret)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, address := range p.requests {
		if strings.Contains(address, "secret") || strings.Contains(address, "key") || strings.Contains(address, code2) {
			t.Errorf("it is in the address %s", address)
		}
	}
}
