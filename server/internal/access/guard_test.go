package access

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
)

const project = "project-test-1"

// bearerToken is an Authorization header with a good token of an issuer about a subject.
func bearerToken(t *testing.T, issuer, subject string) string {
	t.Helper()
	return "Bearer " + sign(t, jose.ES256, "p256", claims(time.Now(), map[string]any{"iss": issuer, "sub": subject}), nil)
}

// issuerByFile is what stands in a policy of an issuer whose keys are in a file: the one that bearerToken signs with.
func issuerByFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, keySet(t, public("p256")), 0o600); err != nil {
		t.Fatal(err)
	}
	return "{issuer: " + testIssuer + ", audience: " + testAudience + ", jwks_file: " + path + "}"
}

func basicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// certificate returns what the guard reads of a certificate: names of spiffe:// are URIs, others DNS names.
func certificate(names ...string) *x509.Certificate {
	c := &x509.Certificate{}
	for _, name := range names {
		if strings.HasPrefix(name, "spiffe://") {
			u, _ := url.Parse(name)
			c.URIs = append(c.URIs, u)
		} else {
			c.DNSNames = append(c.DNSNames, name)
		}
	}
	return c
}

func newGuard(t *testing.T, policy string) *Guard {
	t.Helper()
	g, err := NewGuard([]byte(policy), Options{ProjectID: project})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

const (
	webID     = "spiffe://example.org/web"
	jobsID    = "spiffe://example.org/jobs"
	nobodysID = "spiffe://example.org/nobody"
	sidecarID = "spiffe://example.org/sidecar"
)

// TestIdentify is the table of who calls: what is seen of a call, and the caller or the reason that there is none.
func TestIdentify(t *testing.T) {
	keys := issuerByFile(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	webSecret, webHash := NewSecret()
	jobsSecret, jobsHash := NewSecret()
	strangers, _ := NewSecret()
	policy := func(sidecars string) string {
		return sidecars + `
jwt_issuers:
- ` + keys + `
- {issuer: https://gone.example, audience: ` + testAudience + `, jwks_url: ` + gone.URL + `/keys}
callers:
- name: web
  match:
    secret_sha256: ` + webHash + `
    spiffe_id: ` + webID + `
    dns_san: web.example
    jwt: [{issuer: ` + testIssuer + `, subject: web}, {issuer: https://gone.example, subject: web}]
  methods: Get
  organizations: "*"
- name: jobs
  match:
    secret_sha256: ` + jobsHash + `
    spiffe_id: ` + jobsID + `
    jwt: {issuer: ` + testIssuer + `, subject: jobs}
  methods: Get
  organizations: "*"
`
	}
	strict := newGuard(t, policy(""))
	trusting := newGuard(t, policy(`trusted_sidecars: {unix_socket: true, loopback: true, spiffe_ids: "`+sidecarID+`", dns_sans: [sidecar.example]}`))
	onlyUnix := newGuard(t, policy(`trusted_sidecars: {unix_socket: true}`))

	webToken, jobsToken := bearerToken(t, testIssuer, "web"), bearerToken(t, testIssuer, "jobs")
	mixed := webToken[:strings.LastIndex(webToken, ".")] + jobsToken[strings.LastIndex(jobsToken, "."):]
	const (
		unknown   = apierror.CallerUnknown
		invalid   = apierror.CredentialInvalid
		conflict  = apierror.CallerConflict
		forwarded = apierror.ForwardedIdentityRefused
	)
	one := func(values ...string) []string { return values }
	client := func(id string) []string { return []string{"Hash=00;URI=" + id} }

	tests := []struct {
		name     string
		guard    *Guard
		evidence Evidence
		want     string // the caller, in lower case, or a reason
	}{
		{"nothing", strict, Evidence{}, unknown},
		{"nothing by unix socket", trusting, Evidence{Unix: true}, unknown},

		{"secret as bearer token", strict, Evidence{Authorization: one("Bearer " + webSecret)}, "web"},
		{"scheme in small letters", strict, Evidence{Authorization: one("bearer " + jobsSecret)}, "jobs"},
		{"secret by Basic", strict, Evidence{Authorization: one(basicAuth(project, webSecret))}, "web"},
		{"Basic of another project", strict, Evidence{Authorization: one(basicAuth("project-test-2", webSecret))}, invalid},
		{"Basic with a wrong password", strict, Evidence{Authorization: one(basicAuth(project, strangers))}, invalid},
		{"Basic with a token", strict, Evidence{Authorization: one(basicAuth(project, strings.TrimPrefix(webToken, "Bearer ")))}, invalid},
		{"the hash is no secret", strict, Evidence{Authorization: one("Bearer " + webHash)}, invalid},
		{"a stranger's secret", strict, Evidence{Authorization: one("Bearer " + strangers)}, invalid},
		{"an empty header", strict, Evidence{Authorization: one("")}, invalid},
		{"another scheme", strict, Evidence{Authorization: one("Digest " + webSecret)}, invalid},
		{"the same secret twice", strict, Evidence{Authorization: one("Bearer "+webSecret, "Bearer "+webSecret)}, invalid},
		{"the secrets of two", strict, Evidence{Authorization: one("Bearer "+webSecret, "Bearer "+jobsSecret)}, invalid},

		{"JWT", strict, Evidence{Authorization: one(webToken)}, "web"},
		{"JWT of a subject without permission", strict, Evidence{Authorization: one(bearerToken(t, testIssuer, "x"))}, unknown},
		{"JWT with the signature of another", strict, Evidence{Authorization: one(mixed)}, invalid},
		{"JWT of an issuer that is not listed", strict, Evidence{Authorization: one(bearerToken(t, "https://a.example", "web"))}, invalid},
		{"JWT of an issuer that cannot be reached", strict,
			Evidence{Authorization: one(bearerToken(t, "https://gone.example", "web"))}, apierror.NotSent},
		{"the same with a good certificate", strict,
			Evidence{Authorization: one(bearerToken(t, "https://gone.example", "web")), Certificate: certificate(webID)}, apierror.NotSent},

		{"certificate with a SPIFFE id", strict, Evidence{Certificate: certificate(webID)}, "web"},
		{"certificate with a DNS name", strict, Evidence{Certificate: certificate("WEB.example")}, "web"},
		{"the URI goes before the DNS name", strict, Evidence{Certificate: certificate(jobsID, "web.example")}, "jobs"},
		{"a URI of nobody goes before it as well", strict, Evidence{Certificate: certificate(nobodysID, "web.example")}, unknown},
		{"certificate of nobody", strict, Evidence{Certificate: certificate(nobodysID)}, unknown},
		{"certificate with two SPIFFE ids", strict, Evidence{Certificate: certificate(webID, nobodysID)}, unknown},
		{"certificate without names", strict, Evidence{Certificate: certificate()}, unknown},
		{"a DNS name that is somebody's subject", strict, Evidence{Certificate: certificate("jobs")}, unknown},

		{"token and certificate of one caller", strict, Evidence{Authorization: one(webToken), Certificate: certificate(webID)}, "web"},
		{"token and certificate of two", strict, Evidence{Authorization: one(webToken), Certificate: certificate(jobsID)}, conflict},
		{"secret and certificate of two", strict, Evidence{Authorization: one("Bearer " + jobsSecret), Certificate: certificate(webID)}, conflict},
		{"token beside a certificate of nobody", strict, Evidence{Authorization: one(webToken), Certificate: certificate(nobodysID)}, "web"},
		{"token beside a certificate of two", strict,
			Evidence{Authorization: one(webToken), Certificate: certificate(jobsID, nobodysID)}, "web"},
		{"wrong secret beside a good certificate", strict,
			Evidence{Authorization: one("Bearer " + strangers), Certificate: certificate(webID)}, invalid},
		{"token without permission beside a good certificate", strict,
			Evidence{Authorization: one(bearerToken(t, testIssuer, "x")), Certificate: certificate(webID)}, unknown},

		{"header where no sidecar is trusted", strict, Evidence{Unix: true, Loopback: true, ForwardedClientCert: client(webID)}, forwarded},
		{"header from afar", trusting, Evidence{ForwardedClientCert: client(webID)}, forwarded},
		{"header from a caller", trusting, Evidence{ForwardedClientCert: client(webID), Certificate: certificate(webID)}, forwarded},
		{"header with a good token", trusting, Evidence{ForwardedClientCert: client(webID), Authorization: one(webToken)}, forwarded},
		{"empty header from afar", trusting, Evidence{ForwardedClientCert: one("")}, forwarded},
		{"header from loopback where unix is trusted", onlyUnix, Evidence{Loopback: true, ForwardedClientCert: client(webID)}, forwarded},
		{"header from the sidecar where unix is trusted", onlyUnix,
			Evidence{Certificate: certificate(sidecarID), ForwardedClientCert: client(webID)}, forwarded},

		{"header by unix socket", trusting, Evidence{Unix: true, ForwardedClientCert: client(webID)}, "web"},
		{"header by loopback", trusting, Evidence{Loopback: true, ForwardedClientCert: client(webID)}, "web"},
		{"header by the sidecar", trusting, Evidence{Certificate: certificate(sidecarID), ForwardedClientCert: client(webID)}, "web"},
		{"header by the sidecar with a DNS name", trusting,
			Evidence{Certificate: certificate("sidecar.example"), ForwardedClientCert: client(jobsID)}, "jobs"},
		{"the sidecar's name beside a URI", trusting,
			Evidence{Certificate: certificate("sidecar.example", nobodysID), ForwardedClientCert: client(webID)}, forwarded},
		{"the sidecar's id beside another", trusting,
			Evidence{Certificate: certificate(sidecarID, nobodysID), ForwardedClientCert: client(webID)}, forwarded},
		{"the last element counts", trusting,
			Evidence{Unix: true, ForwardedClientCert: one("URI=" + webID + ",URI=" + jobsID)}, "jobs"},
		{"the last value counts", trusting,
			Evidence{Unix: true, ForwardedClientCert: one("URI="+webID, "URI="+jobsID)}, "jobs"},
		{"header of nobody", trusting, Evidence{Unix: true, ForwardedClientCert: client(nobodysID)}, unknown},
		{"header of the sidecar itself", trusting, Evidence{Unix: true, ForwardedClientCert: client(sidecarID)}, unknown},
		{"header malformed", trusting, Evidence{Unix: true, ForwardedClientCert: one("URI")}, invalid},
		{"header empty", trusting, Evidence{Unix: true, ForwardedClientCert: one("")}, invalid},
		{"header of nobody beside a good token", trusting,
			Evidence{Unix: true, ForwardedClientCert: client(nobodysID), Authorization: one(webToken)}, unknown},
		{"header malformed beside a good token", trusting,
			Evidence{Unix: true, ForwardedClientCert: one("nonsense"), Authorization: one(webToken)}, invalid},
		{"header beside a wrong token", trusting,
			Evidence{Unix: true, ForwardedClientCert: client(webID), Authorization: one("Bearer " + strangers)}, invalid},
		{"header and token of one", trusting,
			Evidence{Unix: true, ForwardedClientCert: client(webID), Authorization: one(webToken)}, "web"},
		{"header and token of two", trusting,
			Evidence{Unix: true, ForwardedClientCert: client(webID), Authorization: one(jobsToken)}, conflict},
		{"header beside the certificate of who forwards", trusting,
			Evidence{Loopback: true, ForwardedClientCert: client(webID), Certificate: certificate(jobsID)}, "web"},
		{"token beside the certificate of who forwards", trusting,
			Evidence{Loopback: true, Authorization: one(webToken), Certificate: certificate(jobsID)}, "web"},
		{"token by the sidecar", trusting, Evidence{Certificate: certificate(sidecarID), Authorization: one(webToken)}, "web"},
		{"the sidecar on its own", trusting, Evidence{Certificate: certificate(sidecarID)}, unknown},
		{"a caller by loopback", trusting, Evidence{Loopback: true, Certificate: certificate(webID)}, "web"},
	}
	codeOf := map[string]codes.Code{apierror.NotSent: codes.Unavailable}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, refusal := tt.guard.Identify(t.Context(), tt.evidence)
			if got := answerOf(c, refusal); got != tt.want {
				t.Fatalf("got %s, want %s", got, tt.want)
			}
			if refusal == nil {
				return
			}
			want := codes.Unauthenticated
			if code, ok := codeOf[refusal.Reason]; ok {
				want = code
			}
			if refusal.Code != want || (refusal.RetryAfter > 0) != (want == codes.Unavailable) {
				t.Errorf("got %v, to be tried after %v; want %v", refusal.Code, refusal.RetryAfter, want)
			}
			for _, part := range slices.Concat(tt.evidence.Authorization, tt.evidence.ForwardedClientCert, one("web", "jobs", "example")) {
				if part != "" && strings.Contains(refusal.Message, part) {
					t.Errorf("the text tells %q: %s", part, refusal.Message)
				}
			}
		})
	}

	t.Run("anyone", func(t *testing.T) {
		for _, tt := range tests {
			if c, refusal := Anyone().Identify(t.Context(), tt.evidence); answerOf(c, refusal) != "anyone" {
				t.Errorf("%s: got %s", tt.name, answerOf(c, refusal))
			}
		}
	})
}

