package sandbox

import (
	"errors"
	"fmt"
	"strings"
)

// The organization and the member of DefaultSeed.
const (
	OrganizationID   = "organization-test-07971b06-ac8b-4cdb-9c15-63b17e653931"
	OrganizationSlug = "example-org"
	MemberID         = "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f"
)

// Seed is what a sandbox starts from, and starts over from. Fault members are
// part of its first organization, without being listed.
type Seed struct {
	Organizations []Organization `json:"organizations"`
}

// Organization describes one organization of a seed. Only the id is required.
// The id, the slug and the external id all name the organization in requests.
type Organization struct {
	ID              string         `json:"organization_id"`
	Slug            string         `json:"organization_slug"`
	ExternalID      string         `json:"organization_external_id"`
	Name            string         `json:"organization_name"`
	TrustedMetadata map[string]any `json:"trusted_metadata"`
	Suspended       bool           `json:"suspended"` // every call is refused with 403
	Members         []Member       `json:"members"`
}

// Member describes one member of a seed. Only the id is required. The id and
// the external id name the member in requests.
type Member struct {
	ID                string         `json:"member_id"`
	ExternalID        string         `json:"external_id"`
	EmailAddress      string         `json:"email_address"`
	Name              string         `json:"name"`
	Status            string         `json:"status"` // "active" when empty; any other refuses every call
	TrustedMetadata   map[string]any `json:"trusted_metadata"`
	UntrustedMetadata map[string]any `json:"untrusted_metadata"`

	// RecoveryCodes are the codes at the start, of any form. Nil means the
	// ten of RecoveryCodes; empty means that all are spent.
	RecoveryCodes []string `json:"recovery_codes"`

	// NoTOTP makes a member who has never enrolled, and so has no codes.
	NoTOTP bool `json:"no_totp"`
}

// DefaultSeed returns one organization with one active member.
func DefaultSeed() *Seed {
	return &Seed{Organizations: []Organization{{
		ID:              OrganizationID,
		Slug:            OrganizationSlug,
		Name:            "Harbour Lane Bakery",
		TrustedMetadata: map[string]any{"plan": "team"},
		Members: []Member{{
			ID:                MemberID,
			EmailAddress:      "robin@harbour-lane.example",
			Name:              "Robin Example",
			TrustedMetadata:   map[string]any{"cost_centre": 4711, "sites": []any{"quay", "mill"}},
			UntrustedMetadata: map[string]any{"theme": "dark", "locale": "en-GB"},
		}},
	}}}
}

// validate reports every contradiction, each with the place it stands at.
func (s *Seed) validate() error {
	var errs []error
	if len(s.Organizations) == 0 {
		errs = append(errs, errors.New("seed: organizations: at least one is needed"))
	}
	organizations := names{}
	members := names{}
	for i, o := range s.Organizations {
		at := fmt.Sprintf("seed: organizations[%d]", i)
		errs = append(errs,
			organizations.require(at+".organization_id", o.ID),
			organizations.claim(at+".organization_slug", o.Slug),
			organizations.claim(at+".organization_external_id", o.ExternalID))
		locals := names{}
		for j, m := range o.Members {
			at := fmt.Sprintf("%s.members[%d]", at, j)
			err := members.require(at+".member_id", m.ID)
			if err == nil {
				err = locals.claim(at+".member_id", m.ID)
			}
			errs = append(errs, err, locals.claim(at+".external_id", m.ExternalID))
			if strings.HasPrefix(m.ID, faultPrefix) {
				errs = append(errs, fmt.Errorf("%s.member_id: the prefix %s is kept for fault members", at, faultPrefix))
			}
			if m.NoTOTP && len(m.RecoveryCodes) > 0 {
				errs = append(errs, fmt.Errorf("%s.recovery_codes: a member without TOTP has none", at))
			}
		}
	}
	return errors.Join(errs...)
}

// names maps each name in use to the place that uses it.
type names map[string]string

func (n names) require(at, name string) error {
	if name == "" {
		return fmt.Errorf("%s: must not be empty", at)
	}
	return n.claim(at, name)
}

func (n names) claim(at, name string) error {
	if name == "" {
		return nil
	}
	if other, taken := n[name]; taken {
		return fmt.Errorf("%s: the name is already taken by %s", at, strings.TrimPrefix(other, "seed: "))
	}
	n[name] = at
	return nil
}
