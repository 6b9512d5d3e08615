package config_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"maps"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"recoverycodes.internal/server/internal/config"
)

// secret is a marked value: wherever it turns up but in the Secret field is a defect.
const secret = "secret-test-MARKED"

// env is the environment of a test. A name that is missing is unset.
type env map[string]string

func (e env) get(name string) string { return e[name] }

// with returns e with more in it; an empty value takes a variable away.
func (e env) with(more env) env {
	out := maps.Clone(e)
	maps.Copy(out, more)
	return out
}

// realProject is the least that serves a real project.
var realProject = env{
	"STYTCH_PROJECT_ID":                       "project-test-1",
	"STYTCH_SECRET":                           secret,
	"RECOVERYCODES_INSECURE_ALLOW_ANY_CALLER": "true",
}

func serve(t *testing.T, e env, args ...string) *config.Serve {
	t.Helper()
	c, err := config.ParseServe(args, e.get)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refused returns the lines of the error, one for each thing that is wrong.
func refused(t *testing.T, e env, args ...string) []string {
	t.Helper()
	_, err := config.ParseServe(args, e.get)
	if err == nil {
		t.Fatal("the settings were accepted")
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the error shows the secret: %v", err)
	}
	return strings.Split(err.Error(), "\n")
}

// blames demands one error for each name, in this order, and no other.
func blames(t *testing.T, lines []string, names ...string) {
	t.Helper()
	if len(lines) != len(names) {
		t.Fatalf("got %d errors, want %d:\n%s", len(lines), len(names), strings.Join(lines, "\n"))
	}
	for i, name := range names {
		if !strings.Contains(lines[i], name) {
			t.Errorf("error %d is %q, want it to name %s", i, lines[i], name)
		}
	}
}

func TestServeDefaults(t *testing.T) {
	got := *serve(t, nil, "--sandbox")
	want := config.Serve{
		GRPCListen: "127.0.0.1:50051", HTTPListen: "127.0.0.1:8080",
		Sandbox:        true,
		ConnectTimeout: 5 * time.Second, HeaderTimeout: 31 * time.Second, UpstreamTimeout: 31 * time.Second,
		DrainDelay: 5 * time.Second, DrainTimeout: 10 * time.Second, ConnectionAge: 30 * time.Minute, LeastTime: 250 * time.Millisecond, MaxInFlight: 1000, BreakerFailures: 20,
		KeyTTL: 10 * time.Minute, MaxKeys: 10000,
		Access: config.Access{
			TLSMinVersion: tls.VersionTLS13, AuditFile: "-", ReloadInterval: 5 * time.Second,
			AttemptsPerMember: 4, AttemptsWindow: 10 * time.Minute, AttemptsFailures: 20, AttemptsFailureShare: 50,
		},
		Telemetry: config.Telemetry{AdminListen: "127.0.0.1:9464", LogLevel: "info", LogFormat: "auto"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config.Serve{}, config.Telemetry{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSandboxCommand(t *testing.T) {
	listen := func(e env, args ...string) string {
		t.Helper()
		c, err := config.ParseSandbox(args, e.get)
		if err != nil {
			t.Fatal(err)
		}
		return c.Listen
	}
	fromEnv := env{"RECOVERYCODES_SANDBOX_LISTEN": ":2"}
	if got := listen(nil); got != "127.0.0.1:8090" {
		t.Errorf("by default it listens at %q", got)
	}
	if got := listen(fromEnv); got != ":2" {
		t.Errorf("by the environment it listens at %q", got)
	}
	if got := listen(fromEnv, "--listen=:1"); got != ":1" {
		t.Errorf("by the flag it listens at %q", got)
	}
	if _, err := config.ParseSandbox([]string{"--listen", "nowhere"}, env(nil).get); err == nil {
		t.Error("an address without a port was accepted")
	}
	if _, err := config.ParseSandbox([]string{"-h"}, env(nil).get); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h gave %v, want flag.ErrHelp", err)
	}
}

// readable are the settings whose value can be seen in the result: two values that differ from each other and from the
// default, and where to look.
var readable = map[string]struct {
	byFlag, byEnv string
	get           func(*config.Serve) string
}{
	"grpc-listen":               {"unix:/a/b", "[::1]:2", func(c *config.Serve) string { return c.GRPCListen }},
	"http-listen":               {"localhost:0", ":65535", func(c *config.Serve) string { return c.HTTPListen }},
	"admin-listen":              {":3", ":4", func(c *config.Serve) string { return c.AdminListen }},
	"stytch-project-id":         {"project-live-2", "project-test-2", func(c *config.Serve) string { return c.ProjectID }},
	"stytch-base-url":           {"https://a.example/p", "http://127.0.0.1:9", func(c *config.Serve) string { return c.BaseURL.String() }},
	"upstream-connect-timeout":  {"1s", "2s", func(c *config.Serve) string { return c.ConnectTimeout.String() }},
	"idempotency-ttl":           {"1h", "2h", func(c *config.Serve) string { return strings.TrimSuffix(c.KeyTTL.String(), "0m0s") }},
	"idempotency-max-keys":      {"9", "11", func(c *config.Serve) string { return strconv.Itoa(c.MaxKeys) }},
	"once-redis-url":            {"redis://a:1", "rediss://b:2/3", func(c *config.Serve) string { return c.OnceRedisURL }},
	"upstream-least-time":       {"5ms", "6ms", func(c *config.Serve) string { return c.LeastTime.String() }},
	"upstream-max-in-flight":    {"1", "7", func(c *config.Serve) string { return strconv.Itoa(c.MaxInFlight) }},
	"upstream-breaker-failures": {"0", "8", func(c *config.Serve) string { return strconv.Itoa(c.BreakerFailures) }},
	"tls-min-version": {"1.2", "1.3", func(c *config.Serve) string {
		return map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[c.TLSMinVersion]
	}},
	"attempts-per-member":      {"2", "3", func(c *config.Serve) string { return strconv.Itoa(c.AttemptsPerMember) }},
	"attempts-window":          {"1s", "2s", func(c *config.Serve) string { return c.AttemptsWindow.String() }},
	"attempts-caller-failures": {"7", "8", func(c *config.Serve) string { return strconv.Itoa(c.AttemptsFailures) }},
	"attempts-caller-share":    {"1", "100", func(c *config.Serve) string { return strconv.Itoa(c.AttemptsFailureShare) }},
	"audit-file":               {"/a", "/b", func(c *config.Serve) string { return c.AuditFile }},
	"reload-interval":          {"1s", "2s", func(c *config.Serve) string { return c.ReloadInterval.String() }},
	"upstream-header-timeout":  {"3s", "4s", func(c *config.Serve) string { return c.HeaderTimeout.String() }},
	"upstream-timeout":         {"5s", "500ms", func(c *config.Serve) string { return c.UpstreamTimeout.String() }},
	"connection-age":           {"0s", "1s", func(c *config.Serve) string { return c.ConnectionAge.String() }},
	"drain-delay":              {"0s", "9s", func(c *config.Serve) string { return c.DrainDelay.String() }},
	"drain-timeout":            {"7s", "8s", func(c *config.Serve) string { return c.DrainTimeout.String() }},
	"log-level":                {"debug", "error", func(c *config.Serve) string { return c.LogLevel }},
	"log-format":               {"json", "console", func(c *config.Serve) string { return c.LogFormat }},
}

func TestFlagOverEnvironmentOverDefault(t *testing.T) {
	for _, s := range config.ServeSettings() {
		row, ok := readable[s.Flag]
		if !ok {
			continue
		}
		t.Run(s.Flag, func(t *testing.T) {
			e := realProject.with(env{s.Env: row.byEnv, "RECOVERYCODES_STORE_SECRET_FILE": file(t, strings.Repeat("s", 32)),
				"RECOVERYCODES_ADMIN_TOKEN_FILE": file(t, strings.Repeat("t", 32))})
			if got := row.get(serve(t, e)); got != row.byEnv {
				t.Errorf("the environment gave %q, want %q", got, row.byEnv)
			}
			for _, args := range [][]string{{"--" + s.Flag, row.byFlag}, {"-" + s.Flag + "=" + row.byFlag}} {
				if got := row.get(serve(t, e, args...)); got != row.byFlag {
					t.Errorf("%q over the environment gave %q, want %q", args, got, row.byFlag)
				}
			}
			if got := row.get(serve(t, e.with(env{s.Env: "\x00"}), "--"+s.Flag, row.byFlag)); got != row.byFlag {
				t.Errorf("over a wrong environment the flag came to %q, want %q", got, row.byFlag)
			}
			if got := row.get(serve(t, e, "--"+s.Flag, row.byEnv, "--"+s.Flag, row.byFlag)); got != row.byFlag {
				t.Errorf("given twice, the flag came to %q, want the last, %q", got, row.byFlag)
			}
		})
	}
}

// TestEverySettingIsTested makes whoever adds a setting say here how it is read.
func TestEverySettingIsTested(t *testing.T) {
	elsewhere := []string{"sandbox", "insecure-allow-any-caller", "", "stytch-secret-file", "stytch-ca-file", "sandbox-seed", "store-secret-file",
		"policy", "tls-certificate-file", "tls-key-file", "tls-client-ca-file", "attempts-fail-closed", "audit-fail-closed", "admin-token-file"}
	for _, s := range config.ServeSettings() {
		if _, ok := readable[s.Flag]; !ok && !slices.Contains(elsewhere, s.Flag) {
			t.Errorf("no test reads the value of %s", s.Name())
		}
	}
}

func TestBooleans(t *testing.T) {
	tests := []struct {
		name    string
		env     string
		args    []string
		sandbox bool
	}{
		{"environment", "true", nil, true},
		{"flag alone", "", []string{"--sandbox"}, true},
		{"flag with a value", "", []string{"--sandbox=true"}, true},
		{"flag over environment", "true", []string{"--sandbox=false"}, false},
		{"environment says false", "false", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, realProject.with(env{"RECOVERYCODES_SANDBOX": tt.env}), tt.args...)
			if c.Sandbox != tt.sandbox {
				t.Errorf("sandbox is %v, want %v", c.Sandbox, tt.sandbox)
			}
		})
	}
}

func TestWrongValuesAreNamedBySource(t *testing.T) {
	tests := []struct {
		name string
		env  env
		args []string
		want string // the name that the one error starts with
	}{
		{"no port", nil, []string{"--grpc-listen", "localhost"}, "--grpc-listen"},
		{"port out of range", nil, []string{"--http-listen", ":65536"}, "--http-listen"},
		{"port by name", nil, []string{"--http-listen", ":http"}, "--http-listen"},
		{"port missing", env{"RECOVERYCODES_ADMIN_LISTEN": "localhost:"}, nil, "RECOVERYCODES_ADMIN_LISTEN"},
		{"empty address", nil, []string{"--grpc-listen="}, "--grpc-listen"},
		{"no duration", nil, []string{"--upstream-timeout", "31"}, "--upstream-timeout"},
		{"duration of zero", env{"RECOVERYCODES_DRAIN_TIMEOUT": "0s"}, nil, "RECOVERYCODES_DRAIN_TIMEOUT"},
		{"negative duration", env{"RECOVERYCODES_UPSTREAM_CONNECT_TIMEOUT": "-1s"}, nil, "RECOVERYCODES_UPSTREAM_CONNECT_TIMEOUT"},
		{"no number", nil, []string{"--upstream-max-in-flight=many"}, "--upstream-max-in-flight"},
		{"number below the least", nil, []string{"--upstream-max-in-flight=0"}, "--upstream-max-in-flight"},
		{"negative number", env{"RECOVERYCODES_UPSTREAM_BREAKER_FAILURES": "-1"}, nil, "RECOVERYCODES_UPSTREAM_BREAKER_FAILURES"},
		{"least time that refuses everything", nil, []string{"--upstream-least-time=31s"}, "--upstream-least-time"},
		{"secret with a line end", env{"STYTCH_SECRET": secret + "\n"}, nil, "STYTCH_SECRET"},
		{"unknown level", nil, []string{"--log-level=loud"}, "--log-level"},
		{"unknown format", env{"RECOVERYCODES_LOG_FORMAT": "JSON"}, nil, "RECOVERYCODES_LOG_FORMAT"},
		{"neither true nor false", nil, []string{"--sandbox=yes"}, "--sandbox"},
		{"neither true nor false, by environment", env{"RECOVERYCODES_SANDBOX": "1"}, nil, "RECOVERYCODES_SANDBOX"},
		{"project id with a colon", env{"STYTCH_PROJECT_ID": "project:1"}, nil, "STYTCH_PROJECT_ID"},
		{"project id with a line end", env{"STYTCH_PROJECT_ID": "project-test-1\n"}, nil, "STYTCH_PROJECT_ID"},
		{"no project id", env{"STYTCH_PROJECT_ID": ""}, nil, "STYTCH_PROJECT_ID"},
		{"no secret", env{"STYTCH_SECRET": ""}, nil, "STYTCH_SECRET"},
		{"any caller, unsaid", env{"RECOVERYCODES_INSECURE_ALLOW_ANY_CALLER": ""}, nil, "--policy"},
		{"any caller, denied", nil, []string{"--insecure-allow-any-caller=false"}, "--policy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			blames(t, refused(t, realProject.with(tt.env), tt.args...), tt.want+": ")
		})
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	e := env{
		"STYTCH_SECRET": secret, "STYTCH_SECRET_FILE": "/also", "STYTCH_BASE_URL": "http://stytch.example",
		"RECOVERYCODES_LOG_FORMAT": "xml",
	}
	lines := refused(t, e, "--grpc-listen=nowhere", "--drain-timeout", "soon", "--no-such-flag=1", "stray", "--upstream-timeout")
	blames(t, lines,
		"-no-such-flag", "argument 5", "-upstream-timeout", "--grpc-listen: ", "--drain-timeout: ", "RECOVERYCODES_LOG_FORMAT: ",
		"STYTCH_PROJECT_ID: ", "STYTCH_SECRET_FILE: ", "STYTCH_BASE_URL: ", "--policy: ")
}

func TestUnknownFlagsAndStrayArguments(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string // a part of each error
	}{
		{"unknown flag", []string{"--no-such"}, []string{"-no-such"}},
		{"two unknown flags", []string{"--no-such", "-nor-this=5", "--log-level=debug"}, []string{"-no-such", "-nor-this"}},
		{"stray argument", []string{"more"}, []string{"argument 1"}},
		{"stray arguments among flags", []string{"one", "--log-level=debug", "two"}, []string{"argument 1", "argument 3"}},
		{"after the end of flags", []string{"--", "--sandbox"}, []string{"argument 2"}},
		{"no flag syntax", []string{"---x", "--=x"}, []string{"argument 1", "argument 2"}},
		{"a lone dash and nothing", []string{"-", ""}, []string{"argument 1", "argument 2"}},
		{"value missing", []string{"--log-level"}, []string{"-log-level"}},
		{"value of a boolean set apart", []string{"--sandbox", "false"}, []string{"argument 2"}},
		{"there is no flag for the secret", []string{"--stytch-secret", secret}, []string{"-stytch-secret", "argument 2"}},
		{"there is no flag for the secret, joined", []string{"--stytch-secret=" + secret}, []string{"-stytch-secret"}},
		{"the secret with too many dashes", []string{"---stytch-secret=" + secret}, []string{"argument 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			blames(t, refused(t, realProject, tt.args...), tt.want...)
		})
	}
}

// TestNoErrorShowsTheSecret puts the secret where it does not belong; refused looks for it.
func TestNoErrorShowsTheSecret(t *testing.T) {
	for _, s := range config.ServeSettings() {
		switch s.Flag {
		case "stytch-project-id", "", "audit-file": // any text is a project id, a secret or a path
			continue
		}
		refused(t, realProject.with(env{s.Env: secret}))
		refused(t, realProject, "--"+s.Flag+"="+secret)
	}
	refused(t, realProject.with(env{"STYTCH_PROJECT_ID": secret + ":"}))
	refused(t, realProject.with(env{"STYTCH_BASE_URL": "https://user:" + secret + "@stytch.example"}))
	refused(t, realProject.with(env{"STYTCH_BASE_URL": "https://stytch.example:" + secret}))
}

func TestSecretFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name, path, want string // want empty: refused
	}{
		{"as it is", file("plain", secret), secret},
		{"line feed", file("lf", secret+"\n"), secret},
		{"carriage return and line feed", file("crlf", secret+"\r\n"), secret},
		{"spaces belong to it", file("spaces", " "+secret+" \n"), " " + secret + " "},
		{"empty", file("empty", ""), ""},
		{"only a line end", file("newline", "\n"), ""},
		{"missing", filepath.Join(dir, secret), ""},
		{"directory", dir, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := realProject.with(env{"STYTCH_SECRET": "", "STYTCH_SECRET_FILE": tt.path})
			if tt.want == "" {
				blames(t, refused(t, e), "STYTCH_SECRET_FILE: ")
				return
			}
			if got := serve(t, e).Secret; got != tt.want {
				t.Errorf("by the environment the secret has %d characters, want %d", len(got), len(tt.want))
			}
			if got := serve(t, realProject.with(env{"STYTCH_SECRET": ""}), "--stytch-secret-file", tt.path).Secret; got != tt.want {
				t.Errorf("by the flag the secret has %d characters, want %d", len(got), len(tt.want))
			}
		})
	}
	t.Run("beside STYTCH_SECRET", func(t *testing.T) {
		blames(t, refused(t, realProject.with(env{"STYTCH_SECRET_FILE": file("second", "other")})), "STYTCH_SECRET_FILE: ")
	})
}

