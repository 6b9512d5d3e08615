package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"
)

// keyServer is an issuer's server: it counts requests, and answers as it is told.
type keyServer struct {
	*httptest.Server
	mu       sync.Mutex
	requests int
	answer   http.HandlerFunc
}

func newKeyServer(t *testing.T, start func(*httptest.Server), keys ...jose.JSONWebKey) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	s.serve(t, keys...)
	start(s.Server)
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) answerWith(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *keyServer) serve(t *testing.T, keys ...jose.JSONWebKey) {
	t.Helper()
	data := keySet(t, keys...)
	s.answerWith(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
}

func (s *keyServer) fail() {
	s.answerWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
}

func (s *keyServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// jwtCaller has tokens of one issuer verified.
type jwtCaller struct {
	t *testing.T
	*clock
	v *verifier

	mu       sync.Mutex
	reported []string
}

func newJWTCaller(t *testing.T, issuer JWTIssuer) *jwtCaller {
	t.Helper()
	c := &jwtCaller{t: t, clock: newClock()}
	issuer.Issuer, issuer.Audience = testIssuer, testAudience
	var err error
	c.v, err = newVerifier([]JWTIssuer{issuer}, nil, func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reported = append(c.reported, err.Error())
	})
	if err != nil {
		t.Fatal(err)
	}
	c.v.now = c.read
	return c
}

// want verifies a token by a key, and what comes of it: nil, errToken or errKeysUnavailable.
func (c *jwtCaller) want(kid string, want error) {
	c.t.Helper()
	algorithm := jose.ES256
	if strings.HasPrefix(kid, "rsa") {
		algorithm = jose.RS256
	}
	_, err := c.v.verify(c.t.Context(), sign(c.t, algorithm, kid, claims(c.read(), nil), nil))
	if !errors.Is(err, want) {
		c.t.Errorf("a token by %s: got %v, want %v", kid, err, want)
	}
}

// landed waits until no attempt to load keys is under way.
func (c *jwtCaller) landed() {
	for _, source := range c.v.sources {
		source.mu.Lock()
		flight := source.flight
		source.mu.Unlock()
		if flight != nil {
			<-flight
		}
	}
}

func (c *jwtCaller) wantReported(want ...string) {
	c.t.Helper()
	c.landed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.reported) != len(want) {
		c.t.Fatalf("reported %q, want %q", c.reported, want)
	}
	for i := range want {
		if !strings.Contains(c.reported[i], want[i]) {
			c.t.Errorf("reported %q, want %q", c.reported, want)
		}
	}
}

func TestKeysAreFetchedOnce(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := newKeyServer(t, (*httptest.Server).Start, public("p256"))
	c := newJWTCaller(t, JWTIssuer{JWKSURL: s.URL})
	if got := s.count(); got != 0 {
		t.Errorf("%d requests before any token", got)
	}
	for range 50 {
		c.want("p256", nil)
		c.pass(10 * time.Second)
	}
	if got := s.count(); got != 1 {
		t.Errorf("%d requests in less than ten minutes, want 1", got)
	}
	c.wantReported()
	s.Close()
}

// TestFloodOfUnknownKeys: whatever key ids tokens name, from however many callers at once, the issuer is asked once a
// minute.
func TestFloodOfUnknownKeys(t *testing.T) {
	s := newKeyServer(t, (*httptest.Server).Start, public("p256"))
	c := newJWTCaller(t, JWTIssuer{JWKSURL: s.URL})
	flood := func() {
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				for j := range 10 {
					token := forge(t, fmt.Sprintf(`{"alg":"ES256","kid":"%d-%d"}`, i, j), claims(c.read(), nil),
						func(string) []byte { return make([]byte, 64) })
					if _, err := c.v.verify(t.Context(), token); !errors.Is(err, errToken) {
						t.Errorf("got %v, want a refusal", err)
					}
				}
			})
		}
		all.Wait()
	}
	flood()
	if got := s.count(); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
	c.pass(59 * time.Second)
	flood()
	if got := s.count(); got != 1 {
		t.Errorf("%d requests within a minute, want 1", got)
	}
	c.pass(time.Second)
	flood()
	if got := s.count(); got != 2 {
		t.Errorf("%d requests after a minute, want 2", got)
	}
	c.want("p256", nil)
}

