package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"recoverycodes.internal/client/internal/servicetest"
	"recoverycodes.internal/test/daemon"
	"recoverycodes.internal/test/script"
)

func TestMain(m *testing.M) {
	script.Main(m, "recoverycodes", main, daemon.Remove)
}

// TestScripts runs what testdata/script shows of the command, each file against a server of its own with the sandbox
// behind it. The files are meant to be read: they are the command's manual.
//
// Three commands are not testscript's. "exits N COMMAND" runs a command that must end with the exit code N. "prints
// FILE" compares what the last command wrote to standard output, and "says FILE" what it wrote to standard error,
// with a file in which "…" stands for anything within a line.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel() // some of them wait
			credentials := t.TempDir()
			d := daemon.Start(t, nil, append(serving(t, t.Name(), credentials), "--sandbox")...)
			testscript.Run(t, testscript.Params{
				Files:               []string{file},
				RequireExplicitExec: true,
				Setup: func(env *testscript.Env) error {
					env.Setenv("RECOVERYCODES_SERVER", d.GRPC)
					env.Setenv("CREDENTIALS", credentials)
					env.Setenv("GORACE", "atexit_sleep_ms=0") // a second for each command, otherwise
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"exits":  script.Exits,
					"prints": matches("stdout"),
					"says":   matches("stderr"),
				},
			})
		})
	}
}

// serving returns what the server of a script is told. That of "callers" speaks TLS and knows callers; what they need is
// in the directory.
func serving(t *testing.T, name, dir string) []string {
	t.Helper()
	if name != "TestScripts/callers" {
		return nil
	}
	at := func(file string) string { return filepath.Join(dir, file) }
	authority := servicetest.NewAuthority(t)
	authority.WriteRoots(at("ca.pem"))
	authority.Write("service.example", at("service.crt"), at("service.key"))
	authority.Write("support.example", at("tls.crt"), at("tls.key"))
	const token = "rcs_of-the-test-0123456789-0123456789-0123456789"
	for file, text := range map[string]string{
		"token": token + "\n",
		"policy.yaml": fmt.Sprintf(`callers:
  - name: login
    match: { secret_sha256: "%x" }
    methods: [Get]
    organizations: ["*"]
  - name: support
    match: { dns_san: support.example }
    methods: [Get, Rotate]
    organizations: ["*"]
`, sha256.Sum256([]byte(token))),
	} {
		if err := os.WriteFile(at(file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{
		"--policy=" + at("policy.yaml"), "--tls-client-ca-file=" + at("ca.pem"),
		"--tls-certificate-file=" + at("service.crt"), "--tls-key-file=" + at("service.key"),
	}
}

func matches(stream string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: prints FILE, or says FILE")
		}
		got, want := ts.ReadFile(stream), ts.ReadFile(args[0])
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*")
		if !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
			ts.Fatalf("%s is\n%s\nwant\n%s", stream, got, want)
		}
	}
}
