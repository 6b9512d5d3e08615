package access

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestNewSecret(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		given, hash := NewSecret()
		// 52 characters of 5 bits each.
		if !regexp.MustCompile(`^rcs_[A-Z2-7]{52}$`).MatchString(given) {
			t.Fatalf("the secret %q is not of the form that scanners look for", given)
		}
		if want := fmt.Sprintf("%x", sha256.Sum256([]byte(given))); hash != want {
			t.Fatalf("hash %q, want %q", hash, want)
		}
		if seen[given] {
			t.Fatal("a secret was given twice")
		}
		seen[given] = true
		scheme, token, _, err := parseAuthorization([]string{"Bearer " + given})
		if err != nil || scheme != bearer || token != given {
			t.Fatalf("the secret cannot be sent as a bearer token: %v", err)
		}
		if jwtShaped(given) {
			t.Fatal("the secret looks like a JWT")
		}
	}
}

func TestMatchSecret(t *testing.T) {
	var hashes [][sha256.Size]byte
	for _, s := range []string{"first", "second", "third"} {
		hashes = append(hashes, sha256.Sum256([]byte(s)))
	}
	tests := []struct {
		name  string
		given string
		want  int
	}{
		{"the first", "first", 0},
		{"the last", "third", 2},
		{"another", "fourth", -1},
		{"the beginning of one", "firs", -1},
		{"a hash is not its own secret", hex.EncodeToString(hashes[0][:]), -1},
		{"nor are its bytes", string(hashes[0][:]), -1},
		{"nothing", "", -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := matchSecret(hashes, tt.given); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	if got := matchSecret(nil, "first"); got != -1 {
		t.Errorf("without hashes: got %d, want -1", got)
	}
}

func TestParseAuthorization(t *testing.T) {
	const canary = "CANARY"
	encoded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	type parsed struct {
		scheme      authScheme
		token, user string
	}
	tests := []struct {
		name   string
		values []string
		want   parsed
		err    string
	}{
		{name: "bearer", values: []string{"Bearer " + canary}, want: parsed{scheme: bearer, token: canary}},
		{name: "bearer in lower case", values: []string{"bearer " + canary}, want: parsed{scheme: bearer, token: canary}},
		{name: "bearer with all it may have", values: []string{"Bearer aZ09-._~+/=="},
			want: parsed{scheme: bearer, token: "aZ09-._~+/=="}},
		{name: "bearer of 8 KB", values: []string{"Bearer " + strings.Repeat("x", 8185)},
			want: parsed{scheme: bearer, token: strings.Repeat("x", 8185)}},
		{name: "basic", values: []string{"Basic " + encoded("project:"+canary)}, want: parsed{basic, canary, "project"}},
		{name: "basic in capitals",
			values: []string{"BASIC " + encoded("project:"+canary)}, want: parsed{basic, canary, "project"}},
		{name: "basic with colons in the password",
			values: []string{"Basic " + encoded("p:a:b:")}, want: parsed{basic, "a:b:", "p"}},
		{name: "basic in UTF-8", values: []string{"Basic " + encoded("p:é")}, want: parsed{basic, "é", "p"}},

		{name: "none", err: "exactly one"},
		{name: "two", values: []string{"Bearer " + canary, "Bearer " + canary}, err: "exactly one"},
		{name: "empty", values: []string{""}, err: "neither"},
		{name: "another scheme", values: []string{"Digest " + canary}, err: "neither"},
		{name: "no scheme", values: []string{canary}, err: "neither"},
		{name: "space before", values: []string{" Bearer " + canary}, err: "neither"},
		{name: "tab for a space", values: []string{"Bearer\t" + canary}, err: "neither"},
		{name: "too long", values: []string{"Bearer " + strings.Repeat("x", 8186)}, err: "too long"},
		{name: "bearer and nothing", values: []string{"Bearer"}, err: "empty"},
		{name: "bearer and a space", values: []string{"Bearer "}, err: "empty"},
		{name: "bearer of equals signs", values: []string{"Bearer =="}, err: "empty"},
		{name: "bearer after two spaces", values: []string{"Bearer  " + canary}, err: "characters"},
		{name: "bearer and a space after", values: []string{"Bearer " + canary + " "}, err: "characters"},
		{name: "bearer with a comma", values: []string{"Bearer " + canary + ",Basic"}, err: "characters"},
		{name: "bearer with a line feed", values: []string{"Bearer " + canary + "\n"}, err: "characters"},
		{name: "bearer with NUL", values: []string{"Bearer " + canary + "\x00"}, err: "characters"},
		{name: "bearer not ASCII", values: []string{"Bearer " + canary + "é"}, err: "characters"},
		{name: "basic not base64", values: []string{"Basic " + canary + "!"}, err: "base64"},
		{name: "basic without padding",
			values: []string{"Basic " + strings.TrimRight(encoded("p:"+canary), "=")}, err: "base64"},
		{name: "basic with a bit too many", values: []string{"Basic cDpDQU5BUln="}, err: "base64"},
		{name: "basic with line breaks",
			values: []string{"Basic " + encoded("p:" + canary)[:4] + "\r\n" + encoded("p:" + canary)[4:]},
			err:    "base64"},
		{name: "basic in base64url", values: []string{"Basic cDr_"}, err: "base64"},
		{name: "basic without a user", values: []string{"Basic " + encoded(":"+canary)}, err: "no user"},
		{name: "basic without a password", values: []string{"Basic " + encoded(canary+":")}, err: "no password"},
		{name: "basic without a colon", values: []string{"Basic " + encoded(canary)}, err: "no password"},
		{name: "basic with a line feed", values: []string{"Basic " + encoded("p:"+canary+"\n")}, err: "control"},
		{name: "basic with NUL", values: []string{"Basic " + encoded("p\x00:"+canary)}, err: "control"},
		{name: "basic with C1", values: []string{"Basic " + encoded("p:"+canary+"\u0085")}, err: "control"},
		{name: "basic not UTF-8", values: []string{"Basic " + encoded("p:"+canary+"\xff")}, err: "UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got parsed
			var err error
			got.scheme, got.token, got.user, err = parseAuthorization(tt.values)
			if tt.err == "" {
				if err != nil || got != tt.want {
					t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got error %v, want %q", err, tt.err)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error repeats the header: %v", err)
			}
		})
	}
}

func TestJWTShaped(t *testing.T) {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	tests := []struct {
		name, token string
		want        bool
	}{
		{"a JWT", part(`{"alg":"RS256"}`) + "." + part(`{}`) + "." + part("signature"), true},
		{"one without a signature", part(`{"alg":"none"}`) + "." + part(`{}`) + ".", true},
		{"two parts", part(`{}`) + "." + part(`{}`), false},
		{"four parts", part(`{}`) + "." + part(`{}`) + ".a.a", false},
		{"a header that is no object", part(`[]`) + "." + part(`{}`) + ".", false},
		{"a header of null", part(`null`) + "." + part(`{}`) + ".", false},
		{"a header that is not JSON", part(`alg`) + "." + part(`{}`) + ".", false},
		{"not base64url", part(`{}`) + ".+/." + part("x"), false},
		{"dots", "..", false},
		{"empty", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := jwtShaped(tt.token); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
