package sandbox_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"recoverycodes.internal/server/internal/sandbox"
)

// codes hands out the seeded codes one after another.
func codes() func() string {
	left := sandbox.RecoveryCodes()
	return func() string { code := left[0]; left = left[1:]; return code }
}

func TestSessionDuration(t *testing.T) {
	now := newClock()
	p := start(t, sandbox.Options{Clock: now.Now})
	next := codes()
	for _, c := range []struct {
		minutes any
		lasts   time.Duration // 0: refused
	}{
		{nil, time.Hour}, {5, 5 * time.Minute}, {61, 61 * time.Minute}, {527040, 527040 * time.Minute},
		{0, 0}, {4, 0}, {-1, 0}, {527041, 0}, {1 << 31, 0}, {json.Number("60.5"), 0}, {json.Number("1e400"), 0},
	} {
		t.Run(fmt.Sprint(c.minutes), func(t *testing.T) {
			code := "wrong, but not looked at"
			if c.lasts > 0 {
				code = next()
			}
			a := p.post(recoverPath, member("recovery_code", code, "session_duration_minutes", c.minutes))
			if c.lasts == 0 {
				a.wantError(t, 400, "invalid_session_duration_minutes")
				return
			}
			a.wantOK(t)
			if got, want := a.text("member_session", "expires_at"), now.Now().Add(c.lasts).Format(time.RFC3339); got != want {
				t.Errorf("session ends at %s, want %s", got, want)
			}
		})
	}
}

func TestSessionIsExtended(t *testing.T) {
	for _, by := range []string{"session_token", "session_jwt"} {
		t.Run(by, func(t *testing.T) {
			now := newClock()
			p := start(t, sandbox.Options{Clock: now.Now})
			next := codes()
			first := p.post(recoverPath, member("recovery_code", next(), "session_custom_claims", map[string]any{"a": 1, "b": 2}))
			first.wantOK(t)
			now.advance(30 * time.Minute) // the JWT has expired, the session has not
			second := p.post(recoverPath, member("recovery_code", next(), by, first.text(by), "session_duration_minutes", 90,
				"session_custom_claims", map[string]any{"b": nil, "c": 3}))
			second.wantOK(t)
			for _, same := range [][]string{{"session_token"}, {"member_session", "member_session_id"}, {"member_session", "started_at"}} {
				if first.text(same...) == "" || first.text(same...) != second.text(same...) {
					t.Errorf("%v went from %q to %q", same, first.text(same...), second.text(same...))
				}
			}
			if got, want := second.text("member_session", "expires_at"), now.Now().Add(90*time.Minute).Format(time.RFC3339); got != want {
				t.Errorf("session ends at %s, want %s", got, want)
			}
			want := map[string]any{"a": json.Number("1"), "c": json.Number("3")}
			if diff := cmp.Diff(want, second.at("member_session", "custom_claims")); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			third := p.post(recoverPath, member("recovery_code", next(), by, second.text(by), "session_duration_minutes", 5))
			third.wantOK(t)
			if got, want := third.text("member_session", "expires_at"), second.text("member_session", "expires_at"); got != want {
				t.Errorf("a shorter duration moved the end of the session from %s to %s", want, got)
			}
			now.advance(90 * time.Minute)
			p.post(recoverPath, member("recovery_code", next(), by, second.text(by))).wantError(t, 404, "session_not_found")
			p.post(recoverPath, member("recovery_code", sandbox.RecoveryCodes()[3])).wantOK(t) // it was not spent
		})
	}
}

func TestSessionArguments(t *testing.T) {
	seed := sandbox.DefaultSeed()
	seed.Organizations[0].Members = append(seed.Organizations[0].Members, sandbox.Member{ID: "member-test-other"})
	p := start(t, sandbox.Options{Seed: seed})
	other := p.post(recoverPath, member("member_id", "member-test-other", "recovery_code", sandbox.RecoveryCodes()[0]))
	other.wantOK(t)
	jwt := other.text("session_jwt")
	forged := jwt[:len(jwt)-8] + "AAAAAAAA"
	for _, c := range []struct {
		name   string
		fields []any
		status int
		kind   string
	}{
		{"unknown token", []any{"session_token", "x"}, 404, "session_not_found"},
		{"no JWT", []any{"session_jwt", "x"}, 404, "session_not_found"},
		{"forged JWT", []any{"session_jwt", forged}, 404, "session_not_found"},
		{"token of another member", []any{"session_token", other.text("session_token")}, 400, "member_session_member_id_mismatch"},
		{"JWT of another member", []any{"session_jwt", jwt}, 400, "member_session_member_id_mismatch"},
		{"both", []any{"session_token", "x", "session_jwt", "x"}, 400, "too_many_session_arguments"},
		{"unknown intermediate token", []any{"intermediate_session_token", "x"}, 404, "intermediate_session_not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fields := append([]any{"recovery_code", sandbox.RecoveryCodes()[0]}, c.fields...)
			p.post(recoverPath, member(fields...)).wantError(t, c.status, c.kind)
		})
	}
	p.post(recoverPath, member("recovery_code", sandbox.RecoveryCodes()[0],
		"intermediate_session_token", sandbox.IntermediateSessionTokenPrefix+"1", "session_token", "")).wantOK(t)
}

