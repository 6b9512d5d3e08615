package sandbox

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// jwtLifetime is fixed, however long the session lasts.
const jwtLifetime = 5 * time.Minute

// Claims in which the JWT carries the session and the organization.
const (
	sessionClaim      = "https://stytch.com/session"
	organizationClaim = "https://stytch.com/organization"
)

const keyBits = 2048

// signingKey signs session JWTs. The key is made when it is first needed,
// since that takes longer than most tests.
type signingKey struct {
	id   string
	make func() (*rsa.PrivateKey, error)
}

func newSigningKey() *signingKey {
	return &signingKey{
		id:   "jwk-test-" + newUUID(),
		make: sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, keyBits) }),
	}
}

// sign returns the claims as a JWT in compact form.
func (k *signingKey) sign(claims map[string]any) (string, error) {
	key, err := k.make()
	if err != nil {
		return "", fmt.Errorf("making the signing key: %w", err)
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: k.id}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("making the signer: %w", err)
	}
	payload, err := encode(claims)
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return signed.CompactSerialize()
}

// sessionID returns the id of the session that a JWT of ours was minted for,
// and "" for any other text. Its age does not matter: the session's does.
func (k *signingKey) sessionID(token string) string {
	key, err := k.make()
	if err != nil {
		return ""
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return ""
	}
	payload, err := signed.Verify(&key.PublicKey)
	if err != nil {
		return ""
	}
	var claims struct {
		Session struct {
			ID string `json:"id"`
		} `json:"https://stytch.com/session"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Session.ID
}

// jwks returns the public key as a list of JSON Web Keys.
func (k *signingKey) jwks() ([]jose.JSONWebKey, error) {
	key, err := k.make()
	if err != nil {
		return nil, fmt.Errorf("making the signing key: %w", err)
	}
	return []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: k.id, Algorithm: string(jose.RS256), Use: "sig"}}, nil
}

// jwtClaims returns the claims of a JWT for the session, custom ones included.
func (s *session) jwtClaims(now time.Time) map[string]any {
	claims := map[string]any{}
	maps.Copy(claims, s.claims)
	maps.Copy(claims, map[string]any{
		"iss": "stytch.com/" + ProjectID,
		"aud": []string{ProjectID},
		"sub": s.member.seed.ID,
		"iat": now.Unix(),
		"nbf": now.Unix(),
		"exp": now.Add(jwtLifetime).Unix(),
		sessionClaim: map[string]any{
			"id":                     s.id,
			"started_at":             timestamp(s.startedAt),
			"last_accessed_at":       timestamp(s.lastAccessed),
			"expires_at":             timestamp(s.expiresAt),
			"attributes":             map[string]any{"ip_address": "", "user_agent": ""},
			"authentication_factors": s.factors(),
			"roles":                  sessionRoles,
		},
		organizationClaim: map[string]any{
			"organization_id": s.member.organization.seed.ID,
			"slug":            s.member.organization.seed.Slug,
		},
	})
	return claims
}