// TestFilesThatSettingsName reads a seed and certificates, and refuses what cannot be read as such by its name.
func TestFilesThatSettingsName(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	seed, missing := file("seed.json", "{}"), filepath.Join(dir, "missing")
	if got := serve(t, nil, "--sandbox", "--sandbox-seed", seed).SandboxSeed; string(got) != "{}" {
		t.Errorf("the seed is %q", got)
	}
	blames(t, refused(t, nil, "--sandbox", "--sandbox-seed", missing), "--sandbox-seed: ")
	c, err := config.ParseSandbox([]string{"--seed", seed, "--tls", "--certificate-file", "x.pem"}, env(nil).get)
	if err != nil || string(c.Seed) != "{}" || !c.TLS || c.CertificateFile != "x.pem" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := config.ParseSandbox([]string{"--certificate-file", "x.pem"}, env(nil).get); err == nil {
		t.Error("a certificate without TLS was accepted")
	}

	server := httptest.NewTLSServer(nil)
	defer server.Close()
	trusted := file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	want := x509.NewCertPool()
	want.AddCert(server.Certificate())
	if got := serve(t, realProject, "--stytch-ca-file", trusted).RootCAs; !got.Equal(want) {
		t.Error("the certificate is not trusted")
	}
	if serve(t, realProject).RootCAs != nil {
		t.Error("without a file, the system's roots are replaced")
	}
	for _, path := range []string{missing, seed} {
		blames(t, refused(t, realProject.with(env{"STYTCH_CA_FILE": path})), "STYTCH_CA_FILE: ")
	}
}

