package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// document is a JSON object. Maps are encoded in the order of their keys,
// which is the order that answers have.
type document = map[string]any

// none is an empty list; a nil slice would be written as null.
var none = []any{}

// seededAt is when the organizations and members of every seed were created.
const seededAt = "2025-03-04T09:10:11Z"

const statusActive = "active"

// sessionRoles are the roles of every session.
var sessionRoles = []string{"stytch_member", "baker"}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func timestampOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return timestamp(t)
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func metadata(m map[string]any) any {
	if m == nil {
		return document{}
	}
	return m
}

// encode writes a value as compact JSON, without escaping what only HTML minds.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("encoding JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// document returns the member as every answer shows it. Ids of things that
// the sandbox has no use for are constant, texts come from the seed.
func (m *member) document(now time.Time) document {
	locked := m.isLocked(now)
	email := cmp.Or(m.seed.EmailAddress, "member@harbour-lane.example")
	totp, defaultMethod := "member-totp-test-2b7c1d64-58a1-4c0e-9f0e-7a2d6b1c3e55", "totp"
	if m.seed.NoTOTP {
		totp, defaultMethod = "", ""
	}
	return document{
		"created_at":                seededAt,
		"default_mfa_method":        defaultMethod,
		"email_address":             email,
		"email_address_verified":    true,
		"external_id":               textOrNull(m.seed.ExternalID),
		"is_admin":                  false,
		"is_breakglass":             false,
		"is_locked":                 locked,
		"lock_created_at":           timestampOrNull(m.lockedAt),
		"lock_expires_at":           timestampOrNull(m.lockedUntil),
		"member_id":                 m.seed.ID,
		"member_password_id":        "",
		"mfa_enrolled":              !m.seed.NoTOTP,
		"mfa_phone_number":          "+15550100123",
		"mfa_phone_number_verified": false,
		"name":                      m.seed.Name,
		"oauth_registrations": []document{{
			"locale":                       "en-GB",
			"member_oauth_registration_id": "oauth-member-test-5d0f6f0c-7b52-43b5-8f6a-0f7d0a2c9e11",
			"profile_picture_url":          nil,
			"provider_subject":             "204815162342",
			"provider_type":                "Google",
		}},
		"organization_id": m.organization.seed.ID,
		"retired_email_addresses": []document{{
			"email_address": "before@harbour-lane.example",
			"email_id":      "email-test-c3f1a6be-2d0e-4a53-90f5-3f0c7f5b8a20",
		}},
		"roles": []document{{
			"role_id": "baker",
			"sources": []document{
				{"details": document{}, "type": "direct_assignment"},
				{"details": document{"email_domain": "harbour-lane.example"}, "type": "email_assignment"},
			},
		}},
		"scim_registration": nil,
		"sso_registrations": []document{{
			"connection_id":   "oidc-connection-test-0c8f5d6e-6d5b-4f3a-8a6f-5e4d3c2b1a09",
			"external_id":     email,
			"registration_id": "oidc-member-registration-test-f7a2e1d0-3b4c-4d5e-8f60-718293a4b5c6",
			"sso_attributes":  document{"groups": []string{"bakers", "early-shift"}},
		}},
		"status":               cmp.Or(m.seed.Status, statusActive),
		"totp_registration_id": totp,
		"trusted_metadata":     metadata(m.seed.TrustedMetadata),
		"untrusted_metadata":   metadata(m.seed.UntrustedMetadata),
		"updated_at":           seededAt,
	}
}