func TestRotation(t *testing.T) {
	s := newKeyServer(t, (*httptest.Server).Start, public("p256-old"))
	c := newJWTCaller(t, JWTIssuer{JWKSURL: s.URL})
	c.want("p256-old", nil)
	s.serve(t, public("p256-old"), public("rsa-new"))
	c.want("rsa-new", errToken) // asked for a moment ago
	c.pass(time.Minute)
	c.want("rsa-new", nil)
	c.want("p256-old", nil)

	s.serve(t, public("rsa-new")) // the old key is withdrawn
	c.pass(10 * time.Minute)
	c.want("p256-old", nil) // and is found out on the side
	c.landed()
	c.want("p256-old", errToken)
	c.want("rsa-new", nil)
	if got := s.count(); got != 3 {
		t.Errorf("%d requests, want 3", got)
	}
}

// TestWithdrawnKeyAfterALongPause: keys that are too old are not used while newer ones can be had.
func TestWithdrawnKeyAfterALongPause(t *testing.T) {
	s := newKeyServer(t, (*httptest.Server).Start, public("p256-old"))
	c := newJWTCaller(t, JWTIssuer{JWKSURL: s.URL})
	c.want("p256-old", nil)
	s.serve(t, public("rsa-new"))
	c.pass(30 * time.Minute)
	c.want("p256-old", errToken)
}

func TestIssuerOutOfReach(t *testing.T) {
	s := newKeyServer(t, (*httptest.Server).Start, public("p256"))
	c := newJWTCaller(t, JWTIssuer{JWKSURL: s.URL})
	s.fail()
	c.want("p256", errKeysUnavailable)
	c.want("p256", errKeysUnavailable)
	if got := s.count(); got != 1 {
		t.Errorf("%d requests, want 1: the next is ten seconds later", got)
	}
	c.wantReported("status 502")
	c.pass(10 * time.Second)
	c.want("p256", errKeysUnavailable)
	c.wantReported("status 502") // not again
	s.serve(t, public("p256"))
	c.pass(10 * time.Second)
	c.want("p256", nil)

	s.fail()
	for range 143 { // ten minutes short of a day
		c.pass(10 * time.Minute)
		c.want("p256", nil)
	}
	c.pass(9 * time.Minute)
	c.want("p256", nil)
	c.wantReported("status 502", "status 502")
	c.want("rsa", errKeysUnavailable) // it might be a new one
	c.pass(time.Minute)
	c.want("p256", errKeysUnavailable)
	s.serve(t, public("p256"))
	c.pass(10 * time.Second)
	c.want("p256", nil)
}

// TestHungIssuer: nobody waits longer than his own time, and only one request is under way.
func TestHungIssuer(t *testing.T) {
	release := make(chan struct{})
	data := keySet(t, public("p256"))
	s := newKeyServer(t, (*httptest.Server).Start)
	s.answerWith(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = w.Write(data)
	})
	c := newJWTCaller(t, JWTIssuer{JWKSURL: s.URL})
	token := sign(t, jose.ES256, "p256", claims(c.read(), nil), nil)
	var patient sync.WaitGroup
	for range 10 {
		patient.Go(func() {
			if _, err := c.v.verify(t.Context(), token); err != nil {
				t.Errorf("a patient caller: %v", err)
			}
		})
	}
	hurried, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.v.verify(hurried, token); !errors.Is(err, errKeysUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("a hurried caller: %v", err)
	}
	close(release)
	patient.Wait()
	if got := s.count(); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

