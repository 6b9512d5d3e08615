package access

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/test/daemon"
)

// A grant is what a policy gives a caller.
type grant struct {
	caller        string
	methods       []string
	organizations []string
}

// grants are the policies of the table. The rival is there to be in conflict with.
var grants = []grant{
	{"everything", []string{"Get", "Recover", "Rotate"}, []string{"*"}},
	{"login", []string{"Recover"}, []string{organization}},
	{"stranger-to-it", []string{"Get", "Recover"}, []string{another}},
	{"support", []string{"Get", "Rotate"}, []string{another, organization}},
	{"rival", []string{"Get", "Recover", "Rotate"}, []string{"*"}},
}

// decides is the rule, as docs/access.md tells it, for a caller who is known: why a call is refused, or what the sandbox
// makes of it.
func (g grant) decides(method, handle string) string {
	switch {
	case !slices.Contains(g.methods, method):
		return "OPERATION_NOT_ALLOWED"
	case g.organizations[0] != "*" && handle == slug:
		return "ORGANIZATION_ID_REQUIRED"
	case g.organizations[0] != "*" && !slices.Contains(g.organizations, handle):
		return "ORGANIZATION_NOT_ALLOWED"
	case handle == another:
		return "ORGANIZATION_NOT_FOUND" // by the sandbox
	default:
		return ""
	}
}

// policyOf writes the policy in which each grant's caller is known by every kind of proof.
func policyOf(sidecars, issuers string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "trusted_sidecars: %s\n%scallers:\n", sidecars, issuers)
	for _, g := range grants {
		fmt.Fprintf(&text, "  - name: %s\n    match:\n      secret_sha256: %s\n      spiffe_id: %s\n      dns_san: %s.example.org\n",
			g.caller, hashOf(g.caller), spiffe(g.caller), g.caller)
		if issuers != "" {
			fmt.Fprintf(&text, "      jwt: [{ issuer: %q, subject: %s }, { issuer: %q, subject: %s }]\n",
				fileIssuer, g.caller, urlIssuer, g.caller)
		}
		fmt.Fprintf(&text, "    methods: [%s]\n    organizations: [\"%s\"]\n",
			strings.Join(g.methods, ", "), strings.Join(g.organizations, `", "`))
	}
	return text.String()
}

const (
	fileIssuer = "https://issuer.example.org/file"
	urlIssuer  = "https://issuer.example.org/url"
)

// A kind is a kind of proof: to which server it is shown, and what it is for a caller.
type kind struct {
	name        string
	server      string
	certificate func(caller string) tls.Certificate // nil: the peer has none
	headers     func(caller string) headers
	refused     string // why it proves nobody; empty when it proves the caller
}

