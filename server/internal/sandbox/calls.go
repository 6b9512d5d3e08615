package sandbox

import (
	"net/http"
	"time"
)

// apply takes a call's effect. After a Recover, the claims of the JWT that the
// answer still lacks are returned beside it: signing is too slow to do while
// every other call waits.
func (s *state) apply(c *call, m *member, now time.Time) (answer, claims document, fail *failure) {
	answer = document{"status_code": http.StatusOK}
	switch c.op {
	case opGet, opRotate:
		if c.op == opRotate {
			m.rotate()
		}
		answer["recovery_codes"] = m.codesLeft()
	case opRecover:
		recovered, fail := s.recover(c, m, now)
		if fail != nil {
			return nil, nil, fail
		}
		claims = recovered.jwtClaims(now)
		answer["member_device"] = deviceDocument(c.telemetryID, now)
		answer["member_session"] = recovered.document()
		answer["recovery_codes_remaining"] = len(m.codes)
		answer["session_token"] = recovered.token
	}
	answer["member"] = m.document(now)
	answer["member_id"] = m.seed.ID
	answer["organization"] = m.organization.document()
	answer["request_id"] = newRequestID()
	return answer, claims, nil
}

// recover spends a code for a session. Everything that can be refused is
// refused before the code is looked at, so that a bad argument costs nothing.
func (s *state) recover(c *call, m *member, now time.Time) (*session, *failure) {
	duration, fail := c.sessionDuration()
	if fail != nil {
		return nil, fail
	}
	current, fail := s.sessionOf(c, m, now)
	if fail != nil {
		return nil, fail
	}
	var old map[string]any
	if current != nil {
		old = current.claims
	}
	claims, fail := mergeClaims(old, c.claims)
	if fail != nil {
		return nil, fail
	}
	if fail := m.authenticate(c.recoveryCode, now); fail != nil {
		return nil, fail
	}
	m.spend(c.recoveryCode)
	if current == nil {
		current = s.begin(m, now)
	}
	current.extend(now, duration, claims)
	return current, nil
}
