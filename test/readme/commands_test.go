package readme

import (
	"encoding/pem"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"recoverycodes.internal/test/daemon"
)

// notRun are the commands that cannot be run here, by page: why, and which test runs what is behind them. All others are run.
// Targets of make are asked for with -n, so that they exist and take their variables.
var notRun = map[string]map[string]struct{ why, test, dir string }{
	"README.md": {
		"make test": {"it would run this test", "TestMentions", "test/readme"},
	},
	"docs/callers.md": {
		"gem install grpc grpc-tools googleapis-common-protos-types": {"CI has Debian's packages, and no RubyGems", "TestSandbox", "test/interop"},
		"mkdir -p lib && grpc_tools_ruby_protoc -I proto --ruby_out=lib --grpc_out=lib $(find proto -name '*.proto')": {
			"it is one of those gems", "TestSandbox", "test/interop"},
		"ruby -Ilib client/examples/ruby/main.rb example-org member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f": {
			"it needs what they make", "TestSandbox", "test/interop"},
	},
	"docs/deploy.md": {
		"make image": {"it takes minutes", "TestImage", "test/deploy"},
		"crane push dist/image registry.example/recoverycodesd:0.1.0":                                          {"there is no registry", "TestImage", "test/deploy"},
		`kubectl create secret generic stytch --from-file=secret=stytch-secret.txt`:                            {"there is no cluster", "TestSecretsOfTheChart", "test/readme"},
		`kubectl create secret generic recoverycodes-admin --from-literal=token="$(openssl rand -base64 32)"`:  {"there is no cluster", "TestSecretsOfTheChart", "test/readme"},
		`kubectl create secret generic recoverycodes-store --from-literal=secret="$(openssl rand -base64 32)"`: {"there is no cluster", "TestSecretsOfTheChart", "test/readme"},
		`kubectl create secret generic recoverycodes-redis --from-literal=url=rediss://user:password@redis.example:6379/0`: {
			"there is no cluster", "TestSecretsOfTheChart", "test/readme"},
		`helm upgrade --install recoverycodes deploy/chart --namespace login --values values-production.yaml`: {
			"there is no cluster", "TestSecretsOfTheChart", "test/readme"},
		`git clone --branch "$VERSION" "$REPOSITORY" recoverycodes`: {"there is no release to clone", "TestReleaseIsReproducible", "test/deploy"},
		"cd recoverycodes": {"it is not cloned", "TestReleaseIsReproducible", "test/deploy"},
		"make release":     {"it takes minutes", "TestReleaseIsReproducible", "test/deploy"},
	},
	"docs/performance.md": {
		"make bench":              {"it takes minutes", "TestLoads", "test/bench"},
		"make bench BENCH=-quick": {"it takes a minute", "TestLoads", "test/bench"},
		"make bench BENCH='-page docs/performance.md'": {"it takes minutes", "TestUpdatePage", "test/bench"},
		`make bench BENCH="-rows 'servers/'"`:          {"it takes minutes", "TestLoads", "test/bench"},
		"make bench BENCH='-profile bin/profile'":      {"it takes minutes", "TestLoads", "test/bench"},
		"make soak TIME=30m":                           {"it takes an hour", "TestUseIsFlat", "test/soak"},
	},
}

// setUp is what a page takes for granted: that a server runs, or that its reader has a credential.
var setUp = map[string]func(t *testing.T, s *stage){
	"README.md": func(_ *testing.T, s *stage) {
		// A project and a secret for which the page has dots.
		s.replace("=project-test-…", "=project-test-1", "STYTCH_SECRET=…", "STYTCH_SECRET=hush-hush")
	},
	"docs/access.md": func(t *testing.T, s *stage) {
		s.write(t, "issuer-token", "a-token\n")
		s.write(t, "issuer.pem", certificate(t))
		const pod = "/var/run/secrets/kubernetes.io/serviceaccount/"
		s.replace(pod+"token", s.path("issuer-token"), pod+"ca.crt", s.path("issuer.pem"))
		s.export("RECOVERYCODES_SANDBOX=true", "STYTCH_PROJECT_ID=project-test-00000000-0000-4000-8000-000000000000")
	},
	"docs/callers.md": func(t *testing.T, s *stage) { s.use(start(t, "--sandbox")) },
	"docs/operations.md": func(t *testing.T, s *stage) {
		const token = "of-the-admin-door-0123456789-0123456789"
		s.write(t, "admin-token", token+"\n")
		d := start(t, "--sandbox", "--admin-token-file="+s.path("admin-token"), "--audit-file="+s.path("audit.log"))
		s.use(d)
		lost := `{"organization_id":"example-org","member_id":"member-test-fault-status-500-after-effect","recovery_code":"sand-b0xc-ode1"}`
		out, _ := exec.Command("curl", "-si", d.HTTP+"/v1/b2b/recovery_codes/recover", "-H", "Content-Type: application/json", "-d", lost).Output()
		id := regexp.MustCompile(`(?i)x-request-id: (rc-\w+)`).FindSubmatch(out)
		if id == nil {
			t.Fatalf("no call of unknown outcome: %s", out)
		}
		s.export("TOKEN="+token, "ID="+string(id[1]))
	},
	"docs/replicas.md": func(t *testing.T, s *stage) {
		s.export("RECOVERYCODES_SANDBOX=true")
		s.replace("rediss://user:password@redis.internal:6379/0", daemon.StartRedis(t).URL())
	},
}

