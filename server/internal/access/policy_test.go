package access

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// marked is a secret that somebody has put where it does not belong. No error may show it.
const marked = "rcs_MARKED7SECRET7OF7SOMEBODY"

var hashOfMarked = secretIdentity(marked).value

// wholePolicy uses everything that a policy can have.
var wholePolicy = `# who may use the recovery codes
jwt_issuers:
  - issuer: https://kubernetes.default.svc
    audience: recoverycodes
    jwks_url: https://kubernetes.default.svc/openid/v1/jwks
    ca_file: /var/run/ca.crt
    token_file: /var/run/token
  - {issuer: accounts.example, audience: rc, jwks_file: /etc/keys.json}
trusted_sidecars:
  unix_socket: true
  loopback: false
  spiffe_ids: ["spiffe://example.org/ns/mesh/sa/gateway"]
  dns_sans: gateway.example.org
callers:
  - name: login-web
    match: { secret_sha256: ["` + strings.ToUpper(hashOfMarked) + `"], spiffe_id: "spiffe://example.org/ns/web/sa/login" }
    methods: [Recover]
    organizations: ["organization-live-07971b06", "organization-test-1"]
    rate: { per_second: 0.5, burst: 40 }
  - name: "7"
    match:
      dns_san: [a.example, b.example]
      jwt: { issuer: accounts.example, subject: "system:serviceaccount:a:b" }
    methods: Get
    organizations: "*"
`

