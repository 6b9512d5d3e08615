package access

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	loginURI = "spiffe://example.org/ns/web/sa/login"
	otherURI = "spiffe://example.org/ns/web/sa/other"
	proxyURI = "spiffe://example.org/ns/mesh/sa/proxy"
	someHash = "468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688"
)

func TestForwardedIdentity(t *testing.T) {
	const begin = "By=" + proxyURI + ";Hash=" + someHash + ";"
	one := []string{begin + `Subject="";URI=` + loginURI}
	tests := []struct {
		name   string
		values []string
		refuse bool // else the identity is loginURI
	}{
		{name: "as Istio has it", values: one},
		{name: "with everything", values: []string{begin +
			`Cert="-----BEGIN%20CERTIFICATE-----%0AMIIB%2B%3D%3D%0A-----END%20CERTIFICATE-----%0A";Chain="%0A";` +
			`Subject="CN=Login\, Web\;\"x\"\\,O=Example";URI=` + loginURI + `;DNS=a.example;DNS=b.example`}},
		{name: "a proxy with two URIs", values: []string{"By=" + proxyURI + ";By=" + proxyURI + ";URI=" + loginURI}},
		{name: "keys in capitals", values: []string{"HASH=" + someHash + ";uri=" + loginURI}},
		{name: "quoted URI", values: []string{`URI="` + loginURI + `"`}},
		{name: "the last of two elements", values: []string{begin + "URI=" + otherURI + "," + begin + "URI=" + loginURI}},
		{name: "the last of two, after a space",
			values: []string{begin + "URI=" + otherURI + ", " + begin + "URI=" + loginURI}},
		{name: "the last of two values", values: []string{begin + "URI=" + otherURI, begin + "URI=" + loginURI}},
		{name: "an earlier element without a URI", values: []string{begin + "URI=", one[0]}},
		{name: "a subject that looks like a pair",
			values: []string{begin + `Subject="CN=x;URI=` + otherURI + `";URI=` + loginURI}},
		{name: "a subject that looks like an element",
			values: []string{begin + `Subject="CN=x,By=y;URI=` + otherURI + `";URI=` + loginURI}},
		{name: "a subject that looks like the end of the subject",
			values: []string{begin + `Subject="CN=x\";URI=` + otherURI + `;DNS=\"";URI=` + loginURI}},
		{name: "a subject that ends in a backslash", values: []string{begin + `Subject="CN=x\\";URI=` + loginURI}},

		{name: "no value", refuse: true},
		{name: "an empty value", values: []string{""}, refuse: true},
		{name: "an empty value after a good one", values: []string{one[0], ""}, refuse: true},
		{name: "an empty value before a good one", values: []string{"", one[0]}, refuse: true},
		{name: "no URI", values: []string{begin + `Subject="CN=x"`}, refuse: true},
		{name: "no URI in the last element", values: []string{one[0] + "," + begin + "DNS=a.example"}, refuse: true},
		{name: "an empty URI", values: []string{begin + "URI="}, refuse: true},
		{name: "two URIs", values: []string{begin + "URI=" + loginURI + ";URI=" + otherURI}, refuse: true},
		{name: "the same URI twice", values: []string{begin + "URI=" + loginURI + ";URI=" + loginURI}, refuse: true},
		{name: "a URI and an empty one", values: []string{begin + "URI=" + loginURI + ";URI="}, refuse: true},
		{name: "two URIs in two cases", values: []string{begin + "URI=" + loginURI + ";uri=" + otherURI}, refuse: true},
		{name: "a URI that is no SPIFFE id", values: []string{"URI=https://example.org/login"}, refuse: true},
		{name: "a SPIFFE id in capitals", values: []string{"URI=SPIFFE://example.org/login"}, refuse: true},
		{name: "no closing quote", values: []string{`Subject="CN=x;URI=` + loginURI}, refuse: true},
		{name: "a quote that spans two values", values: []string{`Subject="CN=x`, `";URI=` + loginURI}, refuse: true},
		{name: "a quote that swallows what the proxy appends", values: []string{`Subject=",` + one[0]}, refuse: true},
		{name: "something after a quote", values: []string{`Subject="CN=x"y;URI=` + loginURI}, refuse: true},
		{name: "a quote within a value", values: []string{`Subject=CN"x";URI=` + loginURI}, refuse: true},
		{name: "a backslash outside quotes", values: []string{`By=a\;URI=` + loginURI}, refuse: true},
		{name: "a backslash at the end", values: []string{`URI=` + loginURI + `;Subject="\`}, refuse: true},
		{name: "an equals sign outside quotes", values: []string{"By=a=b;URI=" + loginURI}, refuse: true},
		{name: "an unknown key", values: []string{"Issuer=x;URI=" + loginURI}, refuse: true},
		{name: "an unknown key in an earlier element", values: []string{"x=y," + one[0]}, refuse: true},
		{name: "a key without a value", values: []string{"By;URI=" + loginURI}, refuse: true},
		{name: "a value without a key", values: []string{"=x;URI=" + loginURI}, refuse: true},
		{name: "a space before a key", values: []string{"By=x; URI=" + loginURI}, refuse: true},
		{name: "a space after a value", values: []string{"URI=" + loginURI + " "}, refuse: true},
		{name: "an empty pair", values: []string{"By=x;;URI=" + loginURI}, refuse: true},
		{name: "a semicolon at the end", values: []string{"URI=" + loginURI + ";"}, refuse: true},
		{name: "a comma at the end", values: []string{"URI=" + loginURI + ","}, refuse: true},
		{name: "a comma at the beginning", values: []string{",URI=" + loginURI}, refuse: true},
		{name: "two hashes", values: []string{"Hash=a;Hash=b;URI=" + loginURI}, refuse: true},
		{name: "two subjects", values: []string{`Subject="a";Subject="b";URI=` + loginURI}, refuse: true},
		{name: "a line feed in quotes", values: []string{"Subject=\"a\nb\";URI=" + loginURI}, refuse: true},
		{name: "an escaped line feed", values: []string{"Subject=\"a\\\nb\";URI=" + loginURI}, refuse: true},
		{name: "not ASCII in quotes", values: []string{`Subject="é";URI=` + loginURI}, refuse: true},
		{name: "NUL", values: []string{"By=\x00;URI=" + loginURI}, refuse: true},
		{name: "16 KB",
			values: []string{`Cert="` + strings.Repeat("x", 16<<10-len(loginURI)-len(`Cert="";URI=`)) + `";URI=` + loginURI}},
		{name: "over 16 KB", values: []string{`Cert="` + strings.Repeat("x", 16<<10-len(loginURI)-len(`Cert="";URI=`)+1) +
			`";URI=` + loginURI}, refuse: true},
		{name: "over 16 KB in many values",
			values: append(strings.Split(strings.Repeat("By=x,", 4096), ","), one[0]), refuse: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := forwardedIdentity(tt.values)
			want := identity{kind: spiffeID, value: loginURI}
			if tt.refuse {
				want = identity{}
			}
			if got != want || (err != nil) != tt.refuse {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
			if err != nil && strings.Contains(err.Error(), "example") {
				t.Errorf("the error repeats the header: %v", err)
			}
		})
	}
}