// answerOf is the caller's name or the reason of the refusal. One of the two there must be.
func answerOf(c *Caller, refusal *apierror.Error) string {
	if (c == nil) == (refusal == nil) {
		return fmt.Sprintf("caller %v and refusal %v", c, refusal)
	}
	if refusal != nil {
		return refusal.Reason
	}
	return c.Name()
}

func TestBasicWithoutAProject(t *testing.T) {
	secret, hash := NewSecret()
	g, err := NewGuard([]byte(policyWith("match", "match: {secret_sha256: "+hash+"}")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		basicAuth("", secret): apierror.CredentialInvalid, basicAuth("x", secret): apierror.CredentialInvalid, "Bearer " + secret: "a",
	} {
		if got := answerOf(g.Identify(t.Context(), Evidence{Authorization: []string{value}})); got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
}

func TestReplace(t *testing.T) {
	ask := func(g *Guard) string {
		return answerOf(g.Identify(t.Context(), Evidence{Certificate: certificate("a.example")}))
	}
	g := newGuard(t, policyWith("", ""))
	for _, bad := range []string{
		"", "\x00garbage", policyWith("methods", ""),
		"jwt_issuers: [{issuer: i, audience: a, jwks_file: /nowhere/keys}]\n" + policyWith("name", "name: b"),
	} {
		if err := g.Replace([]byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "policy: ") {
			t.Errorf("%q: %v", bad, err)
		}
		if got := ask(g); got != "a" {
			t.Errorf("after %q the caller is %s", bad, got)
		}
	}
	if err := g.Replace([]byte(policyWith("name", "name: b"))); err != nil || ask(g) != "b" {
		t.Errorf("after a good policy the caller is %s: %v", ask(g), err)
	}
	if err := g.Replace([]byte(policyWith("match", "match: {dns_san: b.example}"))); err != nil || ask(g) != apierror.CallerUnknown {
		t.Errorf("after the caller has left it is %s: %v", ask(g), err)
	}
	anyones := Anyone()
	if err := anyones.Replace([]byte(policyWith("", ""))); err == nil || ask(anyones) != "anyone" {
		t.Errorf("the policy of anyone was replaced: %v, %s", err, ask(anyones))
	}
	if _, err := NewGuard([]byte("callers:"), Options{}); err == nil {
		t.Error("a guard of a wrong policy")
	}
}

// TestReplaceKeepsKeys counts the requests for keys.
func TestReplaceKeepsKeys(t *testing.T) {
	set := keySet(t, public("p256"))
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(set)
	}))
	defer server.Close()
	policy := func(name, of string) string {
		return "jwt_issuers: [{issuer: " + of + ", audience: " + testAudience + ", jwks_url: " + server.URL + "}]\n" +
			strings.Replace(policyWith("match", "match: {jwt: {issuer: "+of+", subject: s}}"), "name: a", "name: "+name, 1)
	}
	g := newGuard(t, policy("a", testIssuer))
	for i, step := range []struct {
		policy, issuer, want string
		asked                int32
	}{
		{policy("a", testIssuer), testIssuer, "a", 1},
		{policy("b", testIssuer), testIssuer, "b", 1},
		{policy("b", "https://b.example"), "https://b.example", "b", 2},
	} {
		if err := g.Replace([]byte(step.policy)); err != nil {
			t.Fatal(err)
		}
		e := Evidence{Authorization: []string{bearerToken(t, step.issuer, "s")}}
		if got := answerOf(g.Identify(t.Context(), e)); got != step.want {
			t.Errorf("step %d: got %s, want %s", i, got, step.want)
		}
		if n := asked.Load(); n != step.asked {
			t.Errorf("step %d: the keys were asked for %d times, want %d", i, n, step.asked)
		}
	}
}

