package attack

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	issuerName = "https://issuer.example.org"
	audience   = "recovery-codes"
	subject    = "system:serviceaccount:web:login"
)

// issuer is an OIDC issuer that counts who asks for its keys.
type issuer struct {
	url      string
	key      *rsa.PrivateKey
	requests atomic.Int64
	down     atomic.Bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "one"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.requests.Add(1)
		if i.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(keys)
	}))
	t.Cleanup(s.Close)
	i.url = s.URL
	return i
}

// trusting is a target that takes the issuer's word.
func (i *issuer) trusting(t *testing.T) *target {
	t.Helper()
	return start(t, options{
		before: fmt.Sprintf("jwt_issuers:\n  - { issuer: %q, audience: %s, jwks_url: %q }\n", issuerName, audience, i.url),
		callers: fmt.Sprintf(`  - name: pod
    match: { jwt: { issuer: %q, subject: %q } }
    methods: [Get]
    organizations: ["*"]
`, issuerName, subject),
	})
}

// claims are good ones, changed.
func claims(change map[string]any) map[string]any {
	now := time.Now()
	all := map[string]any{
		"iss": issuerName, "aud": audience, "sub": subject,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}
	maps.Copy(all, change)
	return all
}

// token is a JWT of a header and claims; sign makes the signature of what is to be signed.
func token(t *testing.T, header, claims map[string]any, sign func([]byte) []byte) string {
	t.Helper()
	signed := b64(t, header) + "." + b64(t, claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(signed)))
}

