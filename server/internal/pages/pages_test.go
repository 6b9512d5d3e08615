package pages_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"recoverycodes.internal/gen"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/pages"
	"recoverycodes.internal/server/internal/telemetry"
)

const service = "/stytch.b2b.recoverycodes.v1.RecoveryCodesService/"

// shown are pages about an observer, which a test tells of calls.
type shown struct {
	*pages.Pages
	observer *telemetry.Observer
}

func show(t *testing.T, change func(*pages.Options)) shown {
	t.Helper()
	observer := telemetry.NewObserver(zap.NewNop(), nil)
	options := pages.Options{
		Metrics: observer.Gatherer(), Unsettled: observer.Unsettled, OpenAPI: gen.OpenAPI, Upstream: "stytch.example",
	}
	if change != nil {
		change(&options)
	}
	p, err := pages.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return shown{p, observer}
}

// ended tells the observer of a call that took some time.
func (s shown) ended(method string, outcome call.Outcome, took time.Duration, more func(*call.Call)) {
	record := call.New(call.REST, "request-id-1")
	record.Method, record.Outcome, record.Start = service+method, outcome, time.Now().Add(-took)
	if more != nil {
		more(record)
	}
	var err *apierror.Error
	if outcome == call.Unknown {
		err = &apierror.Error{Reason: apierror.OutcomeUnknown}
	}
	s.observer.Ended(record, err)
}

func (s shown) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	return s.request(t, httptest.NewRequest(http.MethodGet, path, nil))
}

