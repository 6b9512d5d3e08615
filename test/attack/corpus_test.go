package attack

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// corpus is everything that has left a server, by the way on which it left. It is safe for concurrent use.
type corpus struct {
	mu   sync.Mutex
	ways map[string]*bytes.Buffer
}

func newCorpus() *corpus { return &corpus{ways: make(map[string]*bytes.Buffer)} }

// add puts a text to what left on a way.
func (c *corpus) add(way, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ways[way] == nil {
		c.ways[way] = &bytes.Buffer{}
	}
	c.ways[way].WriteString(text)
	c.ways[way].WriteByte('\n')
}

// size is how much has left on a way.
func (c *corpus) size(way string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ways[way] == nil {
		return 0
	}
	return c.ways[way].Len()
}

// finding is a secret that has left.
type finding struct{ way, secret, form string }

// patternKey is how many bytes of a pattern it is looked up by; every pattern has at least as many.
const patternKey = 8

type pattern struct {
	text         []byte
	secret, form string
}

// search looks for secrets, by name, in all forms.
func (c *corpus) search(secrets map[string]string) map[finding]bool {
	patterns := make(map[[patternKey]byte][]pattern)
	for name, secret := range secrets {
		for form, texts := range formsOf(secret) {
			for _, text := range texts {
				if len(text) >= patternKey {
					key := [patternKey]byte([]byte(text))
					patterns[key] = append(patterns[key], pattern{[]byte(text), name, form})
				}
			}
		}
	}
	found := make(map[finding]bool)
	c.mu.Lock()
	defer c.mu.Unlock()
	for way, buffer := range c.ways {
		text := buffer.Bytes()
		for i := 0; i+patternKey <= len(text); i++ {
			for _, p := range patterns[[patternKey]byte(text[i:])] {
				if bytes.HasPrefix(text[i:], p.text) {
					found[finding{way, p.secret, p.form}] = true
				}
			}
		}
	}
	return found
}

// The forms in which a secret can leave.
const (
	formPlain, formPart                 = "plain", "a part"
	formBase64, formBase64URL           = "base64", "base64url"
	formHex, formDecimal                = "hex", "decimal bytes"
	formQuery, formPath, formPercent    = "query-escaped", "path-escaped", "percent-escaped"
	formJSON, formHTMLJSON, formUnicode = "JSON", "JSON for HTML", "JSON, all escaped"
	formGo                              = "Go-quoted"
)

// encoded is a text in each form but plain, as who leaks it would write it.
var encoded = map[string]func(string) string{
	formPlain:     func(s string) string { return s },
	formPart:      func(s string) string { return s[:partLength] },
	formBase64:    func(s string) string { return base64.StdEncoding.EncodeToString([]byte("user:" + s)) },
	formBase64URL: func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s + "?>?")) },
	formHex:       func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	formDecimal:   func(s string) string { return fmt.Sprintf("%d", []byte(s)) },
	formQuery:     url.QueryEscape,
	formPath:      url.PathEscape,
	formPercent:   func(s string) string { return each(s, "%%%02x") },
	formJSON:      func(s string) string { return inJSON(s, false) },
	formHTMLJSON:  func(s string) string { return inJSON(s, true) },
	formUnicode:   func(s string) string { return each(s, `\u%04X`) },
	formGo:        strconv.Quote,
}

// partLength is how much of a secret, at its beginning or end, is as bad as all of it.
const partLength = 16

// formsOf returns the texts by which a secret is found, by form.
func formsOf(secret string) map[string][]string {
	forms := map[string][]string{
		formPlain:    {secret},
		formHex:      {hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret)))},
		formDecimal:  {strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]")},
		formQuery:    {url.QueryEscape(secret)},
		formPath:     {url.PathEscape(secret)},
		formPercent:  {each(secret, "%%%02x"), each(secret, "%%%02X")},
		formJSON:     {inJSON(secret, false)},
		formHTMLJSON: {inJSON(secret, true)},
		formUnicode:  {each(secret, `\u%04x`), each(secret, `\u%04X`), each(secret, `\\u%04x`), each(secret, `\\u%04X`)},
		formGo:       {strings.Trim(strconv.Quote(secret), `"`), strings.Trim(strconv.QuoteToASCII(secret), `"`)},
	}
	if len(secret) >= 2*partLength {
		forms[formPart] = []string{secret[:partLength], secret[len(secret)-partLength:]}
	}
	// Base64 of a longer text that the secret stands in: what of it depends on the secret alone, wherever that begins.
	for before, cut := range []int{0, 2, 3} {
		text := append(make([]byte, before), secret...)
		for form, encoding := range map[string]*base64.Encoding{formBase64: base64.RawStdEncoding, formBase64URL: base64.RawURLEncoding} {
			coded := encoding.EncodeToString(text)[cut:]
			if len(text)%3 != 0 {
				coded = coded[:len(coded)-1]
			}
			forms[form] = append(forms[form], coded)
		}
	}
	return forms
}

func each(s, format string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		_, _ = fmt.Fprintf(&b, format, c)
	}
	return b.String()
}

func inJSON(s string, html bool) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(html)
	_ = encoder.Encode(s) // a text always encodes
	return strings.Trim(strings.TrimSuffix(b.String(), "\n"), `"`)
}

// TestSearchFindsEveryForm is the search's own control: it finds a secret in each form in which somebody would write it.
func TestSearchFindsEveryForm(t *testing.T) {
	secret := newMark()
	for form, encode := range encoded {
		c := newCorpus()
		c.add("a way", "before "+encode(secret)+" after")
		found := c.search(map[string]string{"a secret": secret})
		if !found[finding{"a way", "a secret", form}] {
			t.Errorf("%s is not found in %s; found: %v", form, encode(secret), slices.Collect(maps.Keys(found)))
		}
		if found := c.search(map[string]string{"another": newMark()}); len(found) > 0 {
			t.Errorf("%s: another secret is found: %v", form, found)
		}
	}
}
