package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pool is what can be proved in TestProperty: names of proofs as a policy has them. Of each kind there are some.
type pool struct {
	secrets, hashes []string
	spiffe, dns     []string
	subjects        []string
	tokens          []string // of the subjects
	issuer          string
}

// listing is a policy as a person would read it: who owns which proof, and what each may do.
type listing struct {
	owner          map[string]string // of "secret 0", "spiffe 1": a caller, "sidecar" or ""
	unix, loopback bool
	methods        map[string][]string
	organizations  map[string][]string
}

var (
	allMethods       = []string{"Get", "Recover", "Rotate"}
	allOrganizations = []string{"organization-live-0", "organization-live-1", "organization-test-0"}
)

func drawListing(t *rapid.T, p pool) listing {
	l := listing{
		owner: make(map[string]string), methods: make(map[string][]string), organizations: make(map[string][]string),
		unix: rapid.Bool().Draw(t, "unix trusted"), loopback: rapid.Bool().Draw(t, "loopback trusted"),
	}
	for kind, size := range map[string]int{"secret": len(p.secrets), "spiffe": len(p.spiffe), "dns": len(p.dns), "jwt": len(p.subjects)} {
		owners := []string{"", "a", "b", "c"}
		if kind == "spiffe" || kind == "dns" {
			owners = append(owners, "sidecar", "sidecar")
		}
		for i := range size {
			l.owner[fmt.Sprint(kind, " ", i)] = rapid.SampledFrom(owners).Draw(t, "owner")
		}
	}
	l.owner["secret 0"] = "a" // a policy has a caller
	for _, name := range []string{"a", "b", "c"} {
		l.methods[name] = rapid.SliceOfNDistinct(rapid.SampledFrom(allMethods), 1, 3, rapid.ID).Draw(t, "methods")
		l.organizations[name] = rapid.OneOf(rapid.Just([]string{"*"}),
			rapid.SliceOfNDistinct(rapid.SampledFrom(allOrganizations), 1, 3, rapid.ID)).Draw(t, "organizations")
	}
	return l
}

// policy writes the listing as YAML.
func (l listing) policy(p pool) string {
	of := func(owner, kind string, values []string) (owned []string) {
		for i, value := range values {
			if l.owner[fmt.Sprint(kind, " ", i)] == owner {
				owned = append(owned, value)
			}
		}
		return owned
	}
	subjects := make([]string, len(p.subjects))
	for i, s := range p.subjects {
		subjects[i] = fmt.Sprintf("{issuer: %s, subject: %s}", testIssuer, s)
	}
	fields := func(lists map[string][]string) string {
		var all []string
		for _, field := range slices.Sorted(maps.Keys(lists)) {
			if len(lists[field]) > 0 {
				all = append(all, field+": ["+strings.Join(lists[field], ", ")+"]")
			}
		}
		return strings.Join(all, ", ")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "jwt_issuers: [%s]\n", p.issuer)
	sidecars := fields(map[string][]string{"spiffe_ids": of("sidecar", "spiffe", p.spiffe), "dns_sans": of("sidecar", "dns", p.dns)})
	fmt.Fprintf(&b, "trusted_sidecars: {unix_socket: %t, loopback: %t, %s}\ncallers:\n", l.unix, l.loopback, sidecars)
	for _, name := range []string{"a", "b", "c"} {
		match := fields(map[string][]string{
			"secret_sha256": of(name, "secret", p.hashes), "spiffe_id": of(name, "spiffe", p.spiffe),
			"dns_san": of(name, "dns", p.dns), "jwt": of(name, "jwt", subjects),
		})
		if match != "" {
			fmt.Fprintf(&b, "- {name: %s, match: {%s}, methods: [%s], organizations: ['%s']}\n",
				name, match, strings.Join(l.methods[name], ", "), strings.Join(l.organizations[name], "', '"))
		}
	}
	return b.String()
}

// proofs is what a call presents, by the names of the listing. "bad" is what proves nothing, "" is nothing at all.
type proofs struct {
	unix, loopback                       bool
	certificate, forwarded, authenticate string
}

func drawProofs(t *rapid.T) proofs {
	return proofs{
		unix: rapid.IntRange(0, 3).Draw(t, "unix") == 0, loopback: rapid.Bool().Draw(t, "loopback"),
		certificate:  rapid.SampledFrom([]string{"", "", "bad", "spiffe 0", "spiffe 1", "dns 0", "dns 1"}).Draw(t, "certificate"),
		forwarded:    rapid.SampledFrom([]string{"", "", "bad", "spiffe 0", "spiffe 1", "spiffe 2"}).Draw(t, "forwarded"),
		authenticate: rapid.SampledFrom([]string{"", "", "bad", "secret 0", "secret 1", "secret 2", "jwt 0", "jwt 1"}).Draw(t, "authorization"),
	}
}

