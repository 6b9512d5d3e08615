package sandbox_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"recoverycodes.internal/server/internal/sandbox"
)

func TestSeedContradictions(t *testing.T) {
	member := func(ms ...sandbox.Member) *sandbox.Seed {
		return &sandbox.Seed{Organizations: []sandbox.Organization{{ID: "o", Members: ms}}}
	}
	for _, c := range []struct {
		name string
		seed *sandbox.Seed
		want string
	}{
		{"empty", &sandbox.Seed{}, "organizations: at least one"},
		{"no organization id", &sandbox.Seed{Organizations: []sandbox.Organization{{Slug: "s"}}}, "organizations[0].organization_id: must not be empty"},
		{"slug is another's id", &sandbox.Seed{Organizations: []sandbox.Organization{{ID: "o"}, {ID: "p", Slug: "o"}}},
			"organizations[1].organization_slug: the name is already taken by organizations[0].organization_id"},
		{"no member id", member(sandbox.Member{Name: "n"}), "organizations[0].members[0].member_id: must not be empty"},
		{"member twice", member(sandbox.Member{ID: "m"}, sandbox.Member{ID: "m"}), "members[1].member_id: the name is already taken"},
		{"external id twice", member(sandbox.Member{ID: "m", ExternalID: "e"}, sandbox.Member{ID: "n", ExternalID: "e"}), "members[1].external_id: the name is already taken"},
		{"external id is a member id", member(sandbox.Member{ID: "m"}, sandbox.Member{ID: "n", ExternalID: "m"}), "members[1].external_id: the name is already taken"},
		{"fault member", member(sandbox.Member{ID: "member-test-fault-truncated"}), "members[0].member_id: the prefix"},
		{"codes without TOTP", member(sandbox.Member{ID: "m", NoTOTP: true, RecoveryCodes: []string{"c"}}), "members[0].recovery_codes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := sandbox.New(sandbox.Options{Seed: c.seed})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestSeededCodes(t *testing.T) {
	seed := &sandbox.Seed{Organizations: []sandbox.Organization{{ID: "o", Members: []sandbox.Member{
		{ID: "own", RecoveryCodes: []string{"IMPORTED 1", "2"}}, {ID: "spent", RecoveryCodes: []string{}}, {ID: "usual"},
	}}}}
	p := start(t, sandbox.Options{Seed: seed})
	for name, want := range map[string]int{"own": 2, "spent": 0, "usual": 10} {
		a := p.get("/v1/b2b/recovery_codes/o/" + name)
		a.wantOK(t)
		if got := len(a.list("recovery_codes")); got != want {
			t.Errorf("%s has %d codes, want %d", name, got, want)
		}
	}
	p.post(recoverPath, map[string]any{"organization_id": "o", "member_id": "own", "recovery_code": "IMPORTED 1"}).wantOK(t)
	if left := seed.Organizations[0].Members[0].RecoveryCodes; len(left) != 2 || left[0] != "IMPORTED 1" {
		t.Errorf("spending a code changed the seed: %q", left)
	}
}

func TestReadSeed(t *testing.T) {
	const whole = `{
  "organizations": [
    {
      "organization_id": "o", "organization_slug": "s", "organization_external_id": "e", "organization_name": "n",
      "trusted_metadata": {"k": 9007199254740993}, "suspended": true,
      "members": [
        {"member_id": "m", "external_id": "x", "email_address": "m@example.org", "name": "M", "status": "invited",
         "trusted_metadata": {"a": [1]}, "untrusted_metadata": null, "recovery_codes": ["one"], "no_totp": false},
        {"member_id": "spent", "recovery_codes": []},
        {"member_id": "usual", "recovery_codes": null}
      ]
    }
  ]
}`
	got, err := sandbox.ReadSeed(strings.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	want := &sandbox.Seed{Organizations: []sandbox.Organization{{
		ID: "o", Slug: "s", ExternalID: "e", Name: "n", Suspended: true,
		TrustedMetadata: map[string]any{"k": json.Number("9007199254740993")},
		Members: []sandbox.Member{
			{ID: "m", ExternalID: "x", EmailAddress: "m@example.org", Name: "M", Status: "invited",
				TrustedMetadata: map[string]any{"a": []any{json.Number("1")}}, RecoveryCodes: []string{"one"}},
			{ID: "spent", RecoveryCodes: []string{}},
			{ID: "usual"},
		},
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("seed (-want +got):\n%s", diff)
	}
}

func TestReadSeedRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "seed: line 1: not valid JSON"},
		{"broken", "{\n\"organizations\": [}\n", "seed: line 2: not valid JSON"},
		{"two values", "{}\n{}", "seed: line 2: not valid JSON"},
		{"list", "[]", "seed: line 1: must be an object"},
		{"unknown at the top", "{\n \"organisations\": []}", "seed: line 2: organisations: unknown member"},
		{"unknown within", "{\"organizations\": [{\n\"organization_id\":\"o\",\n\"Members\": []}]}", "seed: line 3: organizations[0].Members: unknown member"},
		{"twice", "{\"organizations\": [\n{\"members\": [{},\n{\"name\":\"a\",\n\"name\":\"b\"}]}]}", "seed: line 4: organizations[0].members[1].name: given twice"},
		{"wrong type", "{\"organizations\": [\n{\"members\": [{\n\"recovery_codes\": [1]}]}]}", "seed: line 3: organizations[0].members[0].recovery_codes: the value has the wrong type"},
		{"no list", "{\n\"organizations\": {}}", "seed: line 2: organizations: must be a list"},
		{"contradiction", "{\"organizations\": [{}]}", "seed: organizations[0].organization_id: must not be empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := sandbox.ReadSeed(strings.NewReader(c.text)); err == nil || err.Error() != c.want {
				t.Errorf("error is %v, want %s", err, c.want)
			}
		})
	}
}
