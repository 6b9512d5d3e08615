package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// JWTIssuer is an issuer whose tokens prove who calls, and where its keys are.
type JWTIssuer struct {
	// Issuer and Audience are what a token must say in iss, and among others in aud.
	Issuer, Audience string
	// JWKSURL or JWKSFile is where the keys are; one of them is given. A URL is https, or http on loopback.
	JWKSURL, JWKSFile string
	// CAFile holds the authorities to trust at JWKSURL instead of the system's, and TokenFile a bearer token to send
	// there: a Kubernetes API server asks for both. They may be empty, and are read for each request.
	CAFile, TokenFile string
}

// Why verify has proved nothing. errToken is the caller's fault. errKeysUnavailable is not: the keys that the token
// must be checked with cannot be had, and the same token may be good later.
var (
	errToken           = errors.New("jwt: refused")
	errKeysUnavailable = errors.New("jwt: the issuer's keys cannot be had")
)

// algorithms are all that a token may be signed with. None of them takes a secret for its key, and so no public key
// can be passed off as one.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512,
}

const (
	// clockLeeway is how far an issuer's clock may be ahead. A token ends when it says so, without leeway.
	clockLeeway = time.Minute

	maxSubject = 256 // characters
)

// verifier proves identities by JWT. How long a token may live is its issuer's affair: Kubernetes issues tokens of an
// hour, of a day and of a year. A verified token is not remembered: to check it again takes some 100 µs, and so a key
// that is gone proves nothing any more.
type verifier struct {
	issuers map[string]JWTIssuer
	sources map[JWTIssuer]*keySource
	now     func() time.Time
}

// newVerifier returns a verifier for the issuers, which have different names. Key files, CA files and token files must
// be readable; that an issuer can be reached is not needed. Issuers that before had too, when it is not nil, keep the
// keys that were fetched. Keys are fetched when tokens ask for them; report is told why they could not be, once for
// each reason.
func newVerifier(issuers []JWTIssuer, before *verifier, report func(error)) (*verifier, error) {
	v := &verifier{issuers: make(map[string]JWTIssuer), sources: make(map[JWTIssuer]*keySource), now: time.Now}
	for _, issuer := range issuers {
		if _, twice := v.issuers[issuer.Issuer]; twice || issuer.Issuer == "" || issuer.Audience == "" {
			return nil, fmt.Errorf("jwt: issuer %q: named twice, or without a name or an audience", issuer.Issuer)
		}
		v.issuers[issuer.Issuer] = issuer
		if before != nil && before.sources[issuer] != nil {
			v.sources[issuer] = before.sources[issuer]
			continue
		}
		source, err := newKeySource(issuer, report)
		if err != nil {
			return nil, fmt.Errorf("jwt: issuer %q: %w", issuer.Issuer, err)
		}
		v.sources[issuer] = source
	}
	return v, nil
}

// verify returns the issuer and subject of a token that one of the issuers has signed for this audience and that is
// valid now. Otherwise the error wraps errToken or errKeysUnavailable; it repeats nothing of the token. A fetch of keys
// may be waited for until ctx ends.
func (v *verifier) verify(ctx context.Context, token string) (identity, error) {
	if len(token) > maxAuthorization {
		return identity{}, fmt.Errorf("%w: too long", errToken)
	}
	// The library's own errors repeat parts of the token.
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil || len(parsed.Headers) != 1 {
		return identity{}, fmt.Errorf("%w: not a JWT, or its algorithm is not allowed", errToken)
	}
	header := parsed.Headers[0]
	if err := checkHeader(header); err != nil {
		return identity{}, err
	}
	var unverified jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return identity{}, fmt.Errorf("%w: its claims are not of the right types", errToken)
	}
	// From here on the issuer is one of ours, and the token must be signed with a key of that issuer.
	issuer, ok := v.issuers[unverified.Issuer]
	if !ok {
		return identity{}, fmt.Errorf("%w: its issuer is not known", errToken)
	}
	now := v.now()
	keys, err := v.sources[issuer].find(ctx, now, header.KeyID)
	if err != nil {
		return identity{}, err
	}
	for _, key := range keys {
		var claims jwt.Claims
		if fits(key, jose.SignatureAlgorithm(header.Algorithm)) && parsed.Claims(key.Key, &claims) == nil {
			return identify(claims, issuer, now)
		}
	}
	return identity{}, fmt.Errorf("%w: its signature is not good", errToken)
}

// checkHeader refuses what would change the meaning of a token. Keys that a token brings or points to (jwk, jku, x5c,
// x5u) are never used: its kid names one of the issuer's.
func checkHeader(header jose.Header) error {
	for _, name := range []jose.HeaderKey{"crit", "b64"} {
		if _, ok := header.ExtraHeaders[name]; ok {
			return fmt.Errorf("%w: its header asks for extensions", errToken)
		}
	}
	// An issuer signs other things than proofs of who calls with the same keys, such as notices of logouts.
	if typ, ok := header.ExtraHeaders[jose.HeaderType]; ok {
		text, _ := typ.(string)
		switch strings.TrimPrefix(strings.ToLower(text), "application/") {
		case "jwt", "at+jwt":
		default:
			return fmt.Errorf("%w: it is of a type that does not prove who calls", errToken)
		}
	}
	if header.KeyID == "" {
		return fmt.Errorf("%w: it names no key", errToken)
	}
	return nil
}

// fits says whether a key is one for the algorithm: of its family, on its curve, and not set aside for another.
func fits(key jose.JSONWebKey, algorithm jose.SignatureAlgorithm) bool {
	if key.Algorithm != "" && key.Algorithm != string(algorithm) {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(string(algorithm), "RS") || strings.HasPrefix(string(algorithm), "PS")
	case *ecdsa.PublicKey:
		switch public.Curve.Params().BitSize {
		case 256:
			return algorithm == jose.ES256
		case 384:
			return algorithm == jose.ES384
		case 521:
			return algorithm == jose.ES512
		}
	}
	return false
}

// identify checks the claims of a token whose signature is good.
func identify(claims jwt.Claims, issuer JWTIssuer, now time.Time) (identity, error) {
	expected := jwt.Expected{Issuer: issuer.Issuer, AnyAudience: jwt.Audience{issuer.Audience}, Time: now}
	switch err := claims.ValidateWithLeeway(expected, clockLeeway); {
	case errors.Is(err, jwt.ErrInvalidAudience):
		return identity{}, fmt.Errorf("%w: it is for another audience", errToken)
	case claims.Expiry == nil:
		return identity{}, fmt.Errorf("%w: it has no end", errToken)
	case !now.Before(claims.Expiry.Time()):
		return identity{}, fmt.Errorf("%w: it has expired", errToken)
	case err != nil:
		return identity{}, fmt.Errorf("%w: it is not valid yet", errToken)
	}
	sub := claims.Subject
	if sub == "" || len([]rune(sub)) > maxSubject || !plainText(sub) {
		return identity{}, fmt.Errorf("%w: its subject is empty, too long, or not plain text", errToken)
	}
	return identity{kind: subject, issuer: issuer.Issuer, value: sub}, nil
}
