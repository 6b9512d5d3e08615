package sandbox

import (
	"slices"
	"time"
)

// What is known of wrong codes: ten in a row, and the member is locked for an
// hour.
const (
	failuresBeforeLock = 10
	lockDuration       = time.Hour
)

// state is everything that calls change. Sandbox.mu guards it.
type state struct {
	organizations map[string]*organization // by id, slug and external id
	members       []*member
	faultsIn      *Organization       // where the fault members are: the first of the seed
	sessions      map[string]*session // by session id
	tokens        map[string]*session // by session token
	redirected    RedirectTarget
}

type organization struct {
	seed    *Organization
	members map[string]*member // by id and external id
}

type member struct {
	seed         *Member
	organization *organization
	codes        []string // those not spent
	fault        fault    // nil but for fault members
	calls        Counts
	effects      Counts
	failures     int // wrong codes in a row
	lockedAt     time.Time
	lockedUntil  time.Time
}

func newState(seed *Seed) *state {
	s := &state{
		faultsIn:      &seed.Organizations[0],
		organizations: map[string]*organization{},
		sessions:      map[string]*session{},
		tokens:        map[string]*session{},
	}
	for i := range seed.Organizations {
		o := &organization{seed: &seed.Organizations[i], members: map[string]*member{}}
		for _, name := range []string{o.seed.ID, o.seed.Slug, o.seed.ExternalID} {
			if name != "" {
				s.organizations[name] = o
			}
		}
		for j := range o.seed.Members {
			s.addMember(o, &o.seed.Members[j])
		}
	}
	return s
}

func (s *state) addMember(o *organization, seed *Member) *member {
	m := &member{seed: seed, organization: o, codes: seed.RecoveryCodes}
	if m.codes == nil && !seed.NoTOTP {
		m.codes = RecoveryCodes()
	}
	m.codes = slices.Clone(m.codes) // spending a code must leave the seed whole
	for _, name := range []string{seed.ID, seed.ExternalID} {
		if name != "" {
			o.members[name] = m
		}
	}
	s.members = append(s.members, m)
	return m
}

// find returns the member that a call is about. A fault member comes into
// being when it is first named.
func (s *state) find(c *call) (*member, *failure) {
	o, ok := s.organizations[c.organizationID]
	if !ok {
		return nil, organizationNotFound
	}
	if m, ok := o.members[c.memberID]; ok {
		return m, nil
	}
	if o.seed == s.faultsIn {
		if f := parseFault(c.memberID); f != nil {
			m := s.addMember(o, &Member{ID: c.memberID, Name: "Fault Member"})
			m.fault = f
			return m, nil
		}
	}
	return nil, memberNotFound
}

// admits tells whether the operation is open to the member at all.
func (m *member) admits(op operation) *failure {
	switch {
	case m.organization.seed.Suspended:
		return organizationSuspended
	case m.seed.Status != "" && m.seed.Status != statusActive:
		return memberNotActive
	case m.seed.NoTOTP && op == opRecover:
		return noCodesToRecoverWith
	case m.seed.NoTOTP:
		return noCodesFound
	}
	return nil
}

// isLocked reports whether the member is locked. A lock that has run out is
// forgotten, and the count of failures with it.
func (m *member) isLocked(now time.Time) bool {
	if m.lockedUntil.IsZero() {
		return false
	}
	if now.Before(m.lockedUntil) {
		return true
	}
	m.failures, m.lockedAt, m.lockedUntil = 0, time.Time{}, time.Time{}
	return false
}

// authenticate tells whether the code is one of the member's. A wrong one
// counts towards the lock; the code itself is not yet spent.
func (m *member) authenticate(code string, now time.Time) *failure {
	if m.isLocked(now) {
		return memberLocked
	}
	if slices.Contains(m.codes, code) {
		m.failures = 0
		return nil
	}
	m.failures++
	if m.failures >= failuresBeforeLock {
		m.lockedAt, m.lockedUntil = now, now.Add(lockDuration)
	}
	return wrongCode
}

// spend takes the code from the member.
func (m *member) spend(code string) {
	i := slices.Index(m.codes, code)
	m.codes = slices.Delete(m.codes, i, i+1)
	m.effects.add(opRecover)
}

// rotate voids all codes of the member and mints others.
func (m *member) rotate() {
	m.codes = mintCodes()
	m.effects.add(opRotate)
}

// codesLeft returns a copy: the answer is written after the lock is given up.
func (m *member) codesLeft() []string {
	return append([]string{}, m.codes...)
}