func TestAnswersThatAreNoKeys(t *testing.T) {
	good := keySet(t, public("p256"))
	elsewhere := newKeyServer(t, (*httptest.Server).Start, public("p256"))
	tests := []struct {
		name, reported string
		answer         http.HandlerFunc
	}{
		{"a redirect", "status 302", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		}},
		{"an error with keys in it", "status 500", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write(good)
		}},
		{"too much", "too large", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(append([]byte(strings.Repeat(" ", 1<<20)), good...))
		}},
		{"HTML", "not JSON", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>CANARY")) }},
		{"half of it", "EOF", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(good)))
			_, _ = w.Write(good[:len(good)/2])
		}},
		{"nothing", "not JSON", func(http.ResponseWriter, *http.Request) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newKeyServer(t, (*httptest.Server).Start)
			s.answerWith(tt.answer)
			c := newJWTCaller(t, JWTIssuer{JWKSURL: s.URL})
			c.want("p256", errKeysUnavailable)
			c.wantReported(tt.reported)
			if strings.Contains(c.reported[0], "CANARY") {
				t.Errorf("the answer is repeated: %s", c.reported[0])
			}
		})
	}
	if got := elsewhere.count(); got != 0 {
		t.Errorf("a redirect was followed %d times", got)
	}
}

// TestKubernetesAPIServer: keys behind an authority of one's own, and for those with a token only, which changes.
func TestKubernetesAPIServer(t *testing.T) {
	s := newKeyServer(t, (*httptest.Server).StartTLS)
	data := keySet(t, public("p256"))
	s.answerWith(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer second" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(data)
	})
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	write := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The server's certificate is its own authority.
	write(ca, encode("CERTIFICATE", s.Certificate().Raw))
	write(token, []byte("first\n"))
	c := newJWTCaller(t, JWTIssuer{JWKSURL: s.URL, CAFile: ca, TokenFile: token})
	c.want("p256", errKeysUnavailable)
	c.wantReported("status 401")
	write(token, []byte("second\n"))
	c.pass(10 * time.Second)
	c.want("p256", nil)

	stranger := newJWTCaller(t, JWTIssuer{JWKSURL: s.URL, TokenFile: token})
	stranger.want("p256", errKeysUnavailable)
	stranger.wantReported("certificate")
}

func TestKeysByFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jwks.json")
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(keySet(t, public("p256-old")))
	c := newJWTCaller(t, JWTIssuer{JWKSFile: path})
	c.want("p256-old", nil)
	write(keySet(t, public("rsa-new")))
	c.pass(10 * time.Second)
	c.want("p256-old", errToken)
	c.want("rsa-new", nil)

	write([]byte(`{"keys":[`))
	for range 10 {
		c.pass(time.Hour)
		c.want("rsa-new", nil)
	}
	c.pass(1000 * time.Hour)
	c.want("rsa-new", nil)
	c.wantReported("not JSON")
	write(keySet(t, public("p256-old")))
	c.pass(10 * time.Second)
	c.want("rsa-new", nil) // the failure made this call not wait
	c.landed()
	c.want("rsa-new", errToken)
}

// TestAnotherPolicyKeepsTheKeys: replacing the policy is no way to have the issuer asked more often, or to lose keys
// that cannot be had now.
func TestAnotherPolicyKeepsTheKeys(t *testing.T) {
	s := newKeyServer(t, (*httptest.Server).Start, public("p256"))
	c := newJWTCaller(t, JWTIssuer{JWKSURL: s.URL})
	c.want("p256", nil)
	s.fail()
	same := c.v.issuers[testIssuer]
	renew := func(issuer JWTIssuer) {
		t.Helper()
		next, err := newVerifier([]JWTIssuer{issuer}, c.v, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		next.now = c.read
		c.v = next
	}
	for range 10 {
		renew(same)
		c.want("p256", nil)
	}
	if got := s.count(); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
	another := same
	another.JWKSURL += "/other"
	renew(another)
	c.want("p256", errKeysUnavailable)
}
