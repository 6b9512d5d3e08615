package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// IntermediateSessionTokenPrefix begins every intermediate session token that
// the sandbox takes; what follows does not matter, and such a token may be
// used any number of times. Tokens of another form are unknown.
const IntermediateSessionTokenPrefix = "sandbox-ist-"

// maxClaims bounds the custom claims of a session, in bytes of compact JSON.
const maxClaims = 4096

// reservedClaims are dropped from custom claims: they belong to the JWT.
var reservedClaims = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

type session struct {
	id           string
	token        string
	member       *member
	factorID     string // totp_recovery_code_id of the code that was spent last
	startedAt    time.Time
	lastAccessed time.Time
	expiresAt    time.Time
	claims       map[string]any // replaced as a whole, never changed in place
}

// sessionOf returns the session that a Recover is to extend, or nil when it
// is to begin a new one.
func (s *state) sessionOf(c *call, m *member, now time.Time) (*session, *failure) {
	if c.intermediateToken != "" && !strings.HasPrefix(c.intermediateToken, IntermediateSessionTokenPrefix) {
		return nil, intermediateNotFound
	}
	var found *session
	switch {
	case c.sessionToken != "" && c.sessionJWT != "":
		return nil, sessionGivenTwice
	case c.sessionToken != "":
		found = s.tokens[c.sessionToken]
	case c.sessionJWT != "":
		found = s.sessions[c.jwtSessionID]
	default:
		return nil, nil
	}
	switch {
	case found == nil || !now.Before(found.expiresAt):
		return nil, sessionNotFound
	case found.member != m:
		return nil, sessionOfOther
	}
	return found, nil
}

// begin adds a session of the member, which ends at once unless extended.
func (s *state) begin(m *member, now time.Time) *session {
	var token [33]byte
	fillRandom(token[:])
	begun := &session{
		id:        "session-test-" + newUUID(),
		token:     base64.RawURLEncoding.EncodeToString(token[:]),
		member:    m,
		startedAt: now,
	}
	s.sessions[begun.id] = begun
	s.tokens[begun.token] = begun
	return begun
}

// extend lets the session last for duration from now, never shorter than it
// would have lasted.
func (s *session) extend(now time.Time, duration time.Duration, claims map[string]any) {
	s.lastAccessed = now
	if end := now.Add(duration); end.After(s.expiresAt) {
		s.expiresAt = end
	}
	s.factorID = "recovery-code-test-" + newUUID()
	s.claims = claims
}

// mergeClaims returns the claims of a session after changes: null deletes a
// key, reserved names are ignored, all else is set. Both maps stay as they are.
func mergeClaims(old, changes map[string]any) (map[string]any, *failure) {
	merged := map[string]any{}
	maps.Copy(merged, old)
	for name, value := range changes {
		switch {
		case slices.Contains(reservedClaims, name):
		case value == nil:
			delete(merged, name)
		default:
			merged[name] = value
		}
	}
	if len(merged) == 0 {
		return merged, nil
	}
	if size, err := json.Marshal(merged); err != nil || len(size) > maxClaims {
		return nil, claimsTooBig
	}
	return merged, nil
}
