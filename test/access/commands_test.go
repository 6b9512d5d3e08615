package access

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"recoverycodes.internal/test/daemon"
)

// TestNewSecret: the secret and the hash that are printed make a caller, and every time others.
func TestNewSecret(t *testing.T) {
	form := regexp.MustCompile(`^secret         (rcs_[A-Z2-7]{52})\nsecret_sha256  ([0-9a-f]{64})\n$`)
	seen := make(map[string]bool)
	for range 2 {
		code, output := daemon.Run(t, nil, "new-secret")
		printed := form.FindStringSubmatch(output)
		if code != 0 || printed == nil {
			t.Fatalf("exit code %d: %q", code, output)
		}
		if sum := sha256.Sum256([]byte(printed[1])); hex.EncodeToString(sum[:]) != printed[2] {
			t.Errorf("%s is not the hash of the secret", printed[2])
		}
		seen[printed[1]] = true
		d := daemon.Start(t, nil, "--sandbox", "--policy="+file(t, "policy.yaml", strings.Replace(one(""), hashOf("one"), printed[2], 1)))
		connect(t, d).byREST(t, request("Get", slug, member, ""), authorization("Bearer "+printed[1])).is(t, "")
	}
	if len(seen) != 2 {
		t.Error("the same secret twice")
	}
}

// TestCheckPolicy says of a policy what the server would, and does nothing else.
func TestCheckPolicy(t *testing.T) {
	issuer := func(of string) string { return "jwt_issuers: [{ issuer: i, audience: a, " + of + " }]\n" + one("") }
	for name, c := range map[string]struct {
		policy string
		code   int
		says   []string
	}{
		"in order": {one(""), 0, []string{"in order"}},
		"wrong, all told": {strings.NewReplacer("methods", "metods", "secret_sha256: ", "secret_sha256: MARKED").Replace(one("")), 1,
			[]string{"line 3: callers[0].match.secret_sha256", "line 4: callers[0]: unknown field metods"}},
		"no YAML": {"callers: [", 1, []string{"line 2"}},
		"empty":   {"", 1, []string{"line 1: the policy is empty"}},
		"keys are missing": {issuer("jwks_file: " + filepath.Join(t.TempDir(), "keys.json")), 1,
			[]string{"jwt: issuer", "keys.json"}},
		"keys by an address that is not asked": {issuer("jwks_url: https://issuer.invalid/keys"), 0, []string{"in order"}},
		"keys by an unsafe address":            {issuer("jwks_url: http://issuer.invalid/keys"), 1, []string{"line 1: jwt_issuers[0].jwks_url"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, "policy.yaml", c.policy)
			code, output := daemon.Run(t, nil, "check-policy", path)
			refusal := ""
			if c.code != 0 {
				var code int
				if code, refusal = daemon.Fail(t, nil, "--sandbox", "--policy="+path); code != 2 || !strings.Contains(refusal, "--policy: ") {
					t.Errorf("the server's exit code is %d: %s", code, refusal)
				}
			}
			if code != c.code {
				t.Errorf("exit code %d", code)
			}
			for _, word := range c.says {
				if !strings.Contains(output, word) || c.code != 0 && !strings.Contains(refusal, word) {
					t.Errorf("not said: %q\nby the check: %s\nby the server: %s", word, output, refusal)
				}
			}
			if strings.Contains(output+refusal, "MARKED") {
				t.Errorf("a value is shown: %s%s", output, refusal)
			}
		})
	}
	for name, args := range map[string][]string{"without a file": nil, "with two": {"a", "b"}} {
		if code, output := daemon.Run(t, nil, append([]string{"check-policy"}, args...)...); code != 2 {
			t.Errorf("%s: exit code %d: %s", name, code, output)
		}
	}
	if code, output := daemon.Run(t, nil, "check-policy", filepath.Join(t.TempDir(), "none.yaml")); code != 1 || !strings.Contains(output, "none.yaml") {
		t.Errorf("a file that there is not: exit code %d: %s", code, output)
	}
}

// TestWhoMayCallIsDecided: without a policy the server starts with the sandbox on loopback, or when it is told that
// anybody may call, which it says in its log and in a metric.
func TestWhoMayCallIsDecided(t *testing.T) {
	real := []string{"STYTCH_PROJECT_ID=project-test-1", "STYTCH_SECRET=hush-hush"}
	for name, c := range map[string]struct {
		env, args []string
		says      string
	}{
		"a real project":                {real, nil, "--policy"},
		"gRPC for every interface":      {nil, []string{"--sandbox", "--grpc-listen=:0"}, "--grpc-listen"},
		"REST for another interface":    {nil, []string{"--sandbox", "--http-listen=203.0.113.1:0"}, "--http-listen"},
		"a policy and whoever comes":    {nil, []string{"--sandbox", "--policy=x", "--insecure-allow-any-caller"}, "--insecure-allow-any-caller"},
		"a policy that is not there":    {real, []string{"--policy=" + filepath.Join(t.TempDir(), "none.yaml")}, "--policy"},
		"no audit, and none without it": {nil, []string{"--sandbox", "--audit-file=off", "--audit-fail-closed"}, "--audit-file"},
		"an audit log in no directory":  {nil, []string{"--sandbox", "--audit-file=/nowhere/audit.log"}, "--audit-file"},
	} {
		t.Run(name, func(t *testing.T) {
			code, output := daemon.Fail(t, c.env, c.args...)
			if code != 2 || !strings.Contains(output, c.says) || strings.Contains(output, "hush-hush") {
				t.Errorf("exit code %d: %s", code, output)
			}
		})
	}
	const shout = "ANY CALLER"
	for name, c := range map[string]struct {
		env, args []string
		shouts    bool
		metric    string
	}{
		"the sandbox on loopback": {nil, []string{"--sandbox"}, false, "recoverycodes_any_caller 1\n"},
		"whoever comes":           {real, []string{"--insecure-allow-any-caller"}, true, "recoverycodes_any_caller 1\n"},
		"whoever comes from outside": {nil, []string{"--sandbox", "--insecure-allow-any-caller", "--http-listen=:0"}, true,
			"recoverycodes_any_caller 1\n"},
		"a policy": {real, []string{"--policy=" + file(t, "policy.yaml", one("")), "--http-listen=:0"}, false,
			"recoverycodes_any_caller 0\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d := daemon.Start(t, c.env, c.args...)
			if strings.Contains(d.Log(), shout) != c.shouts {
				t.Errorf("the log:\n%s", d.Log())
			}
			if !strings.Contains(fetch(t, d, "/metrics"), c.metric) {
				t.Errorf("no %s", c.metric)
			}
		})
	}
}

// TestASocketIsTakenOver from a server that was killed, and not from one that runs.
func TestASocketIsTakenOver(t *testing.T) {
	dir := socketDir(t)
	args := []string{"--sandbox", "--grpc-listen=unix:" + filepath.Join(dir, "g"), "--http-listen=unix:" + filepath.Join(dir, "h")}
	if listener, err := net.Listen("unix", filepath.Join(dir, "g")); err != nil {
		t.Fatal(err)
	} else if unix, ok := listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
		_ = unix.Close()
	}
	d := daemon.Start(t, nil, args...)
	for _, call := range doors {
		call(connect(t, d), t, request("Get", slug, member, ""), nil).is(t, "")
	}
	if code, output := daemon.Fail(t, nil, args...); code != 1 || !strings.Contains(output, "another process listens") {
		t.Errorf("a second server: exit code %d: %s", code, output)
	}
	connect(t, d).byGRPC(t, request("Get", slug, member, ""), nil).is(t, "")
}
