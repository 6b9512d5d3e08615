package servertest_test

import (
	"io"
	"log"
	"os/signal"
	"runtime/debug"
	"syscall"
	"testing"

	"go.opentelemetry.io/otel"
	"go.uber.org/goleak"

	"recoverycodes.internal/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTheProcessIsLeftAlone runs a server beside settings of the process that are none of its business.
func TestTheProcessIsLeftAlone(t *testing.T) {
	t.Setenv("RECOVERYCODES_UPSTREAM_TIMEOUT", "soon") // is not read
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	const percent = 123
	defer debug.SetGCPercent(debug.SetGCPercent(percent))
	const limit = 1 << 40
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	defer log.SetOutput(log.Writer())
	log.SetOutput(io.Discard)
	tracing := otel.GetTracerProvider()

	s, err := servertest.Start(servertest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if now := debug.SetGCPercent(percent); now != percent {
		t.Errorf("the garbage collector goes by %d %%", now)
	}
	if now := debug.SetMemoryLimit(-1); now != limit {
		t.Errorf("the memory limit is %d", now)
	}
	if log.Writer() != io.Discard {
		t.Error("the standard logger writes elsewhere")
	}
	if otel.GetTracerProvider() != tracing {
		t.Error("spans of the process go elsewhere")
	}
	if signal.Ignored(syscall.SIGPIPE) {
		t.Error("SIGPIPE is ignored")
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