func TestBaseURL(t *testing.T) {
	tests := []struct {
		name, project, given string
		want                 string // empty: refused
	}{
		{"test project", "project-test-1", "", "https://test.stytch.com"},
		{"live project", "project-live-1", "", "https://api.stytch.com"},
		{"neither", "something-else", "", "https://test.stytch.com"},
		{"live in the middle", "my-project-live-1", "", "https://test.stytch.com"},
		{"custom domain", "project-live-1", "https://login.example.com", "https://login.example.com"},
		{"with a path and a port", "project-live-1", "https://proxy.example:8443/stytch", "https://proxy.example:8443/stytch"},
		{"http to localhost", "project-test-1", "http://localhost:8090", "http://localhost:8090"},
		{"http to 127.0.0.1", "project-test-1", "http://127.0.0.1:8090", "http://127.0.0.1:8090"},
		{"http to 127.9.9.9", "project-test-1", "http://127.9.9.9", "http://127.9.9.9"},
		{"http to ::1", "project-test-1", "http://[::1]:8090", "http://[::1]:8090"},
		{"http to Stytch", "project-test-1", "http://test.stytch.com", ""},
		{"http to a private address", "project-test-1", "http://10.0.0.1", ""},
		{"http to every interface", "project-test-1", "http://0.0.0.0:8090", ""},
		{"http to a name that looks like loopback", "project-test-1", "http://127.0.0.1.example", ""},
		{"http to a name that begins like loopback", "project-test-1", "http://localhost.example", ""},
		{"loopback as user", "project-test-1", "http://localhost@stytch.example", ""},
		{"user", "project-test-1", "https://user@stytch.example", ""},
		{"user and password", "project-test-1", "https://user:pass@stytch.example", ""},
		{"query", "project-test-1", "https://stytch.example/?a=b", ""},
		{"empty query", "project-test-1", "https://stytch.example/?", ""},
		{"fragment", "project-test-1", "https://stytch.example/#a", ""},
		{"no scheme", "project-test-1", "test.stytch.com", ""},
		{"no scheme but a port", "project-test-1", "localhost:8090", ""},
		{"no host", "project-test-1", "https:///v1", ""},
		{"only a port", "project-test-1", "https://:443", ""},
		{"another scheme", "project-test-1", "ftp://stytch.example", ""},
		{"no URL", "project-test-1", "https://stytch.example:port", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := realProject.with(env{"STYTCH_PROJECT_ID": tt.project, "STYTCH_BASE_URL": tt.given})
			if tt.want == "" {
				blames(t, refused(t, e), "STYTCH_BASE_URL: ")
				return
			}
			if got := serve(t, e).BaseURL.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestSandboxIgnoresStytch runs --sandbox where a real project is set up, well or badly.
func TestSandboxIgnoresStytch(t *testing.T) {
	for name, e := range map[string]env{
		"nothing":         {},
		"a real project":  realProject,
		"half a project":  {"STYTCH_PROJECT_ID": "project-live-1"},
		"secret twice":    {"STYTCH_SECRET": secret, "STYTCH_SECRET_FILE": "/no/such/file"},
		"an address":      {"STYTCH_BASE_URL": "https://api.stytch.com"},
		"a wrong address": {"STYTCH_BASE_URL": "nowhere"},
		"no project id":   {"STYTCH_PROJECT_ID": "a:b"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, e, "--sandbox")
			if c.ProjectID != "" || c.Secret != "" || c.BaseURL != (*url.URL)(nil) {
				t.Errorf("project %q, base URL %v, a secret: %v; want none", c.ProjectID, c.BaseURL, c.Secret != "")
			}
		})
	}
}

func TestHelpIsAskedFor(t *testing.T) {
	for _, args := range [][]string{
		{"--help"}, {"-help"}, {"-h"}, {"--sandbox", "--help"}, {"--no-such", "--help"}, {"stray", "-h"}, {"--log-level=loud", "-h"},
	} {
		if _, err := config.ParseServe(args, env(nil).get); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q gave %v, want flag.ErrHelp", args, err)
		}
	}
	if _, err := config.ParseServe([]string{"--log-level", "--help"}, env(nil).get); errors.Is(err, flag.ErrHelp) {
		t.Error("the value of a flag was taken for the question for help")
	}
}

