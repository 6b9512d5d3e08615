package sandbox_test

import (
	"strings"
	"testing"

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