// b64 is a part of a token.
func b64(t *testing.T, part map[string]any) string {
	t.Helper()
	text, err := json.Marshal(part)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// rs256 signs as the issuer, or anybody else with a key, does.
func rs256(t *testing.T, key *rsa.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte {
		sum := sha256.Sum256(text)
		signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return signature
	}
}

func es256(t *testing.T, key *ecdsa.PrivateKey) func([]byte) []byte {
	return func(text []byte) []byte {
		sum := sha256.Sum256(text)
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
}

func hs256(key []byte) func([]byte) []byte {
	return func(text []byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(text)
		return h.Sum(nil)
	}
}

func unsigned([]byte) []byte { return nil }

// TestForgedJWT presents tokens that are wrong in one respect each, beside one that is not.
func TestForgedJWT(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	x := i.trusting(t)
	attacker, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var fetched atomic.Int64 // from the attacker's own key server
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	t.Cleanup(elsewhere.Close)
	der, err := x509.MarshalPKIXPublicKey(i.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	jwk, err := json.Marshal(jose.JSONWebKey{Key: i.key.Public(), KeyID: "one"})
	if err != nil {
		t.Fatal(err)
	}
	own := jose.JSONWebKey{Key: attacker.Public(), KeyID: "one"}
	header := func(algorithm string, more ...any) map[string]any {
		h := map[string]any{"alg": algorithm, "kid": "one", "typ": "JWT"}
		for at := 0; at < len(more); at += 2 {
			h[more[at].(string)] = more[at+1]
		}
		return h
	}
	good, theirs := rs256(t, i.key), rs256(t, attacker)
	ends := func(d time.Duration) map[string]any { return map[string]any{"exp": time.Now().Add(d).Unix()} }
	stolen := strings.Split(token(t, header("RS256"), claims(nil), good), ".")
	for name, test := range map[string]struct {
		token string
		want  string
	}{
		"control": {token(t, header("RS256"), claims(nil), good), ""},

		"none":                         {token(t, header("none"), claims(nil), unsigned), "CREDENTIAL_INVALID"},
		"None":                         {token(t, header("None"), claims(nil), unsigned), "CREDENTIAL_INVALID"},
		"none, with a good signature":  {token(t, header("none"), claims(nil), good), "CREDENTIAL_INVALID"},
		"no algorithm":                 {token(t, map[string]any{"kid": "one"}, claims(nil), good), "CREDENTIAL_INVALID"},
		"HMAC with the public PEM":     {token(t, header("HS256"), claims(nil), hs256(public)), "CREDENTIAL_INVALID"},
		"HMAC with the public DER":     {token(t, header("HS256"), claims(nil), hs256(der)), "CREDENTIAL_INVALID"},
		"HMAC with the public JWK":     {token(t, header("HS256"), claims(nil), hs256(jwk)), "CREDENTIAL_INVALID"},
		"HMAC with the modulus":        {token(t, header("HS256"), claims(nil), hs256(i.key.N.Bytes())), "CREDENTIAL_INVALID"},
		"HMAC with no key":             {token(t, header("HS256"), claims(nil), hs256(nil)), "CREDENTIAL_INVALID"},
		"RS256 that is HMAC":           {token(t, header("RS256"), claims(nil), hs256(public)), "CREDENTIAL_INVALID"},
		"ES256 for an RSA key":         {token(t, header("ES256"), claims(nil), es256(t, newKey(t))), "CREDENTIAL_INVALID"},
		"no signature":                 {token(t, header("RS256"), claims(nil), unsigned), "CREDENTIAL_INVALID"},
		"another's signature":          {token(t, header("RS256"), claims(nil), theirs), "CREDENTIAL_INVALID"},
		"a key it brings":              {token(t, header("RS256", "jwk", own), claims(nil), theirs), "CREDENTIAL_INVALID"},
		"a key it points to":           {token(t, header("RS256", "jku", elsewhere.URL, "x5u", elsewhere.URL), claims(nil), theirs), "CREDENTIAL_INVALID"},
		"a key of no name":             {token(t, map[string]any{"alg": "RS256"}, claims(nil), good), "CREDENTIAL_INVALID"},
		"a key that is a path":         {token(t, header("RS256", "kid", "../../../../dev/null"), claims(nil), hs256(nil)), "CREDENTIAL_INVALID"},
		"the issuer is a path":         {token(t, header("RS256"), claims(map[string]any{"iss": elsewhere.URL}), theirs), "CREDENTIAL_INVALID"},
		"an extension":                 {token(t, header("RS256", "crit", []string{"exp"}), claims(nil), good), "CREDENTIAL_INVALID"},
		"an unencoded payload":         {token(t, header("RS256", "b64", false), claims(nil), good), "CREDENTIAL_INVALID"},
		"a notice of logout":           {token(t, header("RS256", "typ", "logout+jwt"), claims(nil), good), "CREDENTIAL_INVALID"},
		"expired":                      {token(t, header("RS256"), claims(ends(-time.Second)), good), "CREDENTIAL_INVALID"},
		"without an end":               {token(t, header("RS256"), claims(map[string]any{"exp": nil}), good), "CREDENTIAL_INVALID"},
		"an end that is a text":        {token(t, header("RS256"), claims(map[string]any{"exp": "9999999999"}), good), "CREDENTIAL_INVALID"},
		"not yet":                      {token(t, header("RS256"), claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), good), "CREDENTIAL_INVALID"},
		"for others":                   {token(t, header("RS256"), claims(map[string]any{"aud": "others"}), good), "CREDENTIAL_INVALID"},
		"for nobody":                   {token(t, header("RS256"), claims(map[string]any{"aud": nil}), good), "CREDENTIAL_INVALID"},
		"another's":                    {token(t, header("RS256"), claims(map[string]any{"sub": "system:serviceaccount:web:other"}), good), "CALLER_UNKNOWN"},
		"of the secret's caller":       {token(t, header("RS256"), claims(map[string]any{"sub": "web"}), good), "CALLER_UNKNOWN"},
		"other claims, same signature": {stolen[0] + "." + b64(t, claims(map[string]any{"sub": "web"})) + "." + stolen[2], "CREDENTIAL_INVALID"},
		"other header, same signature": {b64(t, header("RS384")) + "." + stolen[1] + "." + stolen[2], "CREDENTIAL_INVALID"},
		"encrypted, it says":           {strings.Join(append(stolen, "x", "y"), "."), "CREDENTIAL_INVALID"},
		"5,000 digits in its expiry":   {stolen[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":`+strings.Repeat("9", 5_000)+`}`)) + ".", "CREDENTIAL_INVALID"},
	} {
		t.Run(name, func(t *testing.T) {
			for door, got := range map[string]answer{
				"gRPC": getGRPC(t.Context(), x.dial(t), "authorization", "Bearer "+test.token),
				"REST": x.getREST(t, "Authorization", "Bearer "+test.token),
			} {
				if got.ok != (test.want == "") || got.reason != test.want {
					t.Errorf("%s: %+v, want %q", door, got, test.want)
				}
			}
		})
	}
	if n := fetched.Load(); n != 0 {
		t.Errorf("keys were asked for %d times where a token points", n)
	}
}

// TestUnknownKeyIDs floods the server with tokens of keys that there are none of: the issuer hears of it once, and a good
// token is good meanwhile.
func TestUnknownKeyIDs(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]bool{"the issuer answers": false, "the issuer is down": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			i.down.Store(down)
			x := i.trusting(t)
			before := x.memory(t)
			conn := x.dial(t)
			good := token(t, map[string]any{"alg": "RS256", "kid": "one"}, claims(nil), rs256(t, i.key))
			want := answer{status: "Unauthenticated", reason: "CREDENTIAL_INVALID"}
			if down {
				want = answer{status: "Unavailable", reason: "NOT_SENT"}
			}
			var flood sync.WaitGroup
			for worker := range 8 {
				flood.Go(func() {
					for n := range manyKeyIDs / 8 {
						kid := fmt.Sprintf("%d-%d-%s", worker, n, strings.Repeat("k", 1000))
						forged := token(t, map[string]any{"alg": "RS256", "kid": kid}, claims(nil), unsigned)
						if got := getGRPC(t.Context(), conn, "authorization", "Bearer "+forged); got != want {
							t.Errorf("%+v, want %+v", got, want)
							return
						}
					}
				})
			}
			flood.Wait()
			// One attempt, and one more where the flood has lasted longer than the pause after one that failed.
			if n := i.requests.Load(); n < 1 || n > 2 {
				t.Errorf("%d requests for keys", n)
			}
			if got := getGRPC(t.Context(), conn, "authorization", "Bearer "+good); got.ok == down {
				t.Errorf("a good token: %+v", got)
			}
			x.serves(t)
			x.grew(t, before, 64<<20)
		})
	}
}
