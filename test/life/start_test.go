package life

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// TestStartsWithoutTheOthers starts while what the server talks to is away, in the two ways of being away: nobody listens,
// and nobody answers. It serves in well under a second, and is ready.
func TestStartsWithoutTheOthers(t *testing.T) {
	for name, address := range map[string]string{"closed": closedPort, "silent": silent(t)} {
		for _, protocol := range []string{"grpc", "http/protobuf"} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				env := append(environment("http://"+address),
					"OTEL_EXPORTER_OTLP_ENDPOINT=http://"+address, "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol)
				daemon.Binary(t)
				fastest := time.Hour // of some, since the machine has other things to do
				for range 5 {
					start := time.Now()
					d := daemon.Start(t, env)
					fastest = min(fastest, time.Since(start))
					if status, _ := fetch(t, http.MethodGet, d.Admin+"/readyz", ""); status != http.StatusOK {
						t.Fatalf("readyz says %d", status)
					}
					d.Signal(t, syscall.SIGKILL)
					d.Wait(t)
					if fastest < time.Second {
						return
					}
				}
				t.Errorf("the fastest of five starts took %v", fastest)
			})
		}
	}
}

// TestUpstreamOutageLeavesItReady calls an upstream that is away until the server has seen enough of it, and asks again.
func TestUpstreamOutageLeavesItReady(t *testing.T) {
	d := daemon.Start(t, environment("http://"+closedPort), "--upstream-breaker-failures=2")
	conn := d.Dial(t)
	for range 5 {
		if err := invoke(t.Context(), conn, "Recover"); status.Code(err) != codes.Unavailable {
			t.Fatal(err)
		}
	}
	if status, _ := fetch(t, http.MethodGet, d.Admin+"/readyz", ""); status != http.StatusOK {
		t.Errorf("readyz says %d", status)
	}
	answer, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v %v", answer, err)
	}
	_, metrics := fetch(t, http.MethodGet, d.Admin+"/metrics", "")
	for _, series := range []string{
		`recoverycodes_upstream_breaker{state="open"} 1`, `recoverycodes_upstream_breaker{state="closed"} 0`,
		`recoverycodes_limit_refusals_total{limit="breaker",method="Recover"} 3`,
	} {
		if !strings.Contains(metrics, series) {
			t.Errorf("no %s", series)
		}
	}
}

// TestHealth asks in each of the ways that gRPC's health service has.
func TestHealth(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	health := healthpb.NewHealthClient(d.Dial(t))
	service := recoverycodesv1.RecoveryCodesService_ServiceDesc.ServiceName
	for _, name := range []string{"", service} {
		answer, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("Check of %q: %v %v", name, answer, err)
		}
	}
	if _, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "another"}); status.Code(err) != codes.NotFound {
		t.Errorf("Check of another service: %v", err)
	}
	list, err := health.List(t.Context(), &healthpb.HealthListRequest{})
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(list.GetStatuses())), []string{"", service}) {
		t.Errorf("List: %v %v", list, err)
	}
	watch, err := health.Watch(t.Context(), &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := watch.Recv(); err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("Watch: %v %v", answer, err)
	}
}