// TestTheTable makes every call of (kind of proof × policy × method × organization × door) and holds it to the rule. What
// is refused says nothing about organization and member, and does not reach the upstream.
func TestTheTable(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	servers, clients := newAuthority(t, "servers"), newAuthority(t, "clients")
	byFile, byURL, forged := newIssuer(t, fileIssuer), newIssuer(t, urlIssuer), newIssuer(t, fileIssuer)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(byURL.keys(t)) }))
	defer keys.Close()
	issuers := fmt.Sprintf("jwt_issuers:\n  - { issuer: %q, audience: %s, jwks_file: %q }\n  - { issuer: %q, audience: %s, jwks_url: %q }\n",
		fileIssuer, audience, file(t, "keys.json", string(byFile.keys(t))), urlIssuer, audience, keys.URL)
	_, secure := serve(t, servers.server(t), clients)
	sockets := socketDir(t)
	unix := func(name string) []string {
		return []string{"--grpc-listen=unix:" + filepath.Join(sockets, name+".g"), "--http-listen=unix:" + filepath.Join(sockets, name+".h")}
	}
	daemons := make(map[string]*daemon.Daemon)
	for name, s := range map[string]struct {
		sidecars, issuers string
		args              []string
	}{
		"TLS":                    {`{ spiffe_ids: ["spiffe://example.org/gateway"] }`, issuers, secure},
		"loopback":               {"{ loopback: true }", "", nil},
		"a socket":               {"{ unix_socket: true }", "", unix("trusted")},
		"a socket without trust": {"{ unix_socket: false, loopback: true }", "", unix("other")},
	} {
		daemons[name] = daemon.Start(t, sandbox.Env, append(s.args, "--policy="+file(t, "policy.yaml", policyOf(s.sidecars, s.issuers)))...)
	}

	uri := func(caller string) tls.Certificate { return clients.uri(t, spiffe(caller)) }
	dns := func(caller string) tls.Certificate { return clients.dns(t, caller+".example.org") }
	of := func(certificate tls.Certificate) func(string) tls.Certificate {
		return func(string) tls.Certificate { return certificate }
	}
	gateway, rival, stray := of(uri("gateway")), of(uri("rival")), of(uri("stray"))
	none := func(string) headers { return nil }
	both := func(a, b func(string) headers) func(string) headers {
		return func(caller string) headers { return a(caller).and(b(caller)...) }
	}
	byRival := func(string) headers { return bearer("rival") }
	stranger := func(string) headers { return bearer("nobody") }
	token := func(i *issuer, change func(*jwt.Claims)) func(string) headers {
		return func(caller string) headers { return i.token(t, caller, change) }
	}
	project := func(caller string) headers { return basic(projectID, caller) }

	kinds := []kind{
		{"none", "TLS", nil, none, "CALLER_UNKNOWN"},
		{"a bearer secret", "TLS", nil, bearer, ""},
		{"a bearer secret of nobody's", "TLS", nil, stranger, "CREDENTIAL_INVALID"},
		{"a bearer secret twice", "TLS", nil, both(bearer, bearer), "CREDENTIAL_INVALID"},
		{"Basic with the project's id", "TLS", nil, project, ""},
		{"Basic with another project's id", "TLS", nil, func(caller string) headers { return basic("project-test-1", caller) }, "CREDENTIAL_INVALID"},
		{"Basic without a user", "TLS", nil, func(caller string) headers { return basic("", caller) }, "CREDENTIAL_INVALID"},
		{"another scheme", "TLS", nil, func(caller string) headers { return authorization("Digest " + secretOf(caller)) }, "CREDENTIAL_INVALID"},
		{"a JWT, keys by file", "TLS", nil, token(byFile, nil), ""},
		{"a JWT, keys by URL", "TLS", nil, token(byURL, nil), ""},
		{"a JWT of nobody's", "TLS", nil, func(string) headers { return byFile.token(t, "nobody", nil) }, "CALLER_UNKNOWN"},
		{"a JWT signed by another", "TLS", nil, token(forged, nil), "CREDENTIAL_INVALID"},
		{"a JWT for another audience", "TLS", nil, token(byFile, func(c *jwt.Claims) { c.Audience = jwt.Audience{"billing"} }), "CREDENTIAL_INVALID"},
		{"a JWT that has expired", "TLS", nil,
			token(byURL, func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Second)) }), "CREDENTIAL_INVALID"},
		{"a certificate with a URI", "TLS", uri, none, ""},
		{"a certificate with a DNS name", "TLS", dns, none, ""},
		{"a certificate of nobody's", "TLS", stray, none, "CALLER_UNKNOWN"},
		{"a sidecar's certificate alone", "TLS", gateway, none, "CALLER_UNKNOWN"},
		{"the word of a listed sidecar", "TLS", gateway, xfcc, ""},
		{"the word of a listed sidecar for nobody", "TLS", gateway, func(string) headers { return xfcc("nobody") }, "CALLER_UNKNOWN"},
		{"the malformed word of a listed sidecar", "TLS", gateway,
			func(caller string) headers { return xfcc(caller).and("x-forwarded-client-cert", "URI") }, "CREDENTIAL_INVALID"},
		{"the word of a peer without a certificate", "TLS", nil, xfcc, "FORWARDED_IDENTITY_REFUSED"},
		{"the word of a caller for itself", "TLS", uri, xfcc, "FORWARDED_IDENTITY_REFUSED"},

		{"a certificate of nobody's and a secret", "TLS", stray, bearer, ""},
		{"a certificate and a secret that agree", "TLS", uri, bearer, ""},
		{"a certificate and a JWT that agree", "TLS", dns, token(byFile, nil), ""},
		{"a sidecar's word and a secret that agree", "TLS", gateway, both(xfcc, bearer), ""},
		{"a certificate and another's secret", "TLS", uri, byRival, "CALLER_CONFLICT"},
		{"a secret and another's certificate", "TLS", rival, bearer, "CALLER_CONFLICT"},
		{"a JWT and another's certificate", "TLS", rival, token(byURL, nil), "CALLER_CONFLICT"},
		{"a sidecar's word and another's secret", "TLS", gateway, both(xfcc, byRival), "CALLER_CONFLICT"},
		{"a certificate and a secret of nobody's", "TLS", uri, stranger, "CREDENTIAL_INVALID"},
		{"a sidecar's word and a secret of nobody's", "TLS", gateway, both(xfcc, stranger), "CREDENTIAL_INVALID"},

		{"none", "loopback", nil, none, "CALLER_UNKNOWN"},
		{"a bearer secret", "loopback", nil, bearer, ""},
		{"a sidecar's word", "loopback", nil, xfcc, ""},
		{"a sidecar's word and another's secret", "loopback", nil, both(xfcc, byRival), "CALLER_CONFLICT"},
		{"none", "a socket", nil, none, "CALLER_UNKNOWN"},
		{"Basic with the project's id", "a socket", nil, project, ""},
		{"a sidecar's word", "a socket", nil, xfcc, ""},
		{"a sidecar's word and another's secret", "a socket", nil, both(xfcc, byRival), "CALLER_CONFLICT"},
		{"a bearer secret", "a socket without trust", nil, bearer, ""},
		{"a sidecar's word", "a socket without trust", nil, xfcc, "FORWARDED_IDENTITY_REFUSED"},
	}

	calls := &ledger{reasons: make(map[string]string), texts: make(map[string]string)}
	for _, k := range kinds {
		t.Run(k.name+" by "+k.server, func(t *testing.T) {
			for _, g := range grants[:len(grants)-1] {
				var config *tls.Config
				if k.server == "TLS" {
					config = trusting(servers.pool())
					if k.certificate != nil {
						config = trusting(servers.pool(), k.certificate(g.caller))
					}
				}
				calls.make(t, k, g, connectWith(t, daemons[k.server], config))
			}
		})
	}
	calls.compare(t, sandbox)
}