func (o *organization) document() document {
	return document{
		"allowed_auth_methods":                    none,
		"allowed_first_party_connected_apps":      none,
		"allowed_mfa_methods":                     []string{"totp"},
		"allowed_oauth_tenants":                   document{},
		"allowed_third_party_connected_apps":      none,
		"auth_methods":                            "ALL_ALLOWED",
		"claimed_email_domains":                   none,
		"created_at":                              seededAt,
		"custom_roles":                            none,
		"email_allowed_domains":                   []string{"harbour-lane.example"},
		"email_invites":                           "RESTRICTED",
		"email_jit_provisioning":                  "NOT_ALLOWED",
		"first_party_connected_apps_allowed_type": "ALL_ALLOWED",
		"mfa_methods":                             "RESTRICTED",
		"mfa_policy":                              "REQUIRED_FOR_ALL",
		"oauth_tenant_jit_provisioning":           "NOT_ALLOWED",
		"organization_external_id":                textOrNull(o.seed.ExternalID),
		"organization_id":                         o.seed.ID,
		"organization_logo_url":                   "",
		"organization_name":                       o.seed.Name,
		"organization_slug":                       o.seed.Slug,
		"rbac_email_implicit_role_assignments": []document{{
			"domain":  "harbour-lane.example",
			"role_id": "baker",
		}},
		"scim_active_connection": nil,
		"sso_active_connections": []document{{
			"connection_id":     "oidc-connection-test-0c8f5d6e-6d5b-4f3a-8a6f-5e4d3c2b1a09",
			"display_name":      "Harbour sign-on",
			"identity_provider": "generic",
		}},
		"sso_default_connection_id":                nil,
		"sso_jit_provisioning":                     "ALL_ALLOWED",
		"sso_jit_provisioning_allowed_connections": none,
		"third_party_connected_apps_allowed_type":  "ALL_ALLOWED",
		"trusted_metadata":                         metadata(o.seed.TrustedMetadata),
		"updated_at":                               seededAt,
	}
}

// factors lists what the session was authenticated with. sequence_order is in
// no published schema but in real answers.
func (s *session) factors() []document {
	return []document{
		{
			"created_at":      timestamp(s.startedAt),
			"delivery_method": "email",
			"email_factor": document{
				"email_address": cmp.Or(s.member.seed.EmailAddress, "member@harbour-lane.example"),
				"email_id":      "email-test-8a4b6c1d-0e2f-4a3b-9c5d-6e7f8091a2b3",
			},
			"last_authenticated_at": timestamp(s.startedAt),
			"sequence_order":        "PRIMARY",
			"type":                  "magic_link",
			"updated_at":            timestamp(s.startedAt),
		},
		{
			"created_at":            timestamp(s.startedAt),
			"delivery_method":       "recovery_code",
			"last_authenticated_at": timestamp(s.lastAccessed),
			"recovery_code_factor":  document{"totp_recovery_code_id": s.factorID},
			"sequence_order":        "SECONDARY",
			"type":                  "recovery_codes",
			"updated_at":            timestamp(s.lastAccessed),
		},
	}
}

func (s *session) document() document {
	return document{
		"authentication_factors": s.factors(),
		"custom_claims":          s.claims,
		"expires_at":             timestamp(s.expiresAt),
		"last_accessed_at":       timestamp(s.lastAccessed),
		"member_id":              s.member.seed.ID,
		"member_session_id":      s.id,
		"organization_id":        s.member.organization.seed.ID,
		"organization_slug":      s.member.organization.seed.Slug,
		"roles":                  slices.Clone(sessionRoles),
		"started_at":             timestamp(s.startedAt),
	}
}

// deviceDocument describes the device of a Recover that names a telemetry id,
// and is null for one that does not.
func deviceDocument(telemetryID string, now time.Time) any {
	if telemetryID == "" {
		return nil
	}
	seen := document{"first_seen_at": seededAt, "is_new": false, "last_seen_at": timestamp(now)}
	return document{
		"ip_address":             "192.0.2.44",
		"ip_address_details":     seen,
		"ip_geo_city":            "Whitby",
		"ip_geo_country":         "GB",
		"ip_geo_country_details": seen,
		"ip_geo_region":          nil,
		"visitor_id":             "visitor-test-6f1e2d3c-4b5a-4697-8879-6a5b4c3d2e1f",
		"visitor_id_details":     seen,
	}
}
