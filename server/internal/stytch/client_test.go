package stytch

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient returns a client of base with limits that no test comes near unless it sets its own.
func newClient(t *testing.T, base string, change ...func(*Config)) *Client {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		BaseURL: u, ProjectID: "project-test-1", Secret: "secret-test-1", UserAgent: "recoverycodesd/test",
		ConnectTimeout: 10 * time.Second, HeaderTimeout: 10 * time.Second, Timeout: 20 * time.Second,
		MaxAnswerBytes: 1 << 20,
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// servers runs the test against HTTP/1.1 in plain text and HTTP/2 over TLS.
func servers(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, c *Client)) {
	t.Helper()
	for _, http2 := range []bool{false, true} {
		name := "HTTP/1.1"
		if http2 {
			name = "HTTP/2.0"
		}
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != name {
					t.Errorf("request came by %s", r.Proto)
				}
				handler(w, r)
			}))
			s.EnableHTTP2 = http2
			if http2 {
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			test(t, newClient(t, s.URL, func(cfg *Config) {
				if http2 {
					cfg.RootCAs = x509.NewCertPool()
					cfg.RootCAs.AddCert(s.Certificate())
				}
			}))
		})
	}
}

// calls are the three operations with a request each.
var calls = map[string]func(context.Context, *Client) Exchange{
	"Get":    func(ctx context.Context, c *Client) Exchange { return c.Get(ctx, "org", "member") },
	"Rotate": func(ctx context.Context, c *Client) Exchange { return c.Rotate(ctx, "org", "member", nil) },
	"Recover": func(ctx context.Context, c *Client) Exchange {
		return c.Recover(ctx, RecoverParams{RecoveryCode: "code"}, nil)
	},
}

