package sandbox

import (
	"net/http"
)

// Paths that Stytch does not have.
const (
	statePath       = "/_sandbox/state"
	resetPath       = "/_sandbox/reset"
	certificatePath = "/_sandbox/certificate"
)

// State is what the sandbox has seen and done since it started or was reset.
type State struct {
	Members        map[string]MemberState `json:"members"` // by member id; fault members once they have been named
	RedirectTarget RedirectTarget         `json:"redirect_target"`
}

// MemberState is the part of State that is about one member.
type MemberState struct {
	OrganizationID         string   `json:"organization_id"`
	Calls                  Counts   `json:"calls"`   // authenticated, well-formed requests about the member
	Effects                Counts   `json:"effects"` // codes spent and rotations; Get has no effect
	RecoveryCodes          []string `json:"recovery_codes"`
	RecoveryCodesRemaining int      `json:"recovery_codes_remaining"`
	FailedAttempts         int      `json:"failed_attempts"` // wrong codes in a row
	IsLocked               bool     `json:"is_locked"`
}

// Counts holds one number for each of the three operations.
type Counts struct {
	Get     int `json:"get"`
	Recover int `json:"recover"`
	Rotate  int `json:"rotate"`
}

func (c *Counts) add(op operation) {
	switch op {
	case opGet:
		c.Get++
	case opRecover:
		c.Recover++
	case opRotate:
		c.Rotate++
	}
}

// RedirectTarget is what arrived where the fault "redirect" points. A client
// that does not follow redirects leaves it empty.
type RedirectTarget struct {
	Connections int                 `json:"connections"`
	Bytes       int64               `json:"bytes"` // as received, below TLS
	Requests    []RedirectedRequest `json:"requests"`
}

// RedirectedRequest is one request that followed a redirect. Everything in it
// is kept as it came, credentials too.
type RedirectedRequest struct {
	Method string      `json:"method"`
	Target string      `json:"target"`
	Header http.Header `json:"header"`
	Body   string      `json:"body"`
}

// State returns a copy of the state as it is now.
func (s *Sandbox) State() State {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := State{Members: map[string]MemberState{}, RedirectTarget: s.state.redirected}
	seen.RedirectTarget.Requests = append([]RedirectedRequest{}, s.state.redirected.Requests...)
	for _, m := range s.state.members {
		locked := m.isLocked(now)
		seen.Members[m.seed.ID] = MemberState{
			OrganizationID:         m.organization.seed.ID,
			Calls:                  m.calls,
			Effects:                m.effects,
			RecoveryCodes:          m.codesLeft(),
			RecoveryCodesRemaining: len(m.codes),
			FailedAttempts:         m.failures,
			IsLocked:               locked,
		}
	}
	return seen
}
