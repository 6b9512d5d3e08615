package access

import (
	"errors"
	"slices"
	"strings"
)

// The header x-forwarded-client-cert, as Envoy writes it:
//
// It is a list of elements, separated by commas; each proxy on the way appends one about the client that it has itself
// verified, so that the last is the word of the proxy next to this server. An element is a list of key=value,
// separated by semicolons. Keys are case-insensitive: By (URI of the proxy's certificate), Hash (SHA-256 of the
// client's), Cert and Chain (URL-encoded PEM), Subject, and URI and DNS (one for each name in the client's certificate;
// one empty URI when it has none). By and Hash are always there, the others if the proxy has been told to write them.
//
// A value that holds a comma, a semicolon or an equals sign belongs in double quotes, and a double quote in it is
// escaped by a backslash. Envoy quotes Cert, Chain and Subject, always, and writes the subject as RFC 2253 has it,
// where a backslash escapes a backslash too: hence in quotes any character after a backslash is meant literally. By,
// Hash, URI and DNS it never quotes or escapes, whatever they hold. An authority that signs a URI or a DNS name with a
// comma or semicolon in it therefore lets its bearer write elements of his own, which no parser can tell from Envoy's.
// The authorities that the proxy trusts must sign names that are well-formed, as those of every mesh do.

// maxForwarded bounds the header; two elements with certificate chains fit.
const maxForwarded = 16 << 10

// forwardedKeys are the keys that an element may have, and whether more than once.
var forwardedKeys = map[string]bool{
	"by": true, "hash": false, "cert": false, "chain": false, "subject": false, "uri": true, "dns": true,
}

// A forwardedPair is one key, in lower case, and its value, without quotes and escapes.
type forwardedPair struct{ key, value string }

var errForwarded = errors.New("x-forwarded-client-cert: malformed")

// forwardedIdentity is the identity that the last element of the header tells: its only URI, which must be a SPIFFE id.
// Values are the header's, in their order. Anything malformed in any of them refuses the whole header, since where the
// last element begins is then not certain. Whether the peer may speak for others is for the caller to have decided.
func forwardedIdentity(values []string) (identity, error) {
	size := 0
	for _, value := range values {
		size += len(value)
	}
	if size > maxForwarded {
		return identity{}, errors.New("x-forwarded-client-cert: too long")
	}
	// Each value is parsed by itself, so that a quote which is open at the end of one swallows nothing of the next.
	var last []forwardedPair
	for _, value := range values {
		elements, err := parseForwarded(value)
		if err != nil {
			return identity{}, err
		}
		last = elements[len(elements)-1]
	}
	var uris []string
	for _, pair := range last {
		if pair.key == "uri" {
			uris = append(uris, pair.value)
		}
	}
	if len(uris) != 1 || !validSPIFFEID(uris[0]) {
		return identity{}, errors.New("x-forwarded-client-cert: the last element has not exactly one URI that is a SPIFFE id")
	}
	return identity{kind: spiffeID, value: uris[0]}, nil
}

// parseForwarded parses one value of the header. It returns at least one element, each with at least one pair.
func parseForwarded(text string) ([][]forwardedPair, error) {
	var elements [][]forwardedPair
	var element []forwardedPair
	for {
		name, rest, ok := strings.Cut(text, "=")
		key := strings.ToLower(name)
		repeats, known := forwardedKeys[key]
		if !ok || !known {
			return nil, errForwarded
		}
		if !repeats && slices.ContainsFunc(element, func(p forwardedPair) bool { return p.key == key }) {
			return nil, errForwarded
		}
		value, rest, ok := cutForwardedValue(rest)
		if !ok {
			return nil, errForwarded
		}
		element = append(element, forwardedPair{key, value})
		switch {
		case rest == "":
			return append(elements, element), nil
		case rest[0] == ';':
			text = rest[1:]
		case rest[0] == ',':
			elements, element = append(elements, element), nil
			text = strings.TrimLeft(rest[1:], " ") // proxies that join header lines write ", "
		default:
			return nil, errForwarded
		}
	}
}

// cutForwardedValue cuts the value off the beginning of text. ok is false when there is no value there.
func cutForwardedValue(text string) (value, rest string, ok bool) {
	quoted := strings.HasPrefix(text, `"`)
	if !quoted {
		end := strings.IndexAny(text, ",;")
		if end < 0 {
			end = len(text)
		}
		value, rest = text[:end], text[end:]
		return value, rest, !strings.ContainsFunc(value, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' || r == '='
		})
	}
	var unescaped strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return unescaped.String(), text[i+1:], true
		case c < ' ' || c >= 0x7f: // RFC 2253 escapes what is not ASCII
			return "", "", false
		case c == '\\':
			i++
			if i == len(text) || text[i] < ' ' || text[i] >= 0x7f {
				return "", "", false
			}
			unescaped.WriteByte(text[i])
		default:
			unescaped.WriteByte(c)
		}
	}
	return "", "", false
}