func TestClaims(t *testing.T) {
	p := start(t, sandbox.Options{})
	next := codes()
	sized := func(n int) map[string]any { return map[string]any{"k": strings.Repeat("x", n-len(`{"k":""}`))} }
	p.post(recoverPath, member("recovery_code", next(), "session_custom_claims", sized(4096))).wantOK(t)
	p.post(recoverPath, member("recovery_code", "not looked at", "session_custom_claims", sized(4097))).wantError(t, 400, "custom_claims_too_large")
	first := p.post(recoverPath, member("recovery_code", next(), "session_custom_claims", sized(3000)))
	more := map[string]any{"l": strings.Repeat("y", 2000)}
	p.post(recoverPath, member("recovery_code", "not looked at", "session_token", first.text("session_token"),
		"session_custom_claims", more)).wantError(t, 400, "custom_claims_too_large")

	a := p.post(recoverPath, member("recovery_code", next(), "session_custom_claims", map[string]any{
		"iss": "i", "sub": "s", "aud": "a", "exp": 1, "nbf": 2, "iat": 3, "jti": "j", "gone": nil,
		"big": json.Number("9007199254740993"), "sub_": "kept"}))
	a.wantOK(t)
	want := map[string]any{"big": json.Number("9007199254740993"), "sub_": "kept"}
	if diff := cmp.Diff(want, a.at("member_session", "custom_claims")); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestSessionJWT(t *testing.T) {
	now := newClock()
	p := start(t, sandbox.Options{Clock: now.Now})
	a := p.post(recoverPath, member("recovery_code", sandbox.RecoveryCodes()[0], "session_duration_minutes", 600,
		"session_custom_claims", map[string]any{"shift": "early", "sub": "mallory"}))
	a.wantOK(t)

	r := p.request("GET", "/v1/b2b/sessions/jwks/"+sandbox.ProjectID, "")
	r.Header.Del("Authorization")
	published := p.do(r)
	published.wantOK(t)
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(published.body, &keys); err != nil {
		t.Fatal(err)
	}
	if len(keys.Keys) != 1 || !keys.Keys[0].IsPublic() || keys.Keys[0].Algorithm != "RS256" || keys.Keys[0].Use != "sig" {
		t.Fatalf("JWKS is not one public RS256 key: %s", published.body)
	}
	signed, err := jose.ParseSignedCompact(a.text("session_jwt"), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	if got := signed.Signatures[0].Header.KeyID; got == "" || got != keys.Keys[0].KeyID {
		t.Errorf("kid is %q, JWKS has %q", got, keys.Keys[0].KeyID)
	}
	payload, err := signed.Verify(keys.Keys[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	session := got["https://stytch.com/session"].(map[string]any)
	if session["id"] != a.text("member_session", "member_session_id") || session["expires_at"] != a.text("member_session", "expires_at") {
		t.Errorf("session claim is %v", session)
	}
	delete(got, "https://stytch.com/session")
	want := map[string]any{
		"iss": "stytch.com/" + sandbox.ProjectID, "aud": []any{sandbox.ProjectID}, "sub": sandbox.MemberID,
		"iat": float64(now.Now().Unix()), "nbf": float64(now.Now().Unix()), "exp": float64(now.Now().Add(5 * time.Minute).Unix()),
		"https://stytch.com/organization": map[string]any{"organization_id": sandbox.OrganizationID, "slug": sandbox.OrganizationSlug},
		"shift":                           "early",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	p.get("/v1/b2b/sessions/jwks/project-test-other").wantError(t, 404, "project_not_found")
}

func TestLock(t *testing.T) {
	now := newClock()
	p := start(t, sandbox.Options{Clock: now.Now})
	next := codes()
	wrong := func(times int) {
		t.Helper()
		for range times {
			p.post(recoverPath, member("recovery_code", "wrong")).wantError(t, 401, "unable_to_authenticate_recovery_code")
		}
	}
	locked := func(want bool, since, until any) {
		t.Helper()
		a := p.get(getPath)
		a.wantOK(t)
		got := []any{a.at("member", "is_locked"), a.at("member", "lock_created_at"), a.at("member", "lock_expires_at")}
		if diff := cmp.Diff([]any{want, since, until}, got); diff != "" {
			t.Errorf("lock (-want +got):\n%s", diff)
		}
	}
	wrong(9)
	p.post(recoverPath, member("recovery_code", next())).wantOK(t) // the count starts again
	wrong(9)
	locked(false, nil, nil)
	wrong(1)
	since := now.Now()
	locked(true, since.Format(time.RFC3339), since.Add(time.Hour).Format(time.RFC3339))

	code := next()
	now.advance(time.Hour - time.Second)
	p.post(recoverPath, member("recovery_code", code)).wantError(t, 429, "user_lock_limit_reached")
	now.advance(time.Second)
	locked(false, nil, nil)
	wrong(9)
	p.post(recoverPath, member("recovery_code", code)).wantOK(t)
}