// TestReport: an operator hears of keys that cannot be had.
func TestReport(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	told := make(chan error, 1)
	g, err := NewGuard([]byte("jwt_issuers: [{issuer: "+testIssuer+", audience: a, jwks_url: "+gone.URL+"}]\n"+policyWith("", "")),
		Options{Report: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	token := bearerToken(t, testIssuer, "s")
	if got := answerOf(g.Identify(t.Context(), Evidence{Authorization: []string{token}})); got != apierror.NotSent {
		t.Errorf("got %s", got)
	}
	if err := <-told; !strings.Contains(err.Error(), testIssuer) {
		t.Errorf("told %v", err)
	}
}

// TestReplaceWhileIdentifying: every call sees one policy or the other, whole. It is for the race detector, too.
func TestReplaceWhileIdentifying(t *testing.T) {
	secret, hash := NewSecret()
	policy := func(name, method, organization, rate string) []byte {
		return []byte("callers: [{name: " + name + ", match: {secret_sha256: " + hash + "}, methods: " + method +
			", organizations: organization-test-" + organization + ", rate: {per_second: " + rate + ", burst: 1000000}}]")
	}
	a, b := policy("a", "Get", "1", "1000000"), policy("b", "Rotate", "2", "900000")
	g := newGuard(t, string(a))
	e := Evidence{Authorization: []string{"Bearer " + secret}}
	done := make(chan error)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 2000 {
				c, refusal := g.Identify(t.Context(), e)
				if refusal != nil {
					done <- refusal
					return
				}
				isA := c.Name() == "a"
				if (c.Method("Get") == nil) != isA || (c.Method("Rotate") == nil) == isA ||
					(c.Organization("organization-test-1") == nil) != isA || (c.Organization("organization-test-2") == nil) == isA {
					done <- errors.New("a caller of two policies")
					return
				}
				_ = c.Take()
			}
		})
	}
	go func() { group.Wait(); close(done) }()
	for i := 0; ; i++ {
		next := [][]byte{b, []byte("garbage"), a}[i%3]
		if err := g.Replace(next); (err != nil) != (i%3 == 1) {
			t.Errorf("replaced by %s: %v", next, err)
		}
		select {
		case err, open := <-done:
			if open {
				t.Error(err)
				continue
			}
			return
		default:
		}
	}
}
