package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Telemetry is what the server tells of itself, and to whom.
type Telemetry struct {
	AdminListen string

	// AdminTokenFile is where AdminTokens were read, and is read again when it changes. Without one the admin door asks
	// nobody who they are.
	AdminTokenFile string
	AdminTokens    [][]byte

	LogLevel, LogFormat string

	// Traces says whether spans are made, TraceProtocol how they are sent, and Propagators which traces are joined. Where
	// they go, and how many are kept, the OpenTelemetry library reads from the same variables.
	Traces        bool
	TraceProtocol string
	Propagators   []string

	exporter, disabled                              string
	endpoint, tracesEndpoint                        string
	protocol, tracesProtocol                        string
	certificate, sampler, samplerArg, propagatorsBy string
}

// LogAuto is the log format that depends on who reads.
const LogAuto = "auto"

func (c *Telemetry) settings() []Setting {
	return []Setting{
		address(&c.AdminListen, "admin-listen", "127.0.0.1:9464", "Where health and metrics are served, for operators only."),
		text(&c.AdminTokenFile, "admin-token-file", "", "A file of the tokens, one a line, of which the admin door wants one as a bearer token for everything but /livez and "+
			"/readyz. It is required when other machines reach --admin-listen, and read again when it changes."),
		oneOf(&c.LogLevel, "log-level", "info", "The lowest level that is logged, until the admin door is told another", "debug", "info", "warn", "error"),
		oneOf(&c.LogFormat, "log-format", LogAuto, "The form of the log on standard error; auto is console on a terminal, else json", LogAuto, "json", "console"),
		standard(&c.exporter, "OTEL_TRACES_EXPORTER", "Where spans go: otlp or none. Without it they go by OTLP if an endpoint is given."),
		standard(&c.endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT", "The OpenTelemetry collector's address, such as http://localhost:4318."),
		standard(&c.tracesEndpoint, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "The same for spans alone; over HTTP it is the whole address."),
		standard(&c.protocol, "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf, which is the default, or grpc."),
		standard(&c.tracesProtocol, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "The same for spans alone."),
		standard(&c.certificate, "OTEL_EXPORTER_OTLP_CERTIFICATE", "A PEM file of the certificates to trust for the collector's address, instead of the system's."),
		standard(&c.sampler, "OTEL_TRACES_SAMPLER", "Which traces are kept: "+strings.Join(samplers, ", ")+"."),
		standard(&c.samplerArg, "OTEL_TRACES_SAMPLER_ARG", "The share that a traceidratio sampler keeps, from 0 to 1."),
		standard(&c.propagatorsBy, "OTEL_PROPAGATORS", "The forms in which callers' traces are joined: any of tracecontext, b3, b3multi with commas between them, or none. "+
			"Without it all of them."),
		standard(&c.disabled, "OTEL_SDK_DISABLED", "true makes no spans, whatever else is set."),
	}
}

var samplers = []string{
	"parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio", "always_on", "always_off", "traceidratio",
}

// standard is a variable of OpenTelemetry's specification. It has no flag, since the library does not read flags.
func standard(into *string, name, doc string) Setting {
	s := text(into, "", "", doc)
	s.Env = name
	return s
}

// telemetry checks the settings of Telemetry that depend on each other.
func (c *Serve) telemetry() (errs []error) {
	if c.AdminTokenFile != "" {
		tokens, err := readSecrets(c.AdminTokenFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("--admin-token-file: %w", err))
		}
		c.AdminTokens = tokens
	} else if c.AdminListen != "" && !reachedFromHere(c.AdminListen) {
		errs = append(errs, errors.New("--admin-token-file: is required when --admin-listen is not loopback"))
	}
	return append(errs, c.tracing()...)
}

// tracing finds out whether spans are made. What the library would pass over in silence is an error here.
func (c *Serve) tracing() (errs []error) {
	wrong := func(name, want string) { errs = append(errs, fmt.Errorf("%s: want %s", name, want)) }
	switch c.exporter {
	case "":
		c.Traces = c.endpoint != "" || c.tracesEndpoint != ""
	case "otlp":
		c.Traces = true
	case "none":
	default:
		wrong("OTEL_TRACES_EXPORTER", "otlp or none")
	}
	if disabled, _ := strconv.ParseBool(c.disabled); disabled {
		c.Traces = false
	}
	if !c.Traces {
		return errs // what is not used may be meant for somebody else
	}
	for _, e := range []struct{ name, address string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", c.endpoint}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c.tracesEndpoint},
	} {
		if u, err := url.Parse(e.address); e.address != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			wrong(e.name, "an address such as http://localhost:4318")
		}
	}
	c.TraceProtocol = cmp.Or(c.tracesProtocol, c.protocol, "http/protobuf")
	if c.TraceProtocol != "http/protobuf" && c.TraceProtocol != "grpc" {
		name := "OTEL_EXPORTER_OTLP_PROTOCOL"
		if c.tracesProtocol != "" {
			name = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
		}
		wrong(name, "http/protobuf or grpc")
	}
	if c.certificate != "" {
		if _, err := readCertificates(c.certificate); err != nil {
			errs = append(errs, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err))
		}
	}
	if c.sampler != "" && !slices.Contains(samplers, c.sampler) {
		wrong("OTEL_TRACES_SAMPLER", "one of "+strings.Join(samplers, ", "))
	}
	if share, err := strconv.ParseFloat(c.samplerArg, 64); c.samplerArg != "" && (err != nil || !(0 <= share && share <= 1)) {
		wrong("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1")
	}
	known := []string{"tracecontext", "b3", "b3multi"}
	c.Propagators = known
	if c.propagatorsBy != "" {
		c.Propagators = nil
		for name := range strings.SplitSeq(c.propagatorsBy, ",") {
			switch name = strings.TrimSpace(name); {
			case slices.Contains(known, name):
				c.Propagators = append(c.Propagators, name)
			case name != "none" && name != "baggage": // nothing here reads baggage
				wrong("OTEL_PROPAGATORS", "any of tracecontext, b3, b3multi, baggage, none")
			}
		}
	}
	return errs
}

// AdminTokens are the tokens that a file holds.
func AdminTokens(content []byte) ([][]byte, error) { return secretLines(content) }