func TestParsePolicy(t *testing.T) {
	got, err := ParsePolicy([]byte(wholePolicy))
	if err != nil {
		t.Fatal(err)
	}
	want := &Policy{
		issuers: []JWTIssuer{
			{
				Issuer: "https://kubernetes.default.svc", Audience: "recoverycodes",
				JWKSURL: "https://kubernetes.default.svc/openid/v1/jwks", CAFile: "/var/run/ca.crt", TokenFile: "/var/run/token",
			},
			{Issuer: "accounts.example", Audience: "rc", JWKSFile: "/etc/keys.json"},
		},
		sidecars: sidecars{unix: true, certificates: []identity{
			{kind: spiffeID, value: "spiffe://example.org/ns/mesh/sa/gateway"},
			{kind: dnsName, value: "gateway.example.org"},
		}},
		callers: []grant{
			{
				name: "login-web",
				identities: []identity{
					{kind: secret, value: hashOfMarked}, {kind: spiffeID, value: "spiffe://example.org/ns/web/sa/login"},
				},
				methods:       []string{"Recover"},
				organizations: []string{"organization-live-07971b06", "organization-test-1"},
				rate:          &rateLimit{perSecond: 0.5, burst: 40},
			},
			{
				name: "7",
				identities: []identity{
					{kind: dnsName, value: "a.example"}, {kind: dnsName, value: "b.example"},
					{kind: subject, issuer: "accounts.example", value: "system:serviceaccount:a:b"},
				},
				methods: []string{"Get"}, organizations: []string{"*"},
			},
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Policy{}, sidecars{}, grant{}, identity{}, rateLimit{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"login-web", "7"}, got.Callers()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// policyWith is a policy of one caller, with one of its lines replaced.
func policyWith(field, line string) string {
	lines := []string{
		"name: a", `match: {dns_san: a.example}`, "methods: [Get]", `organizations: ["*"]`,
	}
	for i, l := range lines {
		if strings.HasPrefix(l, field+":") {
			lines[i] = line
		}
	}
	if field == "rate" {
		lines = append(lines, line)
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return l == "" })
	return "callers:\n  - " + strings.Join(lines, "\n    ") + "\n"
}

func TestPolicyErrors(t *testing.T) {
	const (
		one = "callers:\n- {name: a, match: {dns_san: a}, methods: Get, organizations: '*'}\n"
		two = "- {name: b, match: {dns_san: b}, methods: Get, organizations: '*'}\n"
	)
	tests := []struct {
		name, policy string
		want         []string
	}{
		{"empty", "", []string{"line 1: the policy is empty"}},
		{"only a comment", "# later\n", []string{"line 1: the policy is empty"}},
		{"null", "---\nnull\n", []string{"line 1: the policy is empty"}},
		{"not YAML", "callers:\n  - name: [a\n", []string{"line 2: did not find expected ',' or ']'"}},
		{"not YAML to the scanner", "callers:\n  - name: @a\n", []string{"line 2: found character that cannot start any token"}},
		{"not YAML in line 1", "callers: ]\n", []string{"line 1: did not find expected node content"}},
		{"a control character", "callers: \x01", []string{"line 1: control characters are not allowed"}},
		{"two documents", one + "---\n" + one, []string{"line 3: a second document begins; a policy is one"}},
		{"garbage after the document", one + "---\n- ]\n", []string{"line 4: did not find expected node content"}},
		{"a list", "- a\n", []string{"line 1: want fields: jwt_issuers, trusted_sidecars, callers"}},
		{"a text", marked, []string{"line 1: want fields: jwt_issuers, trusted_sidecars, callers"}},
		{"too large", strings.Repeat("#", 1<<20+1), []string{"the policy is larger than 1 MiB"}},
		{"no callers", "trusted_sidecars: {loopback: true}\n", []string{"line 1: callers: is required"}},
		{"callers are none", "callers: []\n", []string{"line 1: callers: is empty"}},
		{"callers are null", "callers:\n", []string{"line 1: callers: is empty"}},
		{"callers are fields", "callers: {name: a}\n", []string{"line 1: callers: want a list"}},
		{"too many callers", "callers: [" + strings.Repeat("1,", 1001) + "]\n", []string{"line 1: callers: lists more than 1000"}},
		{"many problems", "callers: [" + strings.Repeat("1,\n", 150) + "]\n", append(
			func() (all []string) {
				for i := range 100 {
					all = append(all, fmt.Sprintf("line %d: callers[%d]: want fields: name, match, methods, organizations, rate", i+1, i))
				}
				return all
			}(), "and 50 more")},

		{"unknown field", "caller: 1\n" + one, []string{"line 1: unknown field caller; there are jwt_issuers, trusted_sidecars, callers"}},
		{"a secret as a field", marked + ": 1\n" + one,
			[]string{"line 1: unknown field of another name; there are jwt_issuers, trusted_sidecars, callers"}},
		{"a list as a field", "[a, b]: 1\n" + one, []string{"line 1: want the name of a field"}},
		{"nothing as a field", "~: 1\n" + one, []string{"line 1: is empty"}},
		{"a field twice", one + one, []string{"line 3: callers: stands here twice"}},
		{"a field of a caller twice", policyWith("name", "name: a\n    name: b"), []string{"line 3: callers[0].name: stands here twice"}},
		{"an alias", "callers: [&a {name: a, match: {dns_san: a}, methods: Get, organizations: '*'}, *a]\n", []string{
			"line 1: callers[0]: aliases and anchors are not allowed", "line 1: callers[1]: aliases and anchors are not allowed",
		}},
		{"an alias without its anchor", "callers: *" + marked + "\n",
			[]string{"line 1: an alias without its anchor; neither is allowed"}},
		{"a merge", "callers:\n- name: a\n  <<: {match: {dns_san: a}, methods: Get, organizations: '*'}\n", []string{
			"line 2: callers[0].match: is required", "line 2: callers[0].methods: is required",
			"line 2: callers[0].organizations: is required",
			"line 3: callers[0]: unknown field of another name; there are name, match, methods, organizations, rate",
		}},
		{"an anchor on a field", "&a callers: 1\n", []string{
			"line 1: aliases and anchors are not allowed", "line 1: callers: is required",
		}},
		{"a tag", policyWith("name", "name: !!str a"), []string{"line 2: callers[0].name: tags are not allowed"}},
		{"a tag of our own", policyWith("name", "name: !"+marked+" a"), []string{"line 2: callers[0].name: tags are not allowed"}},

		{"a caller without anything", "callers: [{}]\n", []string{
			"line 1: callers[0].name: is required", "line 1: callers[0].match: is required",
			"line 1: callers[0].methods: is required", "line 1: callers[0].organizations: is required",
		}},
		{"name with a capital", policyWith("name", "name: Login"), nameWrong},
		{"name with a line break", policyWith("name", `name: "a\n"`), nameWrong},
		{"name begins with a dot", policyWith("name", "name: .a"), nameWrong},
		{"name too long", policyWith("name", "name: a"+strings.Repeat("b", 63)), nameWrong},
		{"name is a list", policyWith("name", "name: [a]"), []string{"line 2: callers[0].name: want a text"}},
		{"name is empty", policyWith("name", `name: ""`), []string{"line 2: callers[0].name: is empty"}},
		{"name is reserved", policyWith("name", "name: anyone"),
			[]string{"line 2: callers[0].name: is reserved for the callers of a server without a policy"}},
		{"name twice", one + strings.Replace(two, "name: b", "name: a", 1),
			[]string{"line 3: callers[1].name: is the same as callers[0].name"}},

		{"match is a list", policyWith("match", "match: [a]"),
			[]string{"line 3: callers[0].match: want fields: secret_sha256, spiffe_id, dns_san, jwt"}},
		{"match of nothing", policyWith("match", "match: {}"), []string{"line 3: callers[0].match: names no identity"}},
		{"match of an empty list", policyWith("match", "match: {dns_san: []}"), []string{"line 3: callers[0].match.dns_san: is empty"}},
		{"match of null", policyWith("match", "match: {dns_san: }"), []string{"line 3: callers[0].match.dns_san: is empty"}},
		{"match of something else", policyWith("match", "match: {secret: "+marked+"}"), []string{
			"line 3: callers[0].match: unknown field secret; there are secret_sha256, spiffe_id, dns_san, jwt",
			"line 3: callers[0].match: names no identity",
		}},
		{"the secret instead of its hash", policyWith("match", "match: {secret_sha256: "+marked+"}"),
			[]string{"line 3: callers[0].match.secret_sha256: want 64 hex digits, the SHA-256 of a secret"}},
		{"a hash too short", policyWith("match", "match: {secret_sha256: ['"+hashOfMarked[1:]+"']}"),
			[]string{"line 3: callers[0].match.secret_sha256[0]: want 64 hex digits, the SHA-256 of a secret"}},
		{"a hash with a line break", policyWith("match", `match: {secret_sha256: ["`+hashOfMarked+`\n"]}`),
			[]string{"line 3: callers[0].match.secret_sha256[0]: want 64 hex digits, the SHA-256 of a secret"}},
		{"not SPIFFE", policyWith("match", "match: {spiffe_id: https://example.org/a}"),
			[]string{"line 3: callers[0].match.spiffe_id: want a SPIFFE id, spiffe://trust-domain/path"}},
		{"SPIFFE of a trust domain", policyWith("match", "match: {spiffe_id: 'spiffe://example.org'}"),
			[]string{"line 3: callers[0].match.spiffe_id: want a SPIFFE id, spiffe://trust-domain/path"}},
		{"a wildcard", policyWith("match", "match:\n      dns_san: [a.example, '*.example']"),
			[]string{"line 4: callers[0].match.dns_san[1]: want a DNS name in lower case, without wildcard"}},
		{"the same identity of two", one + strings.Replace(two, "dns_san: b", "dns_san: a", 1),
			[]string{"line 3: callers[1].match.dns_san: is the same as callers[0].match.dns_san"}},
		{"the same identity of one", policyWith("match", "match: {dns_san: [a, b, a]}"),
			[]string{"line 3: callers[0].match.dns_san[2]: is the same as callers[0].match.dns_san[0]"}},
		{"the same hash in capitals", policyWith("match", "match: {secret_sha256: ["+hashOfMarked+", "+strings.ToUpper(hashOfMarked)+"]}"),
			[]string{"line 3: callers[0].match.secret_sha256[1]: is the same as callers[0].match.secret_sha256[0]"}},
		{"a sidecar that is a caller", "trusted_sidecars: {dns_sans: [g, a]}\n" + one,
			[]string{"line 3: callers[0].match.dns_san: is the same as trusted_sidecars.dns_sans[1]"}},
		{"an issuer that is not there", policyWith("match", "match: {jwt: [{issuer: x, subject: y}]}"),
			[]string{"line 3: callers[0].match.jwt[0].issuer: is not in jwt_issuers"}},
		{"jwt without its parts", policyWith("match", "match: {jwt: {}}"), []string{
			"line 3: callers[0].match.jwt.issuer: is required", "line 3: callers[0].match.jwt.subject: is required",
		}},
		{"jwt is a text", policyWith("match", "match: {jwt: x}"), []string{"line 3: callers[0].match.jwt: want fields: issuer, subject"}},
		{"a subject that no token has", "jwt_issuers: [{issuer: i, audience: a, jwks_file: f}]\n" +
			policyWith("match", "match: {jwt: {issuer: i, subject: "+strings.Repeat("s", 257)+"}}"),
			[]string{"line 4: callers[0].match.jwt.subject: want at most 256 characters"}},

		{"no method", policyWith("methods", "methods: []"), []string{"line 4: callers[0].methods: is empty"}},
		{"another method", policyWith("methods", "methods: [Get, get]"),
			[]string{"line 4: callers[0].methods[1]: want Get, Recover or Rotate"}},
		{"a method twice", policyWith("methods", "methods: [Get, Get]"), []string{"line 4: callers[0].methods[1]: is listed twice"}},
		{"a slug", policyWith("organizations", "organizations: [acme]"),
			[]string{"line 5: callers[0].organizations[0]: " + wantOrganization}},
		{"an id of nothing", policyWith("organizations", "organizations: organization-live-"),
			[]string{"line 5: callers[0].organizations: " + wantOrganization}},
		{"an id that goes on", policyWith("organizations", "organizations: organization-live-1/../2"),
			[]string{"line 5: callers[0].organizations: " + wantOrganization}},
		{"an id that is too long", policyWith("organizations", "organizations: organization-live-"+strings.Repeat("1", 111)),
			[]string{"line 5: callers[0].organizations: " + wantOrganization}},
		{"all and one", policyWith("organizations", "organizations: [organization-live-1, '*']"),
			[]string{`line 5: callers[0].organizations: "*" stands beside others`}},
		{"all without quotes", policyWith("organizations", "organizations: [*]"),
			[]string{`line 5: did not find expected alphabetic or numeric character (write "*" with quotes)`}},

		{"no rate", policyWith("rate", "rate:"), []string{"line 6: callers[0].rate: is empty"}},
		{"half a rate", policyWith("rate", "rate: {per_second: 1}"), []string{"line 6: callers[0].rate.burst: is required"}},
		{"a rate of nothing", policyWith("rate", "rate: {per_second: 0, burst: 0}"), rateWrong},
		{"a negative rate", policyWith("rate", "rate: {per_second: -1, burst: -1}"), rateWrong},
		{"a rate without end", policyWith("rate", "rate: {per_second: .inf, burst: 1e9}"), rateWrong},
		{"a rate that is none", policyWith("rate", "rate: {per_second: .nan, burst: 1.5}"), rateWrong},
		{"a rate in octal", policyWith("rate", "rate: {per_second: 0x10, burst: 010}"), rateWrong},
		{"a rate in quotes", policyWith("rate", "rate: {per_second: '1', burst: \"1\"}"), rateWrong},
		{"a rate too high", policyWith("rate", "rate: {per_second: 1000001, burst: 1000001}"), rateWrong},
		{"a rate of lists", policyWith("rate", "rate: {per_second: [1], burst: {a: 1}}"), rateWrong},

		{"an issuer without anything", "jwt_issuers: [{}]\n" + one, []string{
			"line 1: jwt_issuers[0].issuer: is required", "line 1: jwt_issuers[0].audience: is required",
			"line 1: jwt_issuers[0]: want one of jwks_url and jwks_file",
		}},
		{"no issuer", "jwt_issuers: []\n" + one, []string{"line 1: jwt_issuers: is empty"}},
		{"an issuer twice", "jwt_issuers:\n- &a {issuer: i, audience: a, jwks_file: f}\n- {issuer: j, audience: a, jwks_file: f}\n" +
			"- {issuer: j, audience: b, jwks_file: f}\n" + one, []string{
			"line 2: jwt_issuers[0]: aliases and anchors are not allowed", "line 4: jwt_issuers[2].issuer: is listed twice",
		}},
		{"keys in two places", "jwt_issuers: [{issuer: i, audience: a, jwks_file: f, jwks_url: 'https://a'}]\n" + one,
			[]string{"line 1: jwt_issuers[0]: want one of jwks_url and jwks_file"}},
		{"keys in the open", "jwt_issuers: [{issuer: i, audience: a, jwks_url: 'http://example.org/keys'}]\n" + one,
			[]string{"line 1: jwt_issuers[0].jwks_url: " + wantAddress}},
		{"keys at an address with a password", "jwt_issuers: [{issuer: i, audience: a, jwks_url: 'https://a:" + marked + "@example.org'}]\n" + one,
			[]string{"line 1: jwt_issuers[0].jwks_url: " + wantAddress}},
		{"keys at an address with a query", "jwt_issuers: [{issuer: i, audience: a, jwks_url: 'https://example.org/?a=b'}]\n" + one,
			[]string{"line 1: jwt_issuers[0].jwks_url: " + wantAddress}},
		{"keys at no address", "jwt_issuers: [{issuer: i, audience: a, jwks_url: 'https:///keys'}]\n" + one,
			[]string{"line 1: jwt_issuers[0].jwks_url: " + wantAddress}},
		{"a CA for a file", "jwt_issuers: [{issuer: i, audience: a, jwks_file: f, ca_file: c, token_file: t}]\n" + one, []string{
			"line 1: jwt_issuers[0].ca_file: has no meaning without jwks_url",
			"line 1: jwt_issuers[0].token_file: has no meaning without jwks_url",
		}},
		{"an audience with a line break", "jwt_issuers: [{issuer: i, audience: \"a\\nb\", jwks_file: ' f'}]\n" + one, []string{
			"line 1: jwt_issuers[0].audience: " + wantFree, "line 1: jwt_issuers[0].jwks_file: " + wantFree,
		}},
		{"a path too long", "jwt_issuers: [{issuer: i, audience: a, jwks_file: " + strings.Repeat("f", 513) + "}]\n" + one,
			[]string{"line 1: jwt_issuers[0].jwks_file: " + wantFree}},

		{"sidecars are a list", "trusted_sidecars: [loopback]\n" + one,
			[]string{"line 1: trusted_sidecars: want fields: unix_socket, loopback, spiffe_ids, dns_sans"}},
		{"sidecars by a word", "trusted_sidecars: {loopback: yes, unix_socket: 'true', dns_sans: [], spiffe_ids: x}\n" + one, []string{
			"line 1: trusted_sidecars.unix_socket: want true or false", "line 1: trusted_sidecars.loopback: want true or false",
			"line 1: trusted_sidecars.spiffe_ids: want a SPIFFE id, spiffe://trust-domain/path",
			"line 1: trusted_sidecars.dns_sans: is empty",
		}},
		{"problems in the order of the lines", "callers:\n- name: A\n  match: {}\ntrusted_sidecars:\n  loopback: 1\njwt_issuers: 1\n", []string{
			"line 2: callers[0].name: want 1 to 63 of a-z 0-9 . _ -, a letter or digit first",
			"line 2: callers[0].methods: is required", "line 2: callers[0].organizations: is required",
			"line 3: callers[0].match: names no identity",
			"line 5: trusted_sidecars.loopback: want true or false",
			"line 6: jwt_issuers: want a list",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := ParsePolicy([]byte(tt.policy))
			if err == nil || p != nil {
				t.Fatalf("the policy is accepted: %+v", p)
			}
			if diff := cmp.Diff(tt.want, strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "MARKED") {
				t.Error("the error shows the secret")
			}
		})
	}
}

const (
	wantOrganization = `want an organization's id, organization-live-… or organization-test-…, or "*" for all`
	wantAddress      = "want an https:// address without user, query and fragment (http:// to loopback only)"
	wantFree         = "want at most 512 bytes, without control characters or white space at the ends"
)

var (
	nameWrong = []string{"line 2: callers[0].name: want 1 to 63 of a-z 0-9 . _ -, a letter or digit first"}
	rateWrong = []string{
		"line 6: callers[0].rate.per_second: want a number from 0.001 to 1000000",
		"line 6: callers[0].rate.burst: want a whole number from 1 to 1000000",
	}
)

// TestMethodsOfThePolicy holds what a policy can list to the service's own methods.
func TestMethodsOfThePolicy(t *testing.T) {
	methods := recoverycodesv1.File_stytch_b2b_recoverycodes_v1_recovery_codes_proto.Services().ByName("RecoveryCodesService").Methods()
	var all []string
	for i := range methods.Len() {
		all = append(all, string(methods.Get(i).Name()))
	}
	p, err := ParsePolicy([]byte(policyWith("methods", "methods: ["+strings.Join(all, ", ")+"]")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, p.callers[0].methods); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	anyones, refusal := Anyone().Identify(t.Context(), Evidence{})
	for _, method := range all {
		if refusal != nil || anyones.Method(method) != nil {
			t.Errorf("anyone may not use %s", method)
		}
	}
}

// TestPolicyErrorsShowNoValue puts a secret in the place of any part of a policy.
func TestPolicyErrorsShowNoValue(t *testing.T) {
	words := strings.FieldsFunc(wholePolicy, func(r rune) bool { return strings.ContainsRune(" \n[]{},:\"", r) })
	rapid.Check(t, func(t *rapid.T) {
		text := wholePolicy
		for range rapid.IntRange(1, 3).Draw(t, "times") {
			word := rapid.SampledFrom(words).Draw(t, "word")
			in := rapid.SampledFrom([]string{marked, "*" + marked, "&" + marked + " x", "!" + marked, "%" + marked, "'" + marked,
				`"\` + marked, "[" + marked, marked + ": " + marked, "!!int " + marked, "|" + marked, "\n" + marked}).Draw(t, "instead")
			text = strings.Replace(text, word, in, 1)
		}
		if _, err := ParsePolicy([]byte(text)); err != nil && strings.Contains(err.Error(), "MARKED") {
			t.Fatalf("the error shows the secret:\n%v\n%s", err, text)
		}
	})
}

// FuzzPolicy holds every policy that is accepted to what Guard relies on.
func FuzzPolicy(f *testing.F) {
	f.Add([]byte(wholePolicy))
	f.Add([]byte(policyWith("", "")))
	f.Add([]byte("callers: [[[[[[[["))
	f.Add([]byte("a: &a [*a, *a]\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePolicy(data)
		if (p == nil) == (err == nil) {
			t.Fatalf("the policy is %v, the error %v", p, err)
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "line ") && !strings.HasPrefix(line, "and ") && len(data) <= maxPolicy {
					t.Errorf("an error without a line: %q", line)
				}
			}
			return
		}
		names, identities := make(map[string]bool), make(map[identity]bool)
		for _, g := range p.callers {
			if names[g.name] || !callerName.MatchString(g.name) {
				t.Errorf("a caller is called %q", g.name)
			}
			names[g.name] = true
			if len(g.identities) == 0 || len(g.methods) == 0 || len(g.organizations) == 0 {
				t.Errorf("%s: %+v", g.name, g)
			}
			for _, id := range g.identities {
				if identities[id] || id.value == "" || slices.Contains(p.sidecars.certificates, id) {
					t.Errorf("%s: %+v", g.name, id)
				}
				identities[id] = true
				if id.kind == subject && !slices.ContainsFunc(p.issuers, func(i JWTIssuer) bool { return i.Issuer == id.issuer }) {
					t.Errorf("%s: no issuer %q", g.name, id.issuer)
				}
			}
			if g.rate != nil && !(g.rate.perSecond > 0 && g.rate.burst > 0) {
				t.Errorf("%s: %+v", g.name, *g.rate)
			}
		}
		if len(p.callers) == 0 {
			t.Error("a policy without callers")
		}
	})
}