// all is every setting there is, by command.
var all = map[string][]config.Setting{"serve": config.ServeSettings(), "sandbox": config.SandboxSettings()}

func TestSettingsAreComplete(t *testing.T) {
	for command, settings := range all {
		envs := make(map[string]string)
		flags := make(map[string]bool)
		for _, s := range settings {
			if s.Doc == "" || !strings.HasSuffix(s.Doc, ".") {
				t.Errorf("%s: %s has the doc %q, want a sentence", command, s.Name(), s.Doc)
			}
			if s.Env == "" {
				t.Errorf("%s: %s has no environment variable", command, s.Name())
			}
			if other, ok := envs[s.Env]; ok {
				t.Errorf("%s: %s and %s share %s", command, s.Name(), other, s.Env)
			}
			envs[s.Env] = s.Name()
			if s.Flag == "" {
				continue
			}
			if flags[s.Flag] {
				t.Errorf("%s: the flag %s is declared twice", command, s.Name())
			}
			flags[s.Flag] = true
			if s.Name() != "--"+s.Flag {
				t.Errorf("%s: %s is called %q", command, s.Flag, s.Name())
			}
		}
	}
}

// TestSettingsWithoutFlag holds that the secret, and nothing else of ours, is kept off the command line. OpenTelemetry's
// variables have no flags in any program.
func TestSettingsWithoutFlag(t *testing.T) {
	var got []string
	for _, s := range config.ServeSettings() {
		if s.Flag == "" && !strings.HasPrefix(s.Env, "OTEL_") {
			got = append(got, s.Name())
		}
	}
	if diff := cmp.Diff([]string{"STYTCH_SECRET"}, got); diff != "" {
		t.Errorf("settings without a flag (-want +got):\n%s", diff)
	}
}