func (s shown) request(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	resp := w.Result()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// cells are the texts of the row of a table that begins with name.
func cells(t *testing.T, page, name string) []string {
	t.Helper()
	for row := range strings.SplitSeq(page, "<tr") {
		row, _, _ = strings.Cut(row, "</tr>")
		row = regexp.MustCompile(`(?s)<svg.*</svg>`).ReplaceAllString(row, "")
		parts := regexp.MustCompile(`<t[hd][^>]*>`).Split(row, -1)[1:]
		for i := range parts {
			parts[i] = strings.TrimSpace(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(parts[i], ""))
		}
		if len(parts) > 0 && parts[0] == name {
			return parts
		}
	}
	t.Errorf("no row %q", name)
	return nil
}

// TestEveryAnswerHasTheHeaders asks for everything there is, and for what is not there.
func TestEveryAnswerHasTheHeaders(t *testing.T) {
	s := show(t, nil)
	for path, want := range map[string]string{
		"/": "text/html; charset=utf-8", "/docs": "text/html; charset=utf-8", "/docs/openapi.json": "application/json",
		"/docs/style.css": "text/css; charset=utf-8", "/docs/reference.js": "text/javascript; charset=utf-8",
		"/docs/icon.svg": "image/svg+xml", "/docs/status.html": "", "/docs/../": "", "/docs/try": "", "/index.html": "",
	} {
		resp, body := s.get(t, path)
		if (want == "") != (resp.StatusCode != http.StatusOK) || want != "" && resp.Header.Get("Content-Type") != want {
			t.Errorf("%s: %d, %s", path, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		rules := resp.Header.Get("Content-Security-Policy")
		for _, rule := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"} {
			if !slices.Contains(strings.Split(rules, "; "), rule) {
				t.Errorf("%s: the policy %q has not %s", path, rules, rule)
			}
		}
		if strings.Contains(rules, "unsafe") {
			t.Errorf("%s: %s", path, rules)
		}
		// What the policy would not let through must not be there.
		if want == "text/html; charset=utf-8" && regexp.MustCompile(`<style| style=|<script>| on[a-z]+=|(src|href)="[a-z]*:?//`).MatchString(body) {
			t.Errorf("%s has something in it that its own policy forbids, or leads elsewhere", path)
		}
	}
}

func TestStatusCountsByMethodAndOutcome(t *testing.T) {
	s := show(t, nil)
	for range 1234 {
		s.ended("Get", call.Done, 3*time.Millisecond, nil)
	}
	s.ended("Get", call.Failed, 40*time.Second, nil)
	s.ended("Recover", call.Refused, time.Millisecond, nil)
	s.ended("Recover", call.Unknown, time.Millisecond, nil)
	s.ended("Rotate", call.NotSent, time.Millisecond, nil)
	s.ended("Rotate", call.Lost, time.Millisecond, func(c *call.Call) { c.UpstreamStatus, c.UpstreamTime = 200, 70*time.Millisecond })
	s.ended("Rotate", call.Done, time.Millisecond, func(c *call.Call) { c.Replayed = true })
	_, page := s.get(t, "/")
	for name, want := range map[string]string{
		"Get":     "Get 1\u202f235 1\u202f234 0 0 1 0 0 0",
		"Recover": "Recover 2 0 1 0 0 1 0 0",
		"Rotate":  "Rotate 3 0 0 1 0 0 1 1",
	} {
		if got := strings.Join(cells(t, page, name)[:9], " "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	// 1235 calls between 2.5 and 5 ms but one: half of them within the middle of that.
	if got := cells(t, page, "Get")[9:12]; !slices.Equal(got, []string{"3.8\u202fms", "4.9\u202fms", "5.0\u202fms"}) {
		t.Errorf("the times of Get are %q", got)
	}
	if got := cells(t, page[strings.Index(page, "Upstream since"):], "Rotate"); strings.Join(got[:3], " ") != "Rotate 200 1" {
		t.Errorf("the upstream's row is %q", got)
	}
}

func TestStatusTellsTroubles(t *testing.T) {
	s := show(t, nil)
	const what = "Drift: places where Stytch’s answers departed from the contract"
	if _, page := s.get(t, "/"); cells(t, page, what)[2] != "0" {
		t.Error("there is drift in a process that has seen no answer")
	}
	s.observer.Drifted("Rotate", "member.name", "wrong_type")
	s.observer.Drifted("Rotate", "member.name", "wrong_type")
	s.observer.StoreRefused(io.EOF)
	_, page := s.get(t, "/")
	if got := cells(t, page, what); !slices.Equal(got[1:], []string{"Rotate, wrong_type", "2"}) {
		t.Errorf("drift: %q", got)
	}
	if got := cells(t, page, "Calls with an idempotency key refused by the store of keys"); got[2] != "1" {
		t.Errorf("keys: %q", got)
	}
	if want := `class="warn"><dt>Drift</dt><dd>2</dd>`; !strings.Contains(page, want) {
		t.Errorf("the page does not say %q", want)
	}
	if strings.Contains(page, "member.name") {
		t.Error("the page shows a path of an answer")
	}
}

// TestStatusTellsFacts gives each fact the states that it can be in.
func TestStatusTellsFacts(t *testing.T) {
	day := 24 * time.Hour
	for name, tt := range map[string]struct {
		gauges map[string]float64
		want   []string
	}{
		"a start with nothing":        {nil, []string{"not ready", "breaker closed", "the doors serve plaintext", "stytch.example"}},
		"ready":                       {map[string]float64{"recoverycodes_ready": 1}, []string{`class="good"><dt>State</dt><dd>ready`}},
		"no policy":                   {map[string]float64{"recoverycodes_any_caller": 1}, []string{`class="warn"><dt>Callers</dt><dd>anyone`}},
		"a policy":                    {map[string]float64{"recoverycodes_any_caller": 0, "recoverycodes_policy_callers": 7}, []string{"<dd>7</dd><dd class=\"note\">in the policy"}},
		"calls in flight":             {map[string]float64{"recoverycodes_calls_in_flight": 5, "recoverycodes_upstream_calls_in_flight": 3}, []string{"<dd>5</dd>", "3 of them upstream"}},
		"a certificate for long":      {expiry(90 * day), []string{`class="good"><dt>Certificate</dt><dd>ends in 89 days`}},
		"a certificate that ends":     {expiry(5 * day), []string{`class="warn"><dt>Certificate</dt><dd>ends in 4 days`}},
		"a certificate that is ended": {expiry(-time.Hour), []string{`class="bad"><dt>Certificate</dt><dd>has ended`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := show(t, nil)
			for name, value := range tt.gauges {
				s.observer.Gauge(name, "", func() float64 { return value })
			}
			_, page := s.get(t, "/")
			for _, want := range tt.want {
				if !strings.Contains(page, want) {
					t.Errorf("the page does not say %q", want)
				}
			}
		})
	}
	for state, want := range map[string]string{
		"open": `class="bad"><dt>Upstream</dt><dd>breaker open`, "half_open": `class="warn"><dt>Upstream</dt><dd>breaker trying`,
		"closed": `class="good"><dt>Upstream</dt><dd>breaker closed`,
	} {
		s := show(t, nil)
		s.observer.State("recoverycodes_upstream_breaker", "", []string{"closed", "open", "half_open"}, func() string { return state })
		if _, page := s.get(t, "/"); !strings.Contains(page, want) {
			t.Errorf("%s: the page does not say %q", state, want)
		}
	}
}

func expiry(in time.Duration) map[string]float64 {
	return map[string]float64{"recoverycodes_certificate_expiry_timestamp_seconds": float64(time.Now().Add(in).Unix())}
}

// TestStatusEscapes has what others choose written like markup: the caller's name, a request id of Stytch's, a version.
func TestStatusEscapes(t *testing.T) {
	s := show(t, func(o *pages.Options) { o.Upstream = `<img src="//evil.example">` })
	const markup = `"><script src=//evil.example></script>`
	s.ended("Recover", call.Unknown, time.Second, func(c *call.Call) {
		c.Caller, c.UpstreamRequestID, c.RequestID, c.UpstreamFault = markup, markup, markup, markup
	})
	s.observer.Build(markup, markup, markup)
	s.observer.Drifted(markup, markup, markup)
	_, page := s.get(t, "/")
	if strings.Contains(page, "<script") || strings.Contains(page, "<img") {
		t.Error("markup of others is in the page")
	}
	if n := strings.Count(page, "&lt;script"); n < 6 {
		t.Errorf("the page shows %d of the texts", n)
	}
}

// TestStatusNamesNoOneElse plants a secret in everything about a call that is not for the page.
func TestStatusNamesNoOneElse(t *testing.T) {
	s := show(t, nil)
	s.ended("Recover", call.Lost, time.Second, func(c *call.Call) {
		c.Organization, c.Member, c.CodeFingerprint = "SECRET-organization", "SECRET-member", "SECRET-fingerprint"
		c.IdempotencyKeys, c.Answer = []string{"SECRET-key"}, []byte("SECRET-answer")
		c.Caller, c.UpstreamRequestID = "login-web", "request-id-test-77"
	})
	_, page := s.get(t, "/")
	if strings.Contains(page, "SECRET") {
		t.Error("the page names what it must not")
	}
	page = page[strings.Index(page, "Last unknown outcomes"):]
	const want = "<td>Recover<td>rest<td>login-web<td>"
	if !strings.Contains(page, want) || !strings.Contains(page, "answer lost") || !strings.Contains(page, "<code>request-id-test-77</code><br><code>request-id-1</code>") {
		t.Errorf("the call is not shown:\n%s", page)
	}
}

// TestHistory lets an hour and a half pass, with as many calls in a minute as the minute's number says.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := show(t, nil)
		go s.Run(t.Context())
		titles := func() []string {
			_, page := s.get(t, "/")
			chart, _, _ := strings.Cut(page, "</svg>")
			var out []string
			for _, m := range regexp.MustCompile(`<title>(\d\d:\d\d[^<]*)</title>`).FindAllStringSubmatch(chart, -1) {
				out = append(out, m[1])
			}
			return out
		}
		if got := titles(); len(got) != 1 {
			t.Errorf("at the start there are the minutes %q", got)
		}
		start := time.Now()
		for minute := range 90 {
			time.Sleep(30 * time.Second)
			for range minute {
				s.ended("Get", call.Done, time.Millisecond, nil)
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
		}
		time.Sleep(time.Second)
		s.ended("Get", call.Refused, time.Millisecond, nil)
		got := titles()
		if len(got) != 60 {
			t.Fatalf("%d minutes are shown", len(got))
		}
		for i, minute := 0, 31; minute < 90; i, minute = i+1, minute+1 {
			want := fmt.Sprintf("%s: %d done", start.Add(time.Duration(minute+1)*time.Minute).UTC().Format("15:04"), minute)
			if got[i] != want {
				t.Errorf("minute %d is shown as %q, want %q", i, got[i], want)
			}
		}
		if !strings.HasSuffix(got[59], ": 1 refused") {
			t.Errorf("the minute that is not over is shown as %q", got[59])
		}
	})
}

// TestChartsStayWithin draws what is far apart: everything must be finite and within the frame.
func TestChartsStayWithin(t *testing.T) {
	s := show(t, nil)
	for i := range 3000 {
		s.ended("Get", call.Done, time.Duration(i)*20*time.Millisecond, func(c *call.Call) { c.UpstreamStatus, c.UpstreamTime = 200, time.Millisecond })
	}
	s.ended("Recover", call.Unknown, time.Microsecond, nil)
	_, page := s.get(t, "/")
	if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Error("the page has a number that is none")
	}
	bars := regexp.MustCompile(`<rect class="(\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"`).FindAllStringSubmatch(page, -1)
	seen := make(map[string]bool)
	for _, bar := range bars {
		var n [4]float64
		for i := range n {
			if _, err := fmt.Sscan(bar[i+2], &n[i]); err != nil {
				t.Fatal(err)
			}
		}
		if n[0]+n[2] > 600 || n[1]+n[3] > 100+1e-9 || n[3] <= 0 || math.IsNaN(n[3]) {
			t.Errorf("%s", bar[0])
		}
		seen[bar[1]] = true
	}
	if !seen["done"] || !seen["unknown"] || !seen["calls"] {
		t.Errorf("bars of %v", seen)
	}
	if lines := regexp.MustCompile(`<polyline class="line-(calls|upstream)"`).FindAllString(page, -1); len(lines) != 2 {
		t.Errorf("%d lines", len(lines))
	}
}

// TestReferenceHasEverything looks for each operation, answer, type and member that the document knows.
func TestReferenceHasEverything(t *testing.T) {
	_, page := show(t, nil).get(t, "/docs")
	var document struct {
		Paths map[string]map[string]struct {
			Summary   string
			Responses map[string]struct{ Description string }
		}
		Definitions map[string]struct {
			Properties map[string]struct{ Description string }
		}
	}
	if err := json.Unmarshal(gen.OpenAPI, &document); err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer("&#39;", "'", "&#34;", `"`, "&#43;", "+", "&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(page)
	has := func(what string) {
		t.Helper()
		if words := strings.Join(strings.Fields(what), " "); !strings.Contains(plain, words) {
			t.Errorf("the page has not: %s", words)
		}
	}
	operations, fields := 0, 0
	for path, methods := range document.Paths {
		for _, operation := range methods {
			operations++
			has(path)
			has(operation.Summary)
			for status, response := range operation.Responses {
				has(">" + status + "</span>")
				has(response.Description)
			}
		}
	}
	for name, definition := range document.Definitions {
		if name == "google.protobuf.NullValue" {
			continue // no operation leads there
		}
		short := name[strings.LastIndexByte(name, '.')+1:]
		if !strings.Contains(name, "Request") {
			has(`<div id="type-` + name + `"`)
			has("<summary>" + short + "</summary>")
		}
		for field, property := range definition.Properties {
			fields++
			has(`<code class="field">` + field + `</code>`)
			for paragraph := range strings.SplitSeq(property.Description, "\n\n") {
				has(paragraph)
			}
		}
	}
	if operations != 3 || fields < 300 {
		t.Errorf("only %d operations and %d fields were looked for", operations, fields)
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(page, `id="`+m[1]+`"`) {
			t.Errorf("a link leads to #%s, which is not there", m[1])
		}
	}
	if secrets := regexp.MustCompile(`<code class="field">(\w+)</code>[^<]*(<span class="kind">[^<]*</span> )*(<span class="badge">required</span> )?<span class="badge secret">`).FindAllStringSubmatch(page, -1); len(secrets) < 6 {
		t.Errorf("%d fields are marked as secret", len(secrets))
	}
}

func TestDocumentsThatCannotBeShown(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":             "no JSON",
		"no operation":        `{"paths": {}}`,
		"a type that is gone": `{"paths": {"/a": {"get": {"operationId": "S_A", "responses": {"200": {"schema": {"$ref": "#/definitions/gone"}}}}}}}`,
	} {
		if _, err := pages.New(pages.Options{Metrics: prometheus.NewRegistry(), OpenAPI: []byte(text)}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
