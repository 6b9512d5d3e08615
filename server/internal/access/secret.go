package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// secretPrefix marks a caller's secret, so that scanners of sources and logs can find one that has strayed.
const secretPrefix = "rcs_"

// NewSecret returns a new secret of a caller, which has 260 random bits, and what the policy says of it: its SHA-256
// in lower-case hex. A hash without salt and stretching is enough only because nobody can guess such a secret.
func NewSecret() (secret, hash string) {
	secret = secretPrefix + rand.Text() + rand.Text()
	return secret, secretIdentity(secret).value
}

func secretIdentity(given string) identity {
	sum := sha256.Sum256([]byte(given))
	return identity{kind: secret, value: hex.EncodeToString(sum[:])}
}

// matchSecret returns the place of the hash that given has, or -1. It compares with every hash, each in constant time,
// so that its duration tells nothing of which there are or how near the guess was.
func matchSecret(hashes [][sha256.Size]byte, given string) int {
	sum := sha256.Sum256([]byte(given))
	found := -1
	for i := range hashes {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hashes[i][:], sum[:]), i, found)
	}
	return found
}

// authScheme is a way to give a credential in the Authorization header.
type authScheme string

const (
	bearer authScheme = "Bearer"
	basic  authScheme = "Basic"
)

// maxAuthorization bounds the Authorization header. A JWT is the longest credential in it.
const maxAuthorization = 8 << 10

// parseAuthorization takes the values of the Authorization header apart. token is the bearer token or the Basic
// password; user is Basic's user and empty for a bearer token. Errors do not repeat anything of the header.
func parseAuthorization(values []string) (scheme authScheme, token, user string, err error) {
	if len(values) != 1 {
		return "", "", "", errors.New("authorization: not exactly one value")
	}
	if len(values[0]) > maxAuthorization {
		return "", "", "", errors.New("authorization: too long")
	}
	name, credential, _ := strings.Cut(values[0], " ")
	switch {
	case strings.EqualFold(name, string(bearer)):
		// The characters that HTTP allows a bearer token.
		body := strings.TrimRight(credential, "=")
		if body == "" || strings.Trim(body, lowerAlphanumeric+upperAlpha+"-._~+/") != "" {
			return "", "", "", errors.New("authorization: the bearer token is empty or has characters it must not have")
		}
		return bearer, credential, "", nil
	case strings.EqualFold(name, string(basic)):
		user, password, err := parseBasic(credential)
		return basic, password, user, err
	default:
		return "", "", "", errors.New("authorization: the scheme is neither Bearer nor Basic")
	}
}

func parseBasic(credential string) (user, password string, err error) {
	// The decoder skips line breaks, which are not part of base64 here.
	plain, err := base64.StdEncoding.Strict().DecodeString(credential)
	if err != nil || strings.ContainsAny(credential, "\r\n") {
		return "", "", errors.New("authorization: Basic: not base64")
	}
	user, password, _ = strings.Cut(string(plain), ":")
	switch {
	case user == "" || password == "":
		return "", "", errors.New("authorization: Basic: no user or no password")
	case !plainText(string(plain)):
		return "", "", errors.New("authorization: Basic: a control character, or not UTF-8")
	}
	return user, password, nil
}

// plainText says whether s is UTF-8 without control characters.
func plainText(s string) bool {
	for _, r := range s {
		if r < ' ' || 0x7f <= r && r < 0xa0 {
			return false
		}
	}
	return utf8.ValidString(s)
}

// jwtShaped says whether a bearer token looks like a JWT: three parts in base64url, of which the first holds a JSON
// object. No secret of NewSecret does.
func jwtShaped(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	var header []byte
	for i, part := range parts {
		decoded, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			return false
		}
		if i == 0 {
			header = decoded
		}
	}
	var object map[string]json.RawMessage
	return json.Unmarshal(header, &object) == nil && object != nil
}
