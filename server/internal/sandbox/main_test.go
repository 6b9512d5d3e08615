package sandbox_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"recoverycodes.internal/server/internal/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Requests that most tests send.
const (
	getPath     = "/v1/b2b/recovery_codes/" + sandbox.OrganizationID + "/" + sandbox.MemberID
	recoverPath = "/v1/b2b/recovery_codes/recover"
	rotatePath  = "/v1/b2b/recovery_codes/rotate"
)

// peer is a sandbox that is being served, and a client that knows only HTTP.
type peer struct {
	sandbox    *sandbox.Sandbox
	t          *testing.T
	addr       string
	url        string
	trusted    *x509.CertPool // nil without TLS
	serverName string
	http       *http.Client // speaks HTTP/2 if there is TLS; does not follow redirects
}

func start(t *testing.T, options sandbox.Options) *peer {
	t.Helper()
	s, err := sandbox.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, s)
}

// serve serves s until the test ends.
func serve(t *testing.T, s *sandbox.Sandbox) *peer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p, served := serveUntil(ctx, t, s)
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return p
}

// serveUntil serves s until ctx ends. What Serve returned can be received.
func serveUntil(ctx context.Context, t *testing.T, s *sandbox.Sandbox) (*peer, <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	p := &peer{sandbox: s, t: t, serverName: "localhost", addr: l.Addr().String(), url: "http://" + l.Addr().String()}
	transport := &http.Transport{ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	if pem := s.CertificatePEM(); pem != nil {
		p.url = "https://" + p.addr
		p.trusted = x509.NewCertPool()
		p.trusted.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: p.trusted}
	}
	p.http = &http.Client{Timeout: patience, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p, served
}

// in returns the peer for use in a subtest.
func (p *peer) in(t *testing.T) *peer {
	sub := *p
	sub.t = t
	return &sub
}

// answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	object map[string]any
}

func (p *peer) request(method, path, body string) *http.Request {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.SetBasicAuth(sandbox.ProjectID, sandbox.Secret)
	r.Header.Set("Content-Type", "application/json")
	return r
}

func (p *peer) do(r *http.Request) answer {
	p.t.Helper()
	response, err := p.http.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		p.t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header, body: body}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&a.object); err != nil {
		p.t.Fatalf("the body is not a JSON object: %v\n%.200s", err, body)
	}
	return a
}

func (p *peer) get(path string) answer { p.t.Helper(); return p.do(p.request("GET", path, "")) }

func (p *peer) post(path string, fields map[string]any) answer {
	p.t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.do(p.request("POST", path, string(body)))
}

// member returns the fields of a call about the seeded member, and those given.
func member(fields ...any) map[string]any {
	m := map[string]any{"organization_id": sandbox.OrganizationID, "member_id": sandbox.MemberID}
	for i := 0; i < len(fields); i += 2 {
		m[fields[i].(string)] = fields[i+1]
	}
	return m
}

// at returns what stands at a path of object members, "" for the whole.
func (a answer) at(path ...string) any {
	var v any = a.object
	for _, name := range path {
		v, _ = v.(map[string]any)[name]
	}
	return v
}

func (a answer) text(path ...string) string { s, _ := a.at(path...).(string); return s }

// list returns a list of texts, nil when there is none at the path.
func (a answer) list(path ...string) []string {
	values, ok := a.at(path...).([]any)
	if !ok {
		return nil
	}
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i], _ = v.(string)
	}
	return texts
}

var requestID = regexp.MustCompile(`^request-id-test-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// wantError checks the whole of an error answer.
func (a answer) wantError(t *testing.T, status int, kind string) {
	t.Helper()
	if a.status != status || a.text("error_type") != kind {
		t.Errorf("answer is %d %q, want %d %q (%s)", a.status, a.text("error_type"), status, kind, a.text("error_message"))
	}
	if got := a.at("status_code"); got != json.Number(itoa(a.status)) {
		t.Errorf("status_code is %v beside HTTP status %d", got, a.status)
	}
	if !requestID.MatchString(a.text("request_id")) {
		t.Errorf("request_id is %q", a.text("request_id"))
	}
	if a.text("error_message") == "" || a.text("error_url") == "" || len(a.object) != 5 {
		t.Errorf("error body is not the five fields: %s", a.body)
	}
	if a.header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type is %q", a.header.Get("Content-Type"))
	}
}

func (a answer) wantOK(t *testing.T) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("answer is %d: %s", a.status, a.body)
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func (p *peer) state(memberID string) sandbox.MemberState { return p.sandbox.State().Members[memberID] }

// wholeState asks for the state over HTTP.
func (p *peer) wholeState() sandbox.State {
	p.t.Helper()
	r := p.request("GET", "/_sandbox/state", "")
	r.Header.Del("Authorization")
	a := p.do(r)
	a.wantOK(p.t)
	var state sandbox.State
	if err := json.Unmarshal(a.body, &state); err != nil {
		p.t.Fatal(err)
	}
	return state
}

// waitFor waits until a condition holds that nothing announces.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// goroutinesIn counts the goroutines that stand in a function of this name.
func goroutinesIn(function string) int {
	stacks := make([]byte, 1<<20)
	return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte(function))
}

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2030, 5, 6, 7, 8, 9, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