func (x proofs) evidence(p pool, asBasic bool) Evidence {
	e := Evidence{Unix: x.unix, Loopback: x.loopback}
	var kind string
	var i int
	parse := func(s string) bool { n, _ := fmt.Sscanf(s, "%s %d", &kind, &i); return n == 2 }
	switch {
	case x.certificate == "bad":
		e.Certificate = certificate(p.spiffe...)
	case parse(x.certificate) && kind == "spiffe":
		e.Certificate = certificate(p.spiffe[i])
	case parse(x.certificate):
		e.Certificate = certificate(p.dns[i])
	}
	switch {
	case x.forwarded == "bad":
		e.ForwardedClientCert = []string{"URI=" + p.spiffe[0] + ";URI=" + p.spiffe[1]}
	case parse(x.forwarded):
		e.ForwardedClientCert = []string{"URI=" + p.spiffe[i]}
	}
	switch {
	case x.authenticate == "bad":
		e.Authorization = []string{"Bearer " + p.hashes[0]}
	case parse(x.authenticate) && kind == "jwt":
		e.Authorization = []string{p.tokens[i]}
	case parse(x.authenticate) && asBasic:
		e.Authorization = []string{basicAuth(project, p.secrets[i])}
	case parse(x.authenticate):
		e.Authorization = []string{"Bearer " + p.secrets[i]}
	}
	return e
}

// callerOf says who calls, "" for nobody, by the listing and nothing else.
func (l listing) callerOf(x proofs) string {
	who := func(proof string) string {
		if l.owner[proof] == "sidecar" {
			return ""
		}
		return l.owner[proof]
	}
	mayForward := l.unix && x.unix || l.loopback && x.loopback || l.owner[x.certificate] == "sidecar"
	said := make(map[string]bool)
	if x.forwarded != "" {
		if !mayForward {
			return ""
		}
		said[who(x.forwarded)] = true
	}
	if x.authenticate != "" {
		said[who(x.authenticate)] = true
	}
	if who(x.certificate) != "" && (len(said) == 0 || !mayForward) {
		said[who(x.certificate)] = true
	}
	if len(said) != 1 {
		return ""
	}
	return slices.Collect(maps.Keys(said))[0]
}

func (l listing) allows(x proofs, method, organization string) bool {
	name := l.callerOf(x)
	return name != "" && slices.Contains(l.methods[name], method) &&
		(slices.Contains(l.organizations[name], organization) || l.organizations[name][0] == "*")
}

// TestProperty plays random calls against random policies: what is allowed is what a plain reading of the policy allows,
// no more and no less.
func TestProperty(t *testing.T) {
	p := pool{issuer: issuerByFile(t), dns: []string{"a.example", "b.example"}, subjects: []string{"s0", "s1"}}
	for i := range 3 {
		secret, hash := NewSecret()
		p.secrets, p.hashes = append(p.secrets, secret), append(p.hashes, hash)
		p.spiffe = append(p.spiffe, fmt.Sprint("spiffe://example.org/", i))
	}
	for _, subject := range p.subjects {
		p.tokens = append(p.tokens, bearerToken(t, testIssuer, subject))
	}
	allowed, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		l := drawListing(rt, p)
		g, err := NewGuard([]byte(l.policy(p)), Options{ProjectID: project})
		if err != nil {
			rt.Fatalf("%v\n%s", err, l.policy(p))
		}
		for range 20 {
			x := drawProofs(rt)
			method := rapid.SampledFrom(append([]string{"", "Other"}, allMethods...)).Draw(rt, "method")
			organization := rapid.SampledFrom(append([]string{"", "acme", "*", "organization-live-9"}, allOrganizations...)).Draw(rt, "organization")
			c, refusal := g.Identify(t.Context(), x.evidence(p, rapid.Bool().Draw(rt, "as Basic")))
			if (c == nil) == (refusal == nil) {
				rt.Fatalf("caller %v and refusal %v", c, refusal)
			}
			got := c != nil && c.Method(method) == nil && c.Organization(organization) == nil
			if want := l.allows(x, method, organization); got != want {
				rt.Fatalf("%+v: %s of %q is allowed: %t, want %t\n%s", x, method, organization, got, want, l.policy(p))
			}
			if got {
				allowed++
			} else {
				refused++
			}
		}
	})
	if allowed < refused/100 {
		t.Errorf("only %d of %d calls were allowed: the test tests little", allowed, allowed+refused)
	}
}
