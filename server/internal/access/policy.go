package access

import (
	"errors"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits on a policy, so that a wrong file cannot make the server carry more.
const (
	maxPolicy  = 1 << 20
	maxCallers = 1000
	minRate    = 0.001
	maxRate    = 1_000_000
)

// anyOrganization stands in a policy for all of them.
const anyOrganization = "*"

// Policy is a policy file that has been checked. It does not change.
type Policy struct {
	issuers  []JWTIssuer
	sidecars sidecars
	callers  []grant // in the order of the file
}

// sidecars are the peers who may speak for others.
type sidecars struct {
	unix, loopback bool
	certificates   []identity
}

// grant is what a policy says of one caller.
type grant struct {
	name          string
	identities    []identity // at least one
	methods       []string   // at least one
	organizations []string   // ids, or nothing but anyOrganization
	rate          *rateLimit // nil: no limit of its own
}

type rateLimit struct {
	perSecond float64
	burst     int
}

// Callers returns the names of the callers in the order of the file.
func (p *Policy) Callers() []string {
	names := make([]string, len(p.callers))
	for i := range p.callers {
		names[i] = p.callers[i].name
	}
	return names
}

// ParsePolicy reads a policy. The error joins everything that is wrong with it, one line for each, with the line of the
// file and the field. It never shows a value: whoever pastes a secret where its hash belongs must not find it in a log.
//
// Only the text is looked at. Whether the files and addresses that it names can be read, NewGuard finds out.
func ParsePolicy(data []byte) (*Policy, error) {
	if len(data) > maxPolicy {
		return nil, errors.New("the policy is larger than 1 MiB")
	}
	var found problems
	root, err := document(data, &found)
	if err != nil {
		return nil, err
	}
	r := &policyReader{taken: make(map[identity]string), names: make(map[string]string)}
	p := r.policy(root)
	if err := found.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// policyReader is what must be known of the rest of a policy to judge a part of it.
type policyReader struct {
	issuers []string            // of jwt_issuers
	taken   map[identity]string // the field at which an identity has been given to a caller or a sidecar
	names   map[string]string   // likewise for names of callers
}

func (r *policyReader) policy(root value) *Policy {
	p := &Policy{}
	m, ok := root.mapping("jwt_issuers", "trusted_sidecars", "callers")
	if !ok {
		return p
	}
	if v, ok := m.optional("jwt_issuers"); ok {
		for _, e := range v.list() {
			p.issuers = append(p.issuers, r.issuer(e))
		}
	}
	if v, ok := m.optional("trusted_sidecars"); ok {
		p.sidecars = r.sidecars(v)
	}
	if v, ok := m.required("callers"); ok {
		callers := v.list()
		if len(callers) > maxCallers {
			v.wrong("lists more than %d", maxCallers)
			callers = nil
		}
		for _, e := range callers {
			p.callers = append(p.callers, r.caller(e))
		}
	}
	return p
}

func (r *policyReader) issuer(v value) (i JWTIssuer) {
	m, ok := v.mapping("issuer", "audience", "jwks_url", "jwks_file", "ca_file", "token_file")
	if !ok {
		return i
	}
	if v, ok := m.required("issuer"); ok {
		i.Issuer = v.free()
		if slices.Contains(r.issuers, i.Issuer) {
			v.wrong("is listed twice")
		}
		if i.Issuer != "" {
			r.issuers = append(r.issuers, i.Issuer)
		}
	}
	if v, ok := m.required("audience"); ok {
		i.Audience = v.free()
	}
	address, fetched := m.optional("jwks_url")
	if fetched {
		i.JWKSURL = address.free()
		if i.JWKSURL != "" && !keysAddress(i.JWKSURL) {
			address.wrong("want an https:// address without user, query and fragment (http:// to loopback only)")
		}
	}
	file, read := m.optional("jwks_file")
	if read {
		i.JWKSFile = file.free()
	}
	if fetched == read {
		v.wrong("want one of jwks_url and jwks_file")
	}
	for _, of := range []struct {
		field string
		to    *string
	}{{"ca_file", &i.CAFile}, {"token_file", &i.TokenFile}} {
		if v, ok := m.optional(of.field); ok {
			*of.to = v.free()
			if !fetched {
				v.wrong("has no meaning without jwks_url")
			}
		}
	}
	return i
}

// keysAddress says whether keys may be fetched from an address: whoever can change them on their way can be anybody.
func keysAddress(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && local
}

func (r *policyReader) sidecars(v value) (s sidecars) {
	m, ok := v.mapping("unix_socket", "loopback", "spiffe_ids", "dns_sans")
	if !ok {
		return s
	}
	if v, ok := m.optional("unix_socket"); ok {
		s.unix = v.boolean()
	}
	if v, ok := m.optional("loopback"); ok {
		s.loopback = v.boolean()
	}
	if v, ok := m.optional("spiffe_ids"); ok {
		s.certificates = append(s.certificates, r.identities(v, readSPIFFE)...)
	}
	if v, ok := m.optional("dns_sans"); ok {
		s.certificates = append(s.certificates, r.identities(v, readDNSName)...)
	}
	return s
}

var callerName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

func (r *policyReader) caller(v value) (g grant) {
	m, ok := v.mapping("name", "match", "methods", "organizations", "rate")
	if !ok {
		return g
	}
	if v, ok := m.required("name"); ok {
		g.name = v.form(callerName.MatchString, "1 to 63 of a-z 0-9 . _ -, a letter or digit first")
		if first := r.names[g.name]; first != "" {
			v.wrong("is the same as %s", first)
		}
		if g.name == anyone {
			v.wrong("is reserved for the callers of a server without a policy")
		}
		if g.name != "" {
			r.names[g.name] = v.field
		}
	}
	if v, ok := m.required("match"); ok {
		g.identities = r.match(v)
	}
	if v, ok := m.required("methods"); ok {
		g.methods = choices(v, methodName, "Get, Recover or Rotate")
	}
	if v, ok := m.required("organizations"); ok {
		g.organizations = choices(v, organization,
			`an organization's id, organization-live-… or organization-test-…, or "*" for all`)
		if len(g.organizations) > 1 && slices.Contains(g.organizations, anyOrganization) {
			v.wrong(`"*" stands beside others`)
		}
	}
	if v, ok := m.optional("rate"); ok {
		g.rate = readRate(v)
	}
	return g
}

var (
	methodName   = regexp.MustCompile(`^(Get|Recover|Rotate)$`)
	organization = regexp.MustCompile(`^(\*|organization-(live|test)-[A-Za-z0-9_-]{1,110})$`) // ids have at most 128 characters
)

// choices reads one text of a form, or a list of different ones.
func choices(v value, form *regexp.Regexp, want string) (all []string) {
	for _, e := range v.oneOrMore() {
		text := e.form(form.MatchString, want)
		if text != "" && slices.Contains(all, text) {
			e.wrong("is listed twice")
		}
		all = append(all, text)
	}
	return all
}

// match reads what a caller is known by.
func (r *policyReader) match(v value) (all []identity) {
	m, ok := v.mapping(string(secret), string(spiffeID), string(dnsName), string(subject))
	if !ok {
		return nil
	}
	for _, of := range []struct {
		kind kind
		read func(value) identity
	}{{secret, readHash}, {spiffeID, readSPIFFE}, {dnsName, readDNSName}, {subject, r.subject}} {
		if v, ok := m.optional(string(of.kind)); ok {
			all = append(all, r.identities(v, of.read)...)
		}
	}
	if len(m.fields) == 0 {
		v.wrong("names no identity")
	}
	return all
}

// identities reads one identity or a list. No identity stands twice in a policy: two callers with the same could not be
// told apart, and what a sidecar sends without the header would count as its own.
func (r *policyReader) identities(v value, read func(value) identity) (all []identity) {
	for _, e := range v.oneOrMore() {
		id := read(e)
		if id.value == "" {
			continue // that it is wrong has been said
		}
		if first := r.taken[id]; first != "" {
			e.wrong("is the same as %s", first)
		}
		r.taken[id] = e.field
		all = append(all, id)
	}
	return all
}

var hexHash = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)

func readHash(v value) identity {
	text := v.form(hexHash.MatchString, "64 hex digits, the SHA-256 of a secret")
	return identity{kind: secret, value: strings.ToLower(text)}
}

func readSPIFFE(v value) identity {
	return identity{kind: spiffeID, value: v.form(validSPIFFEID, "a SPIFFE id, spiffe://trust-domain/path")}
}

func readDNSName(v value) identity {
	return identity{kind: dnsName, value: v.form(validDNSName, "a DNS name in lower case, without wildcard")}
}

func (r *policyReader) subject(v value) identity {
	id := identity{kind: subject}
	m, ok := v.mapping("issuer", "subject")
	if !ok {
		return id
	}
	if v, ok := m.required("issuer"); ok {
		id.issuer = v.free()
		if id.issuer != "" && !slices.Contains(r.issuers, id.issuer) {
			v.wrong("is not in jwt_issuers")
		}
	}
	if v, ok := m.required("subject"); ok {
		id.value = v.free()
		if utf8.RuneCountInString(id.value) > maxSubject {
			v.wrong("want at most %d characters", maxSubject)
		}
	}
	return id
}

var (
	decimal = regexp.MustCompile(`^(0|[1-9][0-9]{0,6})(\.[0-9]{1,9})?$`)
	whole   = regexp.MustCompile(`^[1-9][0-9]{0,6}$`)
)

func readRate(v value) *rateLimit {
	m, ok := v.mapping("per_second", "burst")
	if !ok {
		return nil
	}
	limit := &rateLimit{}
	if v, ok := m.required("per_second"); ok {
		limit.perSecond = v.number(decimal, minRate, maxRate, "a number")
	}
	if v, ok := m.required("burst"); ok {
		limit.burst = int(v.number(whole, 1, maxRate, "a whole number"))
	}
	return limit
}