// ledger is what was said of each call, to be compared with what the upstream has seen.
type ledger struct {
	reasons map[string]string // by member
	texts   map[string]string // what was said for a reason, by kind of proof
}

// make makes the calls of a caller with a kind of proof.
func (l *ledger) make(t *testing.T, k kind, g grant, p *peer) {
	shown := k.headers(g.caller)
	for _, method := range []string{"Get", "Recover", "Rotate"} {
		for _, handle := range []string{organization, another, slug} {
			want := k.refused
			if want == "" {
				want = g.decides(method, handle)
			}
			for door, call := range doors {
				t.Run(strings.Join([]string{g.caller, method, handle, door}, " "), func(t *testing.T) {
					id := fresh(fmt.Sprint(len(l.reasons)))
					got := call(p, t, request(method, handle, id, rightCode), shown)
					got.is(t, want)
					l.reasons[id] = want
					if want != "" && want != "ORGANIZATION_NOT_FOUND" {
						l.refusal(t, k, got, id)
					}
				})
			}
		}
	}
}

// refusal looks at what comes with a refusal of this server's: always the same for the same, with a challenge over HTTP,
// and nothing about the organization and the member, whose names the caller has given.
func (l *ledger) refusal(t *testing.T, k kind, got answer, id string) {
	t.Helper()
	key := k.name + "\x00" + got.reason
	if said, ok := l.texts[key]; ok && said != got.message {
		t.Errorf("it says %q, and elsewhere %q", got.message, said)
	}
	l.texts[key] = got.message
	for _, word := range []string{id, organization, another, slug, "SECRET-OF", "eyJ"} {
		if strings.Contains(got.raw, word) {
			t.Errorf("%q in the answer: %s", word, got.raw)
		}
	}
	if got.retry != 0 {
		t.Errorf("try again after %v", got.retry)
	}
	if got.http == 0 {
		if got.domain != "recoverycodes.internal" {
			t.Errorf("said by %q", got.domain)
		}
		return
	}
	var want []string
	if got.http == http.StatusUnauthorized {
		want = []string{`Bearer realm="recoverycodes"`, `Basic realm="recoverycodes"`}
	}
	if challenge := got.header.Values("WWW-Authenticate"); !slices.Equal(challenge, want) {
		t.Errorf("WWW-Authenticate %q", challenge)
	}
}

// compare holds what was said to what the upstream has seen: each call that passed once, and nothing of the others.
func (l *ledger) compare(t *testing.T, sandbox *daemon.Sandbox) {
	t.Helper()
	arrived := sandbox.Members(t)
	passed := 0
	for id, reason := range l.reasons {
		n := arrived[id].Calls
		switch {
		case reason == "" && n.Get+n.Recover+n.Rotate != 1:
			t.Errorf("%s: %+v", id, n)
		case reason == "":
			passed++
		case n != daemon.Counts{}:
			t.Errorf("%s was refused as %s and has cost the upstream %+v", id, reason, n)
		}
	}
	if passed < 200 || len(l.reasons)-passed < 1000 {
		t.Errorf("%d calls, of which %d passed: the table has become too small", len(l.reasons), passed)
	}
}

// TestKeysThatCannotBeHad: a token that nobody can judge is neither good nor wrong; the call was not sent and may be made
// again. Other proofs do not need the keys.
func TestKeysThatCannotBeHad(t *testing.T) {
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	d := daemon.Start(t, nil, "--sandbox", "--policy="+file(t, "policy.yaml",
		fmt.Sprintf("jwt_issuers: [{ issuer: %q, audience: %s, jwks_url: %q }]\n%s", urlIssuer, audience, nobody.URL, one(""))))
	p := connect(t, d)
	get := request("Get", slug, member, "")
	for _, call := range doors {
		got := call(p, t, get, newIssuer(t, urlIssuer).token(t, "one", nil))
		if got.as(t, "NOT_SENT", codes.Unavailable, http.StatusServiceUnavailable); got.retry <= 0 {
			t.Error("no hint when to try again")
		}
		call(p, t, get, bearer("one")).is(t, "")
	}
	notReloaded(t, d, "jwks", 1)
}