func TestNothingButStytchsOwnHeadersIsSent(t *testing.T) {
	for name, do := range calls {
		t.Run(name, func(t *testing.T) {
			seen := make(chan *http.Request, 1)
			servers(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r }, func(t *testing.T, c *Client) {
				do(t.Context(), c)
				r := <-seen
				want := http.Header{
					"Authorization": {"Basic cHJvamVjdC10ZXN0LTE6c2VjcmV0LXRlc3QtMQ=="},
					"Content-Type":  {"application/json"},
					"User-Agent":    {"recoverycodesd/test"},
				}
				if name != "Get" {
					want["Content-Length"] = r.Header["Content-Length"]
				}
				if diff := cmp.Diff(want, r.Header); diff != "" {
					t.Errorf("headers (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestGetKeepsIDsInTheirSegments(t *testing.T) {
	for _, test := range []struct{ organization, member, path string }{
		{"organization-test-1", "member-test-1", "/v1/b2b/recovery_codes/organization-test-1/member-test-1"},
		{"a/b", "c?d#e", "/v1/b2b/recovery_codes/a%2Fb/c%3Fd%23e"},
		{"../..", "%2e%2e", "/v1/b2b/recovery_codes/..%2F../%252e%252e"},
		{"ext|1", "x y", "/v1/b2b/recovery_codes/ext%7C1/x%20y"},
		{"a;b", "c\nd", "/v1/b2b/recovery_codes/a%3Bb/c%0Ad"},
	} {
		t.Run(test.path, func(t *testing.T) {
			var got string
			s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RequestURI }))
			defer s.Close()
			newClient(t, s.URL).Get(t.Context(), test.organization, test.member)
			if got != test.path {
				t.Errorf("requested %q", got)
			}
			newClient(t, s.URL+"/prefix/").Get(t.Context(), test.organization, test.member)
			if got != "/prefix"+test.path {
				t.Errorf("with a prefix, requested %q", got)
			}
		})
	}
	for _, id := range []string{"", ".", ".."} {
		c := newClient(t, "http://127.0.0.1:1")
		for _, x := range []Exchange{c.Get(t.Context(), id, "m"), c.Get(t.Context(), "o", id)} {
			if x.Fault != FaultBadID || x.Sent {
				t.Errorf("id %q: %+v", id, x)
			}
		}
	}
}

func TestRecoverBody(t *testing.T) {
	text, minutes := "token & <more>", int32(60)
	for name, test := range map[string]struct {
		params RecoverParams
		want   string
	}{
		"only what is required": {
			RecoverParams{OrganizationID: "o", MemberID: "m", RecoveryCode: "c"},
			`{"organization_id":"o","member_id":"m","recovery_code":"c"}`,
		},
		"everything": {
			RecoverParams{
				OrganizationID: "o", MemberID: "m", RecoveryCode: "ckss & \u2028", SessionToken: &text, SessionJWT: &text,
				IntermediateSessionToken: &text, SessionDurationMinutes: &minutes, TelemetryID: &text,
				SessionCustomClaims: json.RawMessage(`{"gone":null,"n":1e3}`),
			},
			`{"organization_id":"o","member_id":"m","recovery_code":"ckss & \u2028",` +
				`"intermediate_session_token":"token & <more>","session_token":"token & <more>","session_jwt":"token & <more>",` +
				`"session_duration_minutes":60,"session_custom_claims":{"gone":null,"n":1e3},"telemetry_id":"token & <more>"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got, path string
			s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				got, path = strings.TrimSpace(string(text)), r.URL.Path
			}))
			defer s.Close()
			newClient(t, s.URL).Recover(t.Context(), test.params, nil)
			if path != "/v1/b2b/recovery_codes/recover" || got != test.want {
				t.Errorf("%s got\n%s\nwant\n%s", path, got, test.want)
			}
		})
	}
}

func TestStatusIsKeptWhateverTheBodyIs(t *testing.T) {
	for name, test := range map[string]struct {
		status     int
		body       string
		length     string // Content-Length when it lies
		fault      Fault
		stytchBody bool
	}{
		"success":        {status: 200, body: `{"status_code":200}`},
		"Stytch's error": {status: 404, body: `{"error_type":"member_not_found"}`, stytchBody: true},
		"HTML":           {status: 502, body: "<html>bad gateway</html>"},
		"other JSON":     {status: 403, body: `{"message":"denied"}`},
		"empty":          {status: 500},
		"truncated":      {status: 200, body: `{"status`, length: "100", fault: FaultReset},
		"too large":      {status: 200, body: strings.Repeat("x", 1<<20+1), fault: FaultTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			servers(t, func(w http.ResponseWriter, _ *http.Request) {
				if test.length != "" {
					w.Header().Set("Content-Length", test.length)
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}, func(t *testing.T, c *Client) {
				for operation, do := range calls {
					x := do(t.Context(), c)
					if x.Status != test.status || !x.Sent {
						t.Errorf("%s: status %d, sent %v", operation, x.Status, x.Sent)
					}
					// Over HTTP/2 a body that is too short is a stream error of its own.
					if (x.Fault == "") != (test.fault == "") {
						t.Errorf("%s: fault %q, want %q", operation, x.Fault, test.fault)
					}
					if x.Fault == "" && string(x.Body) != test.body {
						t.Errorf("%s: body %q", operation, x.Body)
					}
					if _, ok := x.ErrorBody(); ok != test.stytchBody {
						t.Errorf("%s: read as Stytch's error: %v", operation, ok)
					}
				}
			})
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var reached atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer target.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		servers(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", target.URL)
			w.WriteHeader(status)
		}, func(t *testing.T, c *Client) {
			for operation, do := range calls {
				if x := do(t.Context(), c); x.Status != status {
					t.Errorf("%s: status %d, want %d", operation, x.Status, status)
				}
			}
		})
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the target got %d requests", n)
	}
}

func TestNotSentWhenNoConnection(t *testing.T) {
	untrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer untrusted.Close()
	for name, test := range map[string]struct {
		base  string
		fault Fault
	}{
		"refused":               {"http://127.0.0.1:1", FaultConnect}, // a port that nothing is given by chance,
		"name does not resolve": {"http://no-such-host.invalid", FaultResolve},
		"untrusted certificate": {untrusted.URL, FaultTLS},
	} {
		t.Run(name, func(t *testing.T) {
			for operation, do := range calls {
				x := do(t.Context(), newClient(t, test.base))
				if x.Sent || x.Status != 0 || x.Fault != test.fault {
					t.Errorf("%s: %+v", operation, x)
				}
			}
		})
	}
}

func TestEndedContextSendsNothing(t *testing.T) {
	var arrived atomic.Int32
	servers(t, func(http.ResponseWriter, *http.Request) { arrived.Add(1) }, func(t *testing.T, c *Client) {
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
		defer cancel()
		for operation, do := range calls {
			if x := do(cancelled, c); x.Sent || x.Fault != FaultCancelled {
				t.Errorf("%s, cancelled: %+v", operation, x)
			}
			if x := do(late, c); x.Sent || x.Fault != FaultDeadline {
				t.Errorf("%s, too late: %+v", operation, x)
			}
		}
	})
	if n := arrived.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

// TestEffectsOutliveTheirCaller holds the promise that an effect under way is finished: the caller goes away while the
// upstream is at work, and the answer is read all the same. Get is given up.
func TestEffectsOutliveTheirCaller(t *testing.T) {
	for operation, do := range calls {
		t.Run(operation, func(t *testing.T) {
			arrived, release := make(chan struct{}, 1), make(chan struct{})
			servers(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body)
				arrived <- struct{}{}
				select {
				case <-release:
				case <-r.Context().Done():
				}
				_, _ = io.WriteString(w, "answer")
			}, func(t *testing.T, c *Client) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				result := make(chan Exchange, 1)
				go func() { result <- do(ctx, c) }()
				<-arrived
				cancel()
				if operation == "Get" {
					if x := <-result; x.Fault != FaultCancelled || !x.Sent {
						t.Errorf("%+v", x)
					}
					return
				}
				release <- struct{}{}
				if x := <-result; x.Status != 200 || string(x.Body) != "answer" || !x.Sent {
					t.Errorf("%+v", x)
				}
			})
		})
	}
}

func TestOwnLimits(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"header": func(cfg *Config) { cfg.HeaderTimeout = 30 * time.Millisecond },
		"total":  func(cfg *Config) { cfg.Timeout = 30 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
			defer s.Close()
			defer close(release)
			for operation, do := range calls {
				x := do(t.Context(), newClient(t, s.URL, change))
				if x.Fault != FaultTimeout || !x.Sent || x.Status != 0 {
					t.Errorf("%s: %+v", operation, x)
				}
			}
		})
	}
}

// TestAnEffectIsNeverRepeated cuts a kept connection after the request has been read: the case in which Go's transport
// repeats a request when it thinks it may.
func TestAnEffectIsNeverRepeated(t *testing.T) {
	for _, operation := range []string{"Recover", "Rotate"} {
		t.Run(operation, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var bodies atomic.Int32
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					r := bufio.NewReader(conn)
					for answer := true; ; answer = false {
						req, err := http.ReadRequest(r)
						if err != nil {
							break
						}
						if text, _ := io.ReadAll(req.Body); len(text) > 0 {
							bodies.Add(1)
						}
						if !answer {
							break
						}
						_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
					}
					_ = conn.Close()
				}
			}()
			c := newClient(t, "http://"+l.Addr().String())
			if x := calls[operation](t.Context(), c); x.Status != 200 {
				t.Fatalf("first: %+v", x)
			}
			x := calls[operation](t.Context(), c)
			_ = l.Close()
			<-done
			if x.Status != 0 || !x.Sent || x.Fault == "" {
				t.Errorf("second: %+v", x)
			}
			if n := bodies.Load(); n != 2 {
				t.Errorf("%d bodies arrived for two calls", n)
			}
		})
	}
}