// TestWrongSettingsAreNamed has one thing wrong at a time. The server does not start, says which setting it was, and shows no
// secret.
func TestWrongSettingsAreNamed(t *testing.T) {
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const absent = "/does/not/exist"
	sandbox := []string{"--sandbox"}
	known := []string{"RECOVERYCODES_INSECURE_ALLOW_ANY_CALLER=false"}
	for name, test := range map[string]struct {
		args  []string
		env   []string
		names string
		code  int
	}{
		"secret's file":         {nil, []string{"STYTCH_SECRET=", "STYTCH_SECRET_FILE=" + absent}, "STYTCH_SECRET_FILE", 2},
		"address of Stytch":     {nil, []string{"STYTCH_BASE_URL=ftp://x"}, "STYTCH_BASE_URL", 2},
		"Stytch's certificates": {nil, []string{"STYTCH_CA_FILE=" + absent}, "STYTCH_CA_FILE", 2},
		"policy, absent":        {[]string{"--sandbox", "--policy=" + absent}, known, "--policy", 2},
		"policy, wrong":         {[]string{"--sandbox", "--policy=" + file("callers: 1")}, known, "--policy", 2},
		"certificate":           {[]string{"--sandbox", "--tls-certificate-file=" + absent, "--tls-key-file=" + absent}, nil, "--tls-certificate-file", 2},
		"authorities alone":     {[]string{"--sandbox", "--tls-client-ca-file=" + absent}, nil, "--tls-client-ca-file", 2},
		"audit file":            {[]string{"--sandbox", "--audit-file=" + absent + "/audit"}, nil, "--audit-file", 2},
		"store's secret":        {sandbox, []string{"RECOVERYCODES_STORE_SECRET_FILE=" + absent}, "--store-secret-file", 2},
		"store":                 {[]string{"--sandbox", "--store-secret-file=" + file(strings.Repeat("s", 40))}, []string{"RECOVERYCODES_ONCE_REDIS_URL=gopher://:" + secret + "@x"}, "--once-redis-url", 2},
		"seed":                  {[]string{"--sandbox", "--sandbox-seed=" + file("{")}, nil, "--sandbox-seed", 2},
		"admin door, open":      {[]string{"--sandbox", "--admin-listen=0.0.0.0:0"}, nil, "--admin-token-file", 2},
		"admin tokens":          {[]string{"--sandbox", "--admin-token-file=" + file(secret)}, nil, "--admin-token-file", 2},
		"drain":                 {[]string{"--sandbox", "--drain-delay=-1s"}, nil, "--drain-delay", 2},
		"age":                   {[]string{"--sandbox", "--connection-age=soon"}, nil, "--connection-age", 2},
		"level":                 {sandbox, []string{"RECOVERYCODES_LOG_LEVEL=loud"}, "RECOVERYCODES_LOG_LEVEL", 2},
		"collector":             {sandbox, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT", 2},
		"exporter":              {sandbox, []string{"OTEL_TRACES_EXPORTER=zipkin"}, "OTEL_TRACES_EXPORTER", 2},
		"collector's authority": {sandbox, []string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_CERTIFICATE=" + absent}, "OTEL_EXPORTER_OTLP_CERTIFICATE", 2},
		"attributes":            {sandbox, []string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_RESOURCE_ATTRIBUTES=" + secret}, "OTEL_RESOURCE_ATTRIBUTES", 2},
		"gRPC door":             {[]string{"--sandbox", "--grpc-listen=unix:/does/not/exist/socket"}, nil, "--grpc-listen", 1},
		"REST door":             {[]string{"--sandbox", "--http-listen=unix:/does/not/exist/socket"}, nil, "--http-listen", 1},
		"admin door":            {[]string{"--sandbox", "--admin-listen=127.0.0.1:" + strings.Split(silent(t), ":")[1]}, nil, "--admin-listen", 1},
	} {
		t.Run(name, func(t *testing.T) {
			code, output := daemon.Fail(t, append(environment("https://stytch.example"), test.env...), test.args...)
			var errors []string
			for line := range strings.Lines(output) {
				if !strings.HasPrefix(line, "{") { // no line of the log
					errors = append(errors, line)
				}
			}
			if code != test.code || len(errors) != 1 || !strings.Contains(errors[0], test.names) {
				t.Errorf("exit code %d, want %d and %s:\n%s", code, test.code, test.names, output)
			}
			if strings.Contains(output, secret) {
				t.Errorf("a secret is shown:\n%s", output)
			}
		})
	}
}

// TestEverySettingCanBeWrong gives each setting of --help, by itself, a value that is of no use for any. The server does not
// start and names the setting, so that none can be added whose mistakes are found later or never.
func TestEverySettingCanBeWrong(t *testing.T) {
	const useless = "/does/not:exist/\n" // no number, duration, address, URL, id or secret, and no file has this path
	_, help := daemon.Run(t, nil, "serve", "--help")
	rows := regexp.MustCompile(`(?m)^  (--[a-z-]+|\(none\)) +([A-Z][A-Z0-9_]+) `).FindAllStringSubmatch(help, -1)
	if len(rows) < 50 {
		t.Fatalf("only %d settings in\n%s", len(rows), help)
	}
	for _, row := range rows {
		flag, variable := row[1], row[2]
		if variable == "OTEL_SDK_DISABLED" {
			continue // by its specification, what is not true is false
		}
		t.Run(variable, func(t *testing.T) {
			env, args := append(environment("https://stytch.example"), "OTEL_TRACES_EXPORTER=otlp"), []string{flag + "=" + useless}
			if flag == "(none)" {
				env, args = append(env, variable+"="+useless), nil
			}
			code, output := daemon.Fail(t, env, args...)
			if code != 2 || !strings.Contains(output, flag) && !strings.Contains(output, variable) {
				t.Errorf("exit code %d\n%s", code, output)
			}
		})
	}
}