// TestCommands takes each page as its reader would, from its first line to its last: files that it shows are written,
// and every command is run, or is listed above. Every block of sh or console is one shell in a copy of the work tree. A
// server that is started stays for the rest of the page, which finds it where it listens. In what a page prints, "…" stands
// for anything.
func TestCommands(t *testing.T) {
	for _, tool := range []string{"curl", "make", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			unavailable(t, "%v", err)
		}
	}
	toRun := 0
	for _, page := range pages(t) {
		blocks := blocksOf(t, page)
		for _, b := range blocks {
			for _, c := range b.commands() {
				if _, listed := notRun[page][c.text]; !listed {
					toRun++
				}
			}
		}
		t.Run(page, func(t *testing.T) {
			left := make(map[string]bool)
			for text := range notRun[page] {
				left[text] = true
			}
			var s *stage
			for _, b := range blocks {
				if b.language == "yaml" && s != nil {
					s.show(t, b)
				}
				var run []command
				for _, c := range b.commands() {
					delete(left, c.text)
					if reason, listed := notRun[page][c.text]; listed {
						mustExist(t, c.text, reason.test, reason.dir)
						continue
					}
					run = append(run, c)
				}
				if len(run) == 0 {
					continue
				}
				if s == nil {
					s = newStage(t)
					if set := setUp[page]; set != nil {
						set(t, s)
					}
				}
				s.run(t, b, run)
			}
			for text := range left {
				t.Errorf("it is listed as not run, and the page does not have it: %s", text)
			}
		})
	}
	if toRun < 30 {
		t.Errorf("only %d commands are to be run", toRun)
	}
	for _, page := range slices.Concat(slices.Collect(maps.Keys(notRun)), slices.Collect(maps.Keys(setUp))) {
		if !slices.Contains(pages(t), page) {
			t.Errorf("there is no %s", page)
		}
	}
}

// certificate is one that nothing shows.
func certificate(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// mustExist checks what can be checked of a command that is not run: that make knows it, and that the test exists that runs
// what is behind it.
func mustExist(t *testing.T, text, test, dir string) {
	t.Helper()
	if !hasTest(t, test+"(", dir) {
		t.Errorf("%s: there is no %s in %s", text, test, dir)
	}
	if strings.HasPrefix(text, "make ") {
		dry := exec.Command("sh", "-c", strings.Replace(text, "make", "make -n", 1))
		dry.Dir = root
		if out, err := dry.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", text, err, out)
		}
	}
}

// unavailable skips a test that this machine cannot run, and fails it in CI.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("RECOVERYCODES_CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// TestPorts: the addresses that pages name are where the server listens by itself, since TestCommands puts others in
// their place.
func TestPorts(t *testing.T) {
	var help string
	for _, of := range []string{"serve", "sandbox"} {
		text, err := exec.Command(binary(t, "recoverycodesd"), of, "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		help += string(text)
	}
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile(`(?:localhost|127\.0\.0\.1):([1-9]\d*)`).FindAllStringSubmatch(read(t, page), -1) {
			if !strings.Contains(help, " 127.0.0.1:"+m[1]+" ") && m[1] != "4318" { // OpenTelemetry's
				t.Errorf("%s: nothing listens at %s", page, m[0])
			}
		}
	}
}
