package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"

	"golang.org/x/term"

	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/recoverycodes"
	"recoverycodes.internal/server/internal/stytch"
	"recoverycodes.internal/server/internal/telemetry"
)

// formatFor is the form of the log for whoever reads it: a person at a terminal, or a collector.
func formatFor(format string, stderr io.Writer) string {
	if format != config.LogAuto {
		return format
	}
	if file, ok := stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return "console"
	}
	return "json"
}

// openTracing has spans made if the settings ask for them.
func (s *server) openTracing(cfg *config.Serve) (err error) {
	if !cfg.Traces {
		return nil
	}
	s.tracing, err = telemetry.OpenTracing(telemetry.TraceSettings{
		Protocol: cfg.TraceProtocol, Propagators: cfg.Propagators, Version: Version(),
	}, s.observer.ExportFailed)
	if err != nil {
		return UsageError{Err: err}
	}
	s.observer.Trace(s.tracing)
	return nil
}

// requesting makes the spans of requests to the upstream at an address.
func (s *server) requesting(at *url.URL) func(context.Context, string, string) func(stytch.Exchange) {
	host := at.Hostname()
	port, err := strconv.Atoi(at.Port())
	if err != nil { // the address names none
		port = map[string]int{"http": 80, "https": 443}[at.Scheme]
	}
	return func(ctx context.Context, method, route string) func(stytch.Exchange) {
		ended := s.observer.Requesting(ctx, host, port, method, route)
		return func(x stytch.Exchange) { ended(x.Status, string(x.Fault)) }
	}
}

// measure adds the metrics that are read when they are asked for.
func (s *server) measure() {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				revision = setting.Value
			}
		}
		s.observer.Build(Version(), info.GoVersion, revision)
	}
	s.observer.Gauge("recoverycodes_ready", "1 while the server is ready, 0 from the moment it is told to stop.", func() float64 {
		if s.ready.Load() {
			return 1
		}
		return 0
	})
	s.observer.Gauge("recoverycodes_calls_in_flight", "Calls that have arrived and not ended.",
		func() float64 { return float64(s.calls.Count()) })
	s.observer.Gauge("recoverycodes_upstream_calls_in_flight", "Calls that are at the upstream.",
		func() float64 { return float64(s.service.UpstreamCalls()) })
	s.observer.State("recoverycodes_upstream_breaker", "1 for the state of what refuses calls while the upstream keeps failing.",
		[]string{string(recoverycodes.BreakerClosed), string(recoverycodes.BreakerOpen), string(recoverycodes.BreakerTrying)},
		func() string { return string(s.service.Breaker()) })
}

// troubled is a listener that tells of connections it could not accept, which the servers behind it try again in silence:
// a process without file descriptors would look idle.
type troubled struct {
	net.Listener
	report func(cause string)
}

// Accept implements net.Listener.
func (l troubled) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		cause := "unknown"
		if errno := syscall.Errno(0); errors.As(err, &errno) { // nothing else of it: the error shows addresses
			cause = errno.Error()
		}
		l.report(cause)
	}
	return conn, err
}