// TestForwardedSubject lets a client choose its subject: whatever it is, escaped as RFC 2253 says, the URI stays.
func TestForwardedSubject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chosen := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{
			`"`, `\`, `,`, `;`, `=`, `;URI=` + otherURI, `",By=x;URI=` + otherURI, `CN=x`, ` `, `\"`,
		})).Draw(t, "subject"), "")
		escaped := strings.NewReplacer(`"`, `\"`, `\`, `\\`, `,`, `\,`, `;`, `\;`).Replace(chosen)
		got, err := forwardedIdentity([]string{`By=` + proxyURI + `;Subject="` + escaped + `";URI=` + loginURI})
		if err != nil || got.value != loginURI {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
}

// render writes what parseForwarded has parsed, every value in quotes.
func render(elements [][]forwardedPair) string {
	var all []string
	for _, element := range elements {
		var pairs []string
		for _, pair := range element {
			pairs = append(pairs, pair.key+`="`+strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(pair.value)+`"`)
		}
		all = append(all, strings.Join(pairs, ";"))
	}
	return strings.Join(all, ",")
}

// FuzzForwarded: what parses, rendered in another way, parses to the same; an identity is the only URI of the last
// element; and a client that has its text put before or into the proxy's element does not change whom it names.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{
		"", `By=` + proxyURI + `;Hash=` + someHash + `;Subject="";URI=` + loginURI,
		`URI=` + otherURI + `, uri="` + loginURI + `"`, `URI=a;URI=b`, `Subject="CN=a\,b\"\\",DNS=a;DNS=b`,
		`Subject="`, `Subject="\`, `";URI=` + otherURI + `;Subject="`, `Cert="%0A";Chain="%0A",By=`, `,`, `;`, `=`, `By=\`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		elements, err := parseForwarded(text)
		got, refused := forwardedIdentity([]string{text})
		if err != nil {
			if refused == nil {
				t.Errorf("malformed, and yet names %+v", got)
			}
		} else {
			again, err := parseForwarded(render(elements))
			if err != nil {
				t.Fatalf("%q does not parse: %v", render(elements), err)
			}
			if diff := cmp.Diff(elements, again, cmp.AllowUnexported(forwardedPair{})); diff != "" {
				t.Errorf("parses to something else when rendered:\n%s", diff)
			}
			var uris []string
			for _, pair := range elements[len(elements)-1] {
				if pair.key == "uri" {
					uris = append(uris, pair.value)
				}
			}
			if refused == nil && (len(uris) != 1 || uris[0] != got.value || !validSPIFFEID(got.value)) {
				t.Errorf("names %+v, but the URIs of the last element are %q", got, uris)
			}
		}
		if refused != nil && got != (identity{}) {
			t.Errorf("refused with the identity %+v", got)
		}
		// A client's own header before the proxy's element, and its text as the subject in it.
		appended := `By=` + proxyURI + `;Subject="CN=x";URI=` + loginURI
		escaped := strings.NewReplacer(`"`, `\"`, `\`, `\\`, `,`, `\,`, `;`, `\;`).Replace(text)
		for _, values := range [][]string{
			{text + "," + appended}, {text, appended}, {`Subject="` + escaped + `";URI=` + loginURI},
		} {
			if got, err := forwardedIdentity(values); err == nil && got.value != loginURI {
				t.Errorf("%q changed the identity to %+v", text, got)
			}
		}
	})
}
