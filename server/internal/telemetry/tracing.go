package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"go.opentelemetry.io/contrib/propagators/b3"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/status"
)

// TraceSettings say where spans go and which traces are joined. What they leave open is read by the OpenTelemetry library
// from its own variables, as its specification has it.
type TraceSettings struct {
	// Protocol is that of OTLP: "grpc", or "http/protobuf".
	Protocol string

	// Propagators are the forms in which a caller's trace is understood: "tracecontext", "b3", "b3multi". Others are none
	// of ours.
	Propagators []string

	// Version is that of this build.
	Version string
}

// Tracing makes spans and sends them away, in the background and as long as there is room to keep them.
type Tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	inbound  propagation.TextMapPropagator
}

// OpenTracing makes the exporter that the settings ask for and returns what sends to it. It opens no connection: a
// collector that cannot be reached holds nothing up. report is told how each export that failed has failed.
func OpenTracing(settings TraceSettings, report func(class string)) (*Tracing, error) {
	var (
		exporter *otlptrace.Exporter
		err      error
	)
	ctx := context.Background()
	if settings.Protocol == "grpc" {
		exporter, err = otlptracegrpc.New(ctx)
	} else {
		exporter, err = otlptracehttp.New(ctx)
	}
	if err != nil {
		return nil, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT: no exporter can be made of it") // the cause may show a header
	}
	return NewTracing(exporter, settings, report)
}

// NewTracing is OpenTracing with an exporter of its caller's.
func NewTracing(exporter sdktrace.SpanExporter, settings TraceSettings, report func(class string)) (*Tracing, error) {
	attributes, err := resource.New(context.Background(),
		resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("recoverycodesd"), semconv.ServiceVersion(settings.Version)),
		resource.WithFromEnv()) // last, so that OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	if err != nil {
		return nil, errors.Join(errors.New("OTEL_RESOURCE_ATTRIBUTES: want name=value pairs, with commas between them"),
			exporter.Shutdown(context.Background()))
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(attributes),
		sdktrace.WithBatcher(quiet{exporter, report}),
	)
	return &Tracing{
		provider: provider,
		tracer:   provider.Tracer("recoverycodes.internal/server", trace.WithInstrumentationVersion(settings.Version), trace.WithSchemaURL(semconv.SchemaURL)),
		inbound:  inbound(settings.Propagators),
	}, nil
}

// inbound understands what callers say of their traces. Where both are there the W3C's form wins, as the last.
func inbound(names []string) propagation.TextMapPropagator {
	var both [2]propagation.TextMapPropagator
	for _, name := range names {
		switch name {
		case "b3", "b3multi": // one reader for both forms
			both[0] = b3.New()
		case "tracecontext":
			both[1] = propagation.TraceContext{}
		}
	}
	var known []propagation.TextMapPropagator
	for _, p := range both {
		if p != nil {
			known = append(known, p)
		}
	}
	return propagation.NewCompositeTextMapPropagator(known...)
}

// Close sends what is left, for as long as ctx lets it. Nil has nothing to send.
func (t *Tracing) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("telemetry: the last spans were not sent: %s", classOf(err))
	}
	return nil
}

// quiet keeps what goes wrong with exports from the OpenTelemetry library, which prints it: errors show the collector's
// address and what it said.
type quiet struct {
	sdktrace.SpanExporter
	report func(class string)
}

// ExportSpans implements sdktrace.SpanExporter.
func (q quiet) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := q.SpanExporter.ExportSpans(ctx, spans); err != nil {
		q.report(classOf(err))
	}
	return nil
}

// classOf is what may be said of an export that failed.
func classOf(err error) string {
	var (
		timeout interface{ Timeout() bool }
		resolve *net.DNSError
		errno   syscall.Errno
		remote  interface{ GRPCStatus() *status.Status }
	)
	switch {
	case errors.As(err, &resolve):
		return "the collector's name does not resolve"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &remote):
		return remote.GRPCStatus().Code().String()
	default:
		return "the collector refused them"
	}
}
