package config_test

import (
	"slices"
	"strings"
	"testing"

	"recoverycodes.internal/server/internal/config"
)

const adminToken = "admin-token-MARKED-0123456789-abcdef"

func TestAdminDoorBeyondLoopbackWantsAToken(t *testing.T) {
	for _, listen := range []string{":9464", "0.0.0.0:9464", "10.1.2.3:9464", "[::]:9464", "admin.example:9464"} {
		blames(t, refused(t, realProject, "--admin-listen", listen), "--admin-token-file")
		c := serve(t, realProject, "--admin-listen", listen, "--admin-token-file", file(t, adminToken+"\n"))
		if len(c.AdminTokens) != 1 || string(c.AdminTokens[0]) != adminToken {
			t.Errorf("%s: %d tokens were read", listen, len(c.AdminTokens))
		}
	}
	for _, listen := range []string{"127.0.0.1:0", "localhost:1", "[::1]:2"} {
		serve(t, realProject, "--admin-listen", listen)
	}
}

func TestAdminTokens(t *testing.T) {
	for name, content := range map[string]string{"empty": "\n\n", "short": "hunter2\n", "twice": adminToken + "\n" + adminToken} {
		lines := refused(t, realProject, "--admin-token-file", file(t, content))
		blames(t, lines, "--admin-token-file")
		if strings.Contains(lines[0], "hunter2") || strings.Contains(lines[0], adminToken) {
			t.Errorf("%s: the error shows a token: %s", name, lines[0])
		}
	}
	blames(t, refused(t, realProject, "--admin-token-file", "/does/not/exist"), "--admin-token-file")
	two, err := config.AdminTokens([]byte(adminToken + "\r\n" + strings.ToUpper(adminToken)))
	if err != nil || len(two) != 2 {
		t.Errorf("two tokens: %d, %v", len(two), err)
	}
}

// TestWhoAsksForSpans: nothing is traced unless a variable of OpenTelemetry asks for it.
func TestWhoAsksForSpans(t *testing.T) {
	for name, test := range map[string]struct {
		env      env
		traces   bool
		protocol string
	}{
		"nothing":              {nil, false, ""},
		"an endpoint":          {env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, true, "http/protobuf"},
		"an endpoint of spans": {env{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector:4318/v1/traces"}, true, "http/protobuf"},
		"the exporter":         {env{"OTEL_TRACES_EXPORTER": "otlp"}, true, "http/protobuf"},
		"gRPC":                 {env{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, true, "grpc"},
		"gRPC for spans": {env{
			"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
		}, true, "grpc"},
		"no exporter":           {env{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, false, ""},
		"disabled":              {env{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, false, ""},
		"not disabled":          {env{"OTEL_SDK_DISABLED": "false", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, true, "http/protobuf"},
		"only a protocol":       {env{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, false, ""},
		"metrics' endpoint":     {env{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318"}, false, ""},
		"wrong, but not of use": {env{"OTEL_TRACES_SAMPLER": "x", "OTEL_EXPORTER_OTLP_PROTOCOL": "x"}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, realProject.with(test.env))
			if c.Traces != test.traces || c.TraceProtocol != test.protocol {
				t.Errorf("spans %v by %q, want %v by %q", c.Traces, c.TraceProtocol, test.traces, test.protocol)
			}
		})
	}
}

func TestPropagators(t *testing.T) {
	for given, want := range map[string][]string{
		"":                      {"tracecontext", "b3", "b3multi"},
		"b3":                    {"b3"},
		"tracecontext, baggage": {"tracecontext"},
		"none":                  nil,
	} {
		c := serve(t, realProject.with(env{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_PROPAGATORS": given}))
		if !slices.Equal(c.Propagators, want) {
			t.Errorf("%q gives %q, want %q", given, c.Propagators, want)
		}
	}
}

// TestWrongTraceSettings: the library would print some of these and go on; here each is named, and no value shown.
func TestWrongTraceSettings(t *testing.T) {
	for name, value := range map[string]string{
		"OTEL_TRACES_EXPORTER":               "jaeger-" + secret,
		"OTEL_EXPORTER_OTLP_ENDPOINT":        "collector:4318/" + secret,
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "ftp://" + secret,
		"OTEL_EXPORTER_OTLP_PROTOCOL":        "http/json" + secret,
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "udp" + secret,
		"OTEL_EXPORTER_OTLP_CERTIFICATE":     "/does/not/exist/" + secret,
		"OTEL_TRACES_SAMPLER":                "sometimes" + secret,
		"OTEL_TRACES_SAMPLER_ARG":            "1.5",
		"OTEL_PROPAGATORS":                   "tracecontext,xray" + secret,
	} {
		t.Run(name, func(t *testing.T) {
			blames(t, refused(t, realProject.with(env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}).with(env{name: value})), name)
		})
	}
}
