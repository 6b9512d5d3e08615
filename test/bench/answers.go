package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"recoverycodes.internal/test/documents"
)

// freeForm is the member that brings an answer to its exact size.
const freeForm = "untrusted_metadata"

// mostPadding is up to how many bytes are filled in rather than grown.
const mostPadding = 1000

// sized returns an answer to Get of exactly so many bytes. It is compact, as services write, and grows as answers do:
// a member with more roles and registrations, an organization with more rules.
func sized(size int) ([]byte, error) {
	var answer struct {
		Member        map[string]any `json:"member"`
		MemberID      string         `json:"member_id"`
		Organization  map[string]any `json:"organization"`
		RecoveryCodes []string       `json:"recovery_codes"`
		RequestID     string         `json:"request_id"`
		StatusCode    int            `json:"status_code"`
	}
	read := json.NewDecoder(bytes.NewReader(documents.Get()))
	read.UseNumber()
	if err := read.Decode(&answer); err != nil {
		return nil, err
	}
	padding := map[string]any{"padding": ""}
	answer.Member[freeForm] = padding
	for {
		text, err := compact(answer)
		if err != nil {
			return nil, err
		}
		switch missing := size - len(text); {
		case missing < 0:
			if !dropHeaviest(answer.Organization) && !dropHeaviest(answer.Member) {
				return nil, fmt.Errorf("the smallest answer has %d bytes", len(text))
			}
		case missing < mostPadding:
			padding["padding"] = strings.Repeat("x", missing)
			return compact(answer)
		default:
			grow(answer.Member, "roles", "oauth_registrations", "sso_registrations")
			grow(answer.Organization, "custom_roles", "rbac_email_implicit_role_assignments")
		}
	}
}

func compact(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(text.Bytes()), nil
}

// dropHeaviest leaves out the member of an object that takes the most room, but no id and no padding, and reports
// whether there was one.
func dropHeaviest(object map[string]any) bool {
	most, heaviest := 0, ""
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if strings.HasSuffix(name, "_id") || name == freeForm {
			continue
		}
		if text, err := compact(object[name]); err == nil && len(name)+len(text) > most {
			most, heaviest = len(name)+len(text), name
		}
	}
	delete(object, heaviest)
	return most > 0
}

// grow gives each of the named lists its last element once more.
func grow(object map[string]any, lists ...string) {
	for _, name := range lists {
		if list, ok := object[name].([]any); ok && len(list) > 0 {
			object[name] = append(list, list[len(list)-1])
		}
	}
}
