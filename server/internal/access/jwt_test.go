package access

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	testIssuer   = "https://issuer.example.org"
	testAudience = "recovery-codes"
	testSubject  = "system:serviceaccount:web:login"
)

// clock is a verifier's clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// signers are made once: an RSA key takes a while.
var signers = sync.OnceValue(func() map[string]crypto.Signer {
	all := make(map[string]crypto.Signer)
	for kid, curve := range map[string]elliptic.Curve{
		"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521(),
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		all[kid] = key
	}
	for kid, bits := range map[string]int{"rsa": 2048, "weak": 1024} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		all[kid] = key
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	all["ed"] = key
	return all
})

// public is the JWK of a signer's public key.
func public(kid string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: signers()[strings.SplitN(kid, "-", 2)[0]].Public(), KeyID: kid}
}

func keySet(t *testing.T, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// claims are those of a good token; with changes them, and nil removes one.
func claims(now time.Time, with map[string]any) map[string]any {
	all := map[string]any{
		"iss": testIssuer, "aud": []string{"someone", testAudience}, "sub": testSubject,
		"exp": now.Add(time.Hour).Unix(), "nbf": now.Unix(), "iat": now.Unix(),
	}
	for name, value := range with {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

// sign makes a token with the key of kid.
func sign(
	t *testing.T, algorithm jose.SignatureAlgorithm, kid string, claims map[string]any, header map[jose.HeaderKey]any,
) string {
	t.Helper()
	key := jose.JSONWebKey{Key: signers()[strings.SplitN(kid, "-", 2)[0]], KeyID: kid}
	if kid == "" {
		key.Key = signers()["p256"]
	}
	return signWith(t, algorithm, key, claims, header)
}

func signWith(
	t *testing.T, algorithm jose.SignatureAlgorithm, key jose.JSONWebKey, claims map[string]any,
	header map[jose.HeaderKey]any,
) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: header}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// forge makes a token out of a header and claims as they stand, with a signature of one's own.
func forge(t *testing.T, header string, claims any, signature func(input string) []byte) string {
	t.Helper()
	payload, ok := claims.(string)
	if !ok {
		data, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		payload = string(data)
	}
	part := base64.RawURLEncoding.EncodeToString
	input := part([]byte(header)) + "." + part([]byte(payload))
	return input + "." + part(signature(input))
}

// fileVerifier returns a verifier of testIssuer whose keys are in a file.
func fileVerifier(t *testing.T, c *clock, keys ...jose.JSONWebKey) *verifier {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, keySet(t, keys...), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := newVerifier([]JWTIssuer{{Issuer: testIssuer, Audience: testAudience, JWKSFile: path}}, nil,
		func(err error) { t.Errorf("reported: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	v.now = c.read
	return v
}

func TestVerify(t *testing.T) {
	c := newClock()
	now := c.read()
	forSignatures, forEncryption, forRS512 := public("p256-sig"), public("p256-enc"), public("rsa-512")
	forSignatures.Use, forSignatures.Algorithm, forEncryption.Use, forRS512.Algorithm = "sig", "ES256", "enc", "RS512"
	v := fileVerifier(t, c, public("p256"), public("p384"), public("p521"), public("rsa"), public("weak"),
		public("ed"), forSignatures, forEncryption, forRS512,
		jose.JSONWebKey{Key: []byte("a secret that has no business in a key set"), KeyID: "oct"})

	good := func(with map[string]any) map[string]any { return claims(now, with) }
	es256 := func(with map[string]any, header map[jose.HeaderKey]any) string {
		return sign(t, jose.ES256, "p256", good(with), header)
	}
	rsaKey, ok := signers()["rsa"].Public().(*rsa.PublicKey)
	if !ok {
		t.Fatal("not an RSA key")
	}
	spki, err := x509.MarshalPKIXPublicKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	attacker := newKey(t)
	embedded, err := json.Marshal(jose.JSONWebKey{Key: attacker.Public()})
	if err != nil {
		t.Fatal(err)
	}
	byAttacker := func(input string) []byte {
		parsed, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: attacker}, nil)
		if err != nil {
			t.Fatal(err)
		}
		// Signed over a header of the library's own: what matters is that the key is not asked.
		signed, err := parsed.Sign([]byte(input))
		if err != nil {
			t.Fatal(err)
		}
		return signed.Signatures[0].Signature
	}
	hmac := func(algorithm jose.SignatureAlgorithm, kid string, secret []byte) string {
		return signWith(t, algorithm, jose.JSONWebKey{Key: secret, KeyID: kid}, good(nil), nil)
	}
	tampered := strings.Split(es256(nil, nil), ".")
	payload, err := json.Marshal(good(map[string]any{"sub": "admin"}))
	if err != nil {
		t.Fatal(err)
	}
	tampered[1] = base64.RawURLEncoding.EncodeToString(payload)

	tests := []struct {
		name, token string
		refuse      string // else it is good
	}{
		{name: "ES256", token: es256(nil, nil)},
		{name: "ES384", token: sign(t, jose.ES384, "p384", good(nil), nil)},
		{name: "ES512", token: sign(t, jose.ES512, "p521", good(nil), nil)},
		{name: "RS256", token: sign(t, jose.RS256, "rsa", good(nil), nil)},
		{name: "RS384", token: sign(t, jose.RS384, "rsa", good(nil), nil)},
		{name: "PS256", token: sign(t, jose.PS256, "rsa", good(nil), nil)},
		{name: "PS512", token: sign(t, jose.PS512, "rsa", good(nil), nil)},
		{name: "key for its algorithm and signatures", token: sign(t, jose.ES256, "p256-sig", good(nil), nil)},
		{name: "RS512 with a key for it", token: sign(t, jose.RS512, "rsa-512", good(nil), nil)},
		{name: "one audience", token: es256(map[string]any{"aud": testAudience}, nil)},
		{name: "type JWT", token: es256(nil, map[jose.HeaderKey]any{"typ": "JWT"})},
		{name: "type of an access token", token: es256(nil, map[jose.HeaderKey]any{"typ": "application/at+jwt"})},
		{name: "a clock that is ahead by a minute",
			token: es256(map[string]any{"nbf": now.Unix() + 60, "iat": now.Unix() + 60}, nil)},
		{name: "neither nbf nor iat", token: es256(map[string]any{"nbf": nil, "iat": nil}, nil)},
		{name: "a year to live", token: es256(map[string]any{"exp": now.AddDate(1, 0, 0).Unix()}, nil)},
		{name: "a subject of 256 characters", token: es256(map[string]any{"sub": strings.Repeat("é", 256)}, nil)},

		{name: "alg none", token: forge(t, `{"alg":"none","kid":"p256"}`, good(nil), func(string) []byte { return nil }),
			refuse: "algorithm"},
		{name: "alg None", token: forge(t, `{"alg":"None","kid":"p256"}`, good(nil), func(string) []byte { return nil }),
			refuse: "algorithm"},
		{name: "no alg",
			token: forge(t, `{"kid":"p256"}`, good(nil), func(string) []byte { return nil }), refuse: "algorithm"},
		{name: "HMAC with the public key in DER",
			token: hmac(jose.HS256, "rsa", spki), refuse: "algorithm"},
		{name: "HMAC with the public key in PEM", token: hmac(jose.HS256, "rsa", encode("PUBLIC KEY", spki)),
			refuse: "algorithm"},
		{name: "HMAC with the modulus",
			token: hmac(jose.HS512, "rsa", rsaKey.N.Bytes()), refuse: "algorithm"},
		{name: "HMAC with a secret of the key set",
			token:  hmac(jose.HS256, "oct", []byte("a secret that has no business in a key set")),
			refuse: "algorithm"},
		{name: "EdDSA", token: sign(t, jose.EdDSA, "ed", good(nil), nil), refuse: "algorithm"},
		{name: "a weak RSA key", token: sign(t, jose.RS256, "weak", good(nil), nil), refuse: "no key"},
		{name: "ES256 that names an RSA key",
			token: forge(t, `{"alg":"ES256","kid":"rsa"}`, good(nil), byAttacker), refuse: "signature"},
		{name: "RS256 that names a P-256 key",
			token: forge(t, `{"alg":"RS256","kid":"p256"}`, good(nil), byAttacker), refuse: "signature"},
		{name: "ES256 that names a P-384 key",
			token: forge(t, `{"alg":"ES256","kid":"p384"}`, good(nil), byAttacker), refuse: "signature"},
		{name: "a key for encryption", token: sign(t, jose.ES256, "p256-enc", good(nil), nil), refuse: "no key"},
		{name: "a key for another algorithm",
			token: sign(t, jose.RS256, "rsa-512", good(nil), nil), refuse: "signature"},
		{name: "another's signature",
			token: forge(t, `{"alg":"ES256","kid":"p256"}`, good(nil), byAttacker), refuse: "signature"},
		{name: "no signature", token: forge(t, `{"alg":"ES256","kid":"p256"}`, good(nil), func(string) []byte { return nil }),
			refuse: "signature"},
		{name: "a signature of zeros",
			token:  forge(t, `{"alg":"ES256","kid":"p256"}`, good(nil), func(string) []byte { return make([]byte, 64) }),
			refuse: "signature"},
		{name: "changed claims", token: strings.Join(tampered, "."), refuse: "signature"},
		{name: "a key in the header",
			token:  forge(t, `{"alg":"ES256","kid":"p256","jwk":`+string(embedded)+`}`, good(nil), byAttacker),
			refuse: "signature"},
		{name: "a key in the header and no kid",
			token:  forge(t, `{"alg":"ES256","jwk":`+string(embedded)+`}`, good(nil), byAttacker),
			refuse: "names no key"},
		{name: "a kid that no key has",
			token: forge(t, `{"alg":"ES256","kid":"p999"}`, good(nil), byAttacker), refuse: "no key of that"},
		{name: "no kid", token: sign(t, jose.ES256, "", good(nil), nil), refuse: "names no key"},
		{name: "crit",
			token: forge(t, `{"alg":"ES256","kid":"p256","crit":["exp"]}`, good(nil), byAttacker), refuse: "extensions"},
		{name: "b64", token: es256(nil, map[jose.HeaderKey]any{"b64": true}), refuse: "extensions"},
		{name: "a notice of a logout",
			token: es256(nil, map[jose.HeaderKey]any{"typ": "logout+jwt"}), refuse: "type"},
		{name: "a type that is no text", token: es256(nil, map[jose.HeaderKey]any{"typ": 1}), refuse: "type"},
		{name: "two algs",
			token: forge(t, `{"alg":"none","alg":"ES256","kid":"p256"}`, good(nil), byAttacker), refuse: "not a JWT"},
		{name: "another issuer", token: es256(map[string]any{"iss": testIssuer + "/"}, nil), refuse: "issuer"},
		{name: "no issuer", token: es256(map[string]any{"iss": nil}, nil), refuse: "issuer"},
		{name: "issuers in a list", token: es256(map[string]any{"iss": []string{testIssuer}}, nil), refuse: "types"},
		{name: "two issuers",
			token: forge(t, `{"alg":"ES256","kid":"p256"}`, `{"iss":"a","iss":"b"}`, byAttacker), refuse: "types"},
		{name: "another audience", token: es256(map[string]any{"aud": "someone"}, nil), refuse: "audience"},
		{name: "no audience", token: es256(map[string]any{"aud": nil}, nil), refuse: "audience"},
		{name: "audience in capitals",
			token: es256(map[string]any{"aud": strings.ToUpper(testAudience)}, nil), refuse: "audience"},
		{name: "expired now", token: es256(map[string]any{"exp": now.Unix()}, nil), refuse: "expired"},
		{name: "expired an hour ago", token: es256(map[string]any{"exp": now.Unix() - 3600}, nil), refuse: "expired"},
		{name: "no end", token: es256(map[string]any{"exp": nil}, nil), refuse: "no end"},
		{name: "an end in text", token: es256(map[string]any{"exp": "4102444800"}, nil), refuse: "types"},
		{name: "an end beyond all numbers", token: es256(map[string]any{"exp": 1e300}, nil), refuse: "types"},
		{name: "not before the next hour",
			token: es256(map[string]any{"nbf": now.Unix() + 3600}, nil), refuse: "not valid yet"},
		{name: "not before 61 s from now",
			token: es256(map[string]any{"nbf": now.Unix() + 61}, nil), refuse: "not valid yet"},
		{name: "issued 61 s from now",
			token: es256(map[string]any{"iat": now.Unix() + 61}, nil), refuse: "not valid yet"},
		{name: "no subject", token: es256(map[string]any{"sub": nil}, nil), refuse: "subject"},
		{name: "an empty subject", token: es256(map[string]any{"sub": ""}, nil), refuse: "subject"},
		{name: "a subject of 257 characters",
			token: es256(map[string]any{"sub": strings.Repeat("x", 257)}, nil), refuse: "subject"},
		{name: "a line feed in the subject",
			token: es256(map[string]any{"sub": "login\nadmin"}, nil), refuse: "subject"},
		{name: "NUL in the subject", token: es256(map[string]any{"sub": "login\x00"}, nil), refuse: "subject"},
		{name: "over 8 KB", token: es256(map[string]any{"x": strings.Repeat("x", 8<<10)}, nil), refuse: "too long"},
		{name: "empty", refuse: "not a JWT"},
		{name: "dots", token: "..", refuse: "not a JWT"},
		{name: "four parts", token: es256(nil, nil) + ".x", refuse: "not a JWT"},
		{name: "in JSON", token: `{"payload":"","protected":"","signature":""}`, refuse: "not a JWT"},
		{name: "encrypted", token: "e30.e30.e30.e30.e30", refuse: "not a JWT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := v.verify(t.Context(), tt.token)
			if tt.refuse == "" {
				if err != nil || got.kind != subject || got.issuer != testIssuer || got.value == "" {
					t.Fatalf("got %+v, %v", got, err)
				}
				return
			}
			if got != (identity{}) || !errors.Is(err, errToken) || !strings.Contains(err.Error(), tt.refuse) {
				t.Errorf("got %+v, %v, want a refusal with %q", got, err, tt.refuse)
			}
		})
	}
	got, err := v.verify(t.Context(), es256(nil, nil))
	if want := (identity{kind: subject, issuer: testIssuer, value: testSubject}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// TestCritIsRefusedWithAGoodSignature: the refusal does not rest on the signature being bad.
func TestCritIsRefusedWithAGoodSignature(t *testing.T) {
	c := newClock()
	v := fileVerifier(t, c, public("p256"))
	token := sign(t, jose.ES256, "p256", claims(c.read(), nil), map[jose.HeaderKey]any{"crit": []string{"b64"}})
	if got, err := v.verify(t.Context(), token); !errors.Is(err, errToken) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestRefusalsRepeatNothing: errors may be logged, tokens may not.
func TestRefusalsRepeatNothing(t *testing.T) {
	const canary = "CANARY"
	c := newClock()
	v := fileVerifier(t, c, public("p256"))
	none := func(string) []byte { return nil }
	for i, token := range []string{
		canary, canary + "." + canary + "." + canary,
		forge(t, `{"alg":"`+canary+`"}`, "{}", none),
		forge(t, `{"alg":"ES256","kid":["`+canary+`"]}`, "{}", none),
		forge(t, `{"alg":"ES256","kid":"`+canary+`"}`, claims(c.read(), nil), none),
		forge(t, `{"alg":"ES256","kid":"x","x5c":["`+canary+`"]}`, "{}", none),
		forge(t, `{"alg":"ES256","kid":"x"}`, `{"iss":"`+canary+`"}`, none),
		forge(t, `{"alg":"ES256","kid":"x"}`, `{"`+canary+`"}`, none),
		sign(t, jose.ES256, "p256", claims(c.read(), map[string]any{"aud": canary}), nil),
		sign(t, jose.ES256, "p256", claims(c.read(), map[string]any{"sub": canary + "\n"}), nil),
	} {
		_, err := v.verify(t.Context(), token)
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("token %d: got error %v", i, err)
		}
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := JWTIssuer{Issuer: testIssuer, Audience: testAudience, JWKSFile: file("good", keySet(t, public("p256")))}
	with := func(change func(*JWTIssuer)) []JWTIssuer {
		i := good
		change(&i)
		return []JWTIssuer{i}
	}
	byURLWith := func(url, ca, token string) []JWTIssuer {
		return with(func(i *JWTIssuer) { i.JWKSFile, i.JWKSURL, i.CAFile, i.TokenFile = "", url, ca, token })
	}
	byURL := func(url string) []JWTIssuer { return byURLWith(url, "", "") }
	private := jose.JSONWebKey{Key: signers()["p256"], KeyID: "private"}
	missing := filepath.Join(dir, "missing")
	tests := []struct {
		name    string
		issuers []JWTIssuer
		err     string // empty: not refused
	}{
		{"good", []JWTIssuer{good}, ""},
		{"none", nil, ""},
		{"an address that nobody answers", byURL("https://127.0.0.1:1/keys"), ""},
		{"the same issuer twice", []JWTIssuer{good, good}, "twice"},
		{"no name", with(func(i *JWTIssuer) { i.Issuer = "" }), "without a name"},
		{"no audience", with(func(i *JWTIssuer) { i.Audience = "" }), "audience"},
		{"a missing key file", with(func(i *JWTIssuer) { i.JWKSFile = missing }), missing},
		{"no JSON", with(func(i *JWTIssuer) { i.JWKSFile = file("text", []byte("CANARY")) }), "not JSON"},
		{"no key", with(func(i *JWTIssuer) { i.JWKSFile = file("empty", []byte(`{"keys":[]}`)) }), "no public"},
		{"only private keys", with(func(i *JWTIssuer) { i.JWKSFile = file("private", keySet(t, private)) }), "no public"},
		{"only weak keys", with(func(i *JWTIssuer) { i.JWKSFile = file("weak", keySet(t, public("weak"))) }), "no public"},
		{"only keys without an id", with(func(i *JWTIssuer) {
			key := public("p256")
			key.KeyID = ""
			i.JWKSFile = file("nameless", keySet(t, key))
		}), "no public"},
		{"too large", with(func(i *JWTIssuer) { i.JWKSFile = file("large", make([]byte, 1<<20+1)) }), "too large"},
		{"http", byURL("http://issuer.example.org/keys"), "neither https"},
		{"no host", byURL("https:///keys"), "neither https"},
		{"a missing CA file", byURLWith("https://x/", missing, ""), missing},
		{"an empty CA file", byURLWith("https://x/", file("ca", nil), ""), "no certificate"},
		{"a missing token file", byURLWith("https://x/", "", missing), missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newVerifier(tt.issuers, nil, func(error) {})
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			if err != nil && strings.Contains(err.Error(), "CANARY") {
				t.Errorf("the error repeats a file: %v", err)
			}
		})
	}
}

// TestUnusableKeysArePassedOver: one key of a kind that is not known must not cost the others.
func TestUnusableKeysArePassedOver(t *testing.T) {
	good := keySet(t, public("p256"), public("rsa"))
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(good, &set); err != nil {
		t.Fatal(err)
	}
	notForVerifying := map[string]any{"key_ops": []string{"sign"}}
	for name, value := range set.Keys[1] {
		if name != "key_ops" {
			notForVerifying[name] = value
		}
	}
	data, err := json.Marshal(map[string]any{"keys": []any{
		map[string]any{"kty": "FUTURE", "kid": "x"}, map[string]any{"kid": "x"}, 1, nil, notForVerifying, set.Keys[0],
	}})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := parseKeys(data)
	if err != nil || len(keys) != 1 || len(keys["p256"]) != 1 {
		t.Errorf("got %d keys, %v, want p256", len(keys), err)
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, tt := range []struct {
		algorithm jose.SignatureAlgorithm
		kid       string
	}{{jose.ES256, "p256"}, {jose.RS256, "rsa"}} {
		b.Run(fmt.Sprint(tt.algorithm), func(b *testing.B) {
			t := &testing.T{}
			path := filepath.Join(b.TempDir(), "jwks.json")
			if err := os.WriteFile(path, keySet(t, public(tt.kid)), 0o600); err != nil {
				b.Fatal(err)
			}
			v, err := newVerifier([]JWTIssuer{{Issuer: testIssuer, Audience: testAudience, JWKSFile: path}}, nil, func(error) {})
			if err != nil {
				b.Fatal(err)
			}
			token := sign(t, tt.algorithm, tt.kid, claims(time.Now(), nil), nil)
			for b.Loop() {
				if _, err := v.verify(b.Context(), token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