// TestDefaultsParse writes every default out, as an operator who copies the table would.
func TestDefaultsParse(t *testing.T) {
	e := maps.Clone(realProject)
	for _, s := range config.ServeSettings() {
		if e[s.Env] == "" {
			e[s.Env] = s.Default
		}
	}
	if diff := cmp.Diff(serve(t, realProject), serve(t, e), cmp.AllowUnexported(config.Serve{}, config.Telemetry{})); diff != "" {
		t.Errorf("unset and set to the default differ (-unset +set):\n%s", diff)
	}
	for _, s := range config.SandboxSettings() {
		if _, err := config.ParseSandbox([]string{"--" + s.Flag + "=" + s.Default}, env(nil).get); err != nil {
			t.Errorf("the default does not parse: %v", err)
		}
	}
}

func TestHelp(t *testing.T) {
	for command, settings := range all {
		var out strings.Builder
		if err := config.Help(&out, settings); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != len(settings)+1 {
			t.Fatalf("%s: %d lines for %d settings and a head:\n%s", command, len(lines), len(settings), out.String())
		}
		for i, s := range settings {
			words := []string{"(none)", s.Env}
			if s.Flag != "" {
				words[0] = "--" + s.Flag
			}
			if s.Default != "" {
				words = append(words, s.Default)
			}
			words = append(words, strings.Fields(s.Doc)...)
			if diff := cmp.Diff(words, strings.Fields(lines[i+1])); diff != "" {
				t.Errorf("%s: the line of %s (-want +got):\n%s", command, s.Name(), diff)
			}
		}
	}
}

// failing refuses every byte, like a pipe whose reader has gone.
type failing struct{}

var errGone = errors.New("gone")

func (failing) Write([]byte) (int, error) { return 0, errGone }

func TestHelpReportsAFailedWrite(t *testing.T) {
	if err := config.Help(failing{}, config.SandboxSettings()); !errors.Is(err, errGone) {
		t.Errorf("got %v, want the writer's error", err)
	}
}
