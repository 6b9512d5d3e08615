package sandbox

import (
	"bytes"
	"encoding/json"
	"strings"
)

// The functions below spoil an answer that belongs to one exchange. They
// replace what they change: metadata is shared with the seed. None touches
// status_code, the ids, the codes or the tokens, so that a tolerant reader
// still finds what the call was made for.

// Sizes of the answers that are too large or too deep. The first is beyond
// 8 MB, the second well short of the depth at which Go refuses to read JSON.
const (
	paddingSize  = 9 << 20
	nestingDepth = 4000
)

// What stands in an answer until it is bytes, and the bytes that then take
// its place: what the encoder makes is always valid Unicode.
const (
	paddingMark = "sandbox:padding"

	rawMark  = "sandbox:raw-bytes"
	loneMark = "sandbox:lone-surrogates"

	rawBytes       = "a\xff\xfeb\xc3(c\xed\xa0\x80d\xf4\x90\x80\x80e\xe2\x82"
	loneSurrogates = `a\ud83db\udc00c\ude00\ud83d`
)

// part returns an object of the answer, and one to throw away when the answer
// has none there, as only Recover has a session.
func part(answer document, name string) document {
	if d, ok := answer[name].(document); ok {
		return d
	}
	return document{}
}

func markPadding(answer document) {
	part(answer, "member")["untrusted_metadata"] = document{"padding": paddingMark}
}

func writePadding(body []byte) []byte {
	return bytes.Replace(body, []byte(paddingMark), bytes.Repeat([]byte("x"), paddingSize), 1)
}

func addUnknownFields(answer document) {
	unknown := func(d document) {
		d["sandbox_flag"] = true
		d["sandbox_list"] = []any{1, "two", nil, []any{}, document{"three": 3}}
		d["sandbox_null"] = nil
		d["sandbox_number"] = json.Number("12345678901234567890.5e-3")
		d["sandbox_object"] = document{"inner": document{"sandbox_text": "new"}}
		d["sandbox_text"] = "new"
	}
	unknown(answer)
	for _, name := range []string{"member", "organization", "member_session", "member_device"} {
		unknown(part(answer, name))
	}
	for _, list := range [][]document{
		documents(part(answer, "member")["roles"]),
		documents(part(answer, "organization")["sso_active_connections"]),
		documents(part(answer, "member_session")["authentication_factors"]),
	} {
		for _, d := range list {
			unknown(d)
		}
	}
}

func documents(list any) []document {
	d, _ := list.([]document)
	return d
}

func changeTypes(answer document) {
	set := func(name string, changes document) {
		d := part(answer, name)
		for field, value := range changes {
			d[field] = value
		}
	}
	set("member", document{
		"created_at":              "the day before yesterday",
		"email_address_verified":  "yes",
		"external_id":             document{"id": 1},
		"lock_created_at":         false,
		"name":                    7,
		"oauth_registrations":     "none",
		"retired_email_addresses": []any{"a text", 5, nil, document{"email_id": 6}},
		"roles":                   document{"role_id": "baker"},
		"trusted_metadata":        []any{1, 2},
		"updated_at":              20250304,
	})
	set("organization", document{
		"allowed_oauth_tenants":  "all",
		"created_at":             "2025-13-45T25:61:61Z",
		"email_allowed_domains":  []any{"harbour-lane.example", 5, nil, []any{}},
		"organization_logo_url":  []any{},
		"organization_name":      nil,
		"scim_active_connection": true,
		"sso_active_connections": document{},
	})
	set("member_session", document{"custom_claims": []any{}, "roles": "stytch_member", "started_at": 0.5})
	if _, recovered := answer["recovery_codes_remaining"]; recovered {
		answer["recovery_codes_remaining"] = json.Number("3000000000") // beyond an int32
		answer["member_device"] = "unknown"
	}
}

func markBadText(answer document) {
	part(answer, "member")["name"] = rawMark
	part(answer, "organization")["organization_name"] = loneMark
	part(answer, "member")["untrusted_metadata"] = document{
		rawMark:  []any{rawMark, loneMark},
		loneMark: document{"good": "kept"},
	}
	part(answer, "member_session")["roles"] = []any{rawMark, "stytch_member", loneMark}
}

func writeBadText(body []byte) []byte {
	body = bytes.ReplaceAll(body, []byte(rawMark), []byte(rawBytes))
	return bytes.ReplaceAll(body, []byte(loneMark), []byte(loneSurrogates))
}

func nestDeeply(answer document) {
	nested := func(before, after string) json.RawMessage {
		return json.RawMessage(strings.Repeat(before, nestingDepth) + "1" + strings.Repeat(after, nestingDepth))
	}
	part(answer, "member")["trusted_metadata"] = document{"kept": "shallow", "objects": nested(`{"d":`, "}")}
	part(answer, "organization")["trusted_metadata"] = document{"kept": "shallow", "lists": nested("[", "]")}
}