// TestSealAndFirstRead lets the two race: whichever wins, "not sent" and bytes on their way exclude each other.
func TestSealAndFirstRead(t *testing.T) {
	for range 2000 {
		p := newPayload([]byte("body"), nil)
		sealed := make(chan bool)
		go func() { sealed <- p.seal() }()
		var b [8]byte
		n, err := p.Read(b[:])
		if <-sealed == (n > 0) {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		if again := p.seal(); again == (n > 0) {
			t.Fatalf("the answer changed: sealed %v after %d bytes", again, n)
		}
	}
}

// TestAVetoSendsNothing lets the announcement fail: no body arrives and the call is known not to have been sent. One that
// succeeds is made exactly once, before the body arrives.
func TestAVetoSendsNothing(t *testing.T) {
	var arrived, announced atomic.Int32
	servers(t, func(_ http.ResponseWriter, r *http.Request) {
		if text, err := io.ReadAll(r.Body); err == nil && len(text) > 0 {
			if announced.Load() != 1 {
				t.Errorf("a body arrived after %d announcements", announced.Load())
			}
			arrived.Add(1)
		}
	}, func(t *testing.T, c *Client) {
		arrived.Store(0)
		for range 20 {
			if x := c.Rotate(t.Context(), "o", "m", func() error { return errors.New("veto") }); x.Sent {
				t.Errorf("%+v", x)
			}
		}
		if n := arrived.Load(); n != 0 {
			t.Errorf("%d bodies arrived", n)
		}
		announced.Store(0)
		x := c.Rotate(t.Context(), "o", "m", func() error { announced.Add(1); return nil })
		if !x.Sent || x.Status != 200 || arrived.Load() != 1 {
			t.Errorf("%+v, %d arrived", x, arrived.Load())
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-3": 0, "soon": 0, "99999": time.Hour, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, func() time.Time { return now }); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// TestConnectingIsGivenUp has a server that accepts and never says a word, so that the TLS handshake hangs. The end of the
// caller's context ends that at once, and the client's own limit does in its time; either way nothing was sent.
func TestConnectingIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // the backlog accepts for it
	address := "https://" + l.Addr().String()
	for operation, do := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if x := do(ctx, newClient(t, address)); x.Sent || x.Fault != FaultDeadline {
			t.Errorf("%s, caller gone: %+v", operation, x)
		}
		cancel()
		hasty := newClient(t, address, func(cfg *Config) { cfg.ConnectTimeout = 30 * time.Millisecond })
		if x := do(t.Context(), hasty); x.Sent || x.Fault != FaultTimeout {
			t.Errorf("%s, own limit: %+v", operation, x)
		}
	}
}

// TestNoProxyFromTheEnvironment: the secret goes nowhere that no setting says.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	c := newClient(t, "https://test.stytch.com")
	if c.reads.Proxy != nil || c.effects.Proxy != nil {
		t.Error("a proxy is looked up")
	}
}

func TestNewRefuses(t *testing.T) {
	good := newClient(t, "https://test.stytch.com").cfg
	for name, break1 := range map[string]func(*Config){
		"no URL":     func(c *Config) { c.BaseURL = nil },
		"no host":    func(c *Config) { c.BaseURL = &url.URL{Scheme: "https"} },
		"scheme":     func(c *Config) { c.BaseURL = &url.URL{Scheme: "ftp", Host: "x"} },
		"no project": func(c *Config) { c.ProjectID = "" },
		"no secret":  func(c *Config) { c.Secret = "" },
		"no timeout": func(c *Config) { c.Timeout = 0 },
		"no limit":   func(c *Config) { c.MaxAnswerBytes = 0 },
	} {
		cfg := good
		break1(&cfg)
		if c, err := New(cfg); err == nil || c != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// What stands for a connection is used without TLS, and not asked for below it.
func TestConn(t *testing.T) {
	servers(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }, func(t *testing.T, c *Client) {
		var writes, conns atomic.Int64
		cfg := c.cfg
		cfg.Conn = func(inner net.Conn) net.Conn {
			conns.Add(1)
			return told{inner, &writes}
		}
		wrapped, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(wrapped.Close)
		for range 2 {
			if x := wrapped.Get(t.Context(), "o", "m"); x.Status != http.StatusOK {
				t.Errorf("%+v", x)
			}
			if x := wrapped.Rotate(t.Context(), "o", "m", nil); x.Status != http.StatusOK {
				t.Errorf("%+v", x)
			}
		}
		want, least := int64(2), int64(4) // Gets and effects do not share connections
		if cfg.BaseURL.Scheme == "https" {
			want, least = 0, 0
		}
		if conns.Load() != want || writes.Load() < least {
			t.Errorf("%d connections and %d writes were told, want %d and at least %d", conns.Load(), writes.Load(), want, least)
		}
	})
}

type told struct {
	net.Conn
	writes *atomic.Int64
}

func (c told) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}
