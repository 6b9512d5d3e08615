package life

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"recoverycodes.internal/test/daemon"
)

// collector is an OpenTelemetry collector that keeps what it is sent.
type collector struct {
	coltrace.UnimplementedTraceServiceServer

	mu      sync.Mutex
	spans   []*tracev1.Span
	all     strings.Builder // everything that arrived, as text
	headers []string
}

// Export implements the collector's RPC.
func (c *collector) Export(_ context.Context, request *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range request.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			c.spans = append(c.spans, s.GetSpans()...)
		}
	}
	c.all.WriteString(protojson.Format(request))
	return &coltrace.ExportTraceServiceResponse{}, nil
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var from io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		from, _ = gzip.NewReader(r.Body)
	}
	content, err := io.ReadAll(from)
	request := &coltrace.ExportTraceServiceRequest{}
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(content, request) != nil {
		http.Error(w, "no spans", http.StatusBadRequest)
		return
	}
	_, _ = c.Export(r.Context(), request)
	c.mu.Lock()
	c.headers = append(c.headers, r.Header.Get("X-Collector-Key"))
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// byHTTP and byGRPC start a collector and return the settings that lead to it.
func byHTTP(t *testing.T) (*collector, []string) {
	c := &collector{}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return c, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + s.URL, "OTEL_EXPORTER_OTLP_HEADERS=x-collector-key=key-marked", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip"}
}

func byGRPC(t *testing.T) (*collector, []string) {
	c := &collector{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(s, c)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return c, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + l.Addr().String(), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}
}

const (
	traceID  = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentID = "00f067aa0ba902b7"
)

// TestSpans makes a call of each kind through both doors, each within a trace of its caller's, and stops the server. By
// then the collector has one span for each call and one for each request to the upstream, in that trace; nothing in them
// names a person or shows a secret; and the upstream was told nothing of it.
func TestSpans(t *testing.T) {
	for name, start := range map[string]func(*testing.T) (*collector, []string){"http/protobuf": byHTTP, "grpc": byGRPC} {
		t.Run(name, func(t *testing.T) {
			kept, settings := start(t)
			var mu sync.Mutex
			upstreamHeaders := make(map[string]bool)
			env := append(behind(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				for header := range r.Header {
					upstreamHeaders[header] = true
				}
				mu.Unlock()
				answering(w, r)
			}), settings...)
			_, upstream, _ := strings.Cut(env[2], "://")                         // of STYTCH_BASE_URL
			d := daemon.Start(t, append(env, "OTEL_BSP_SCHEDULE_DELAY=3600000")) // only the stop sends
			conn := d.Dial(t)
			traceparent, b3 := "00-"+traceID+"-"+parentID+"-01", traceID+"-"+parentID+"-1"
			for _, method := range []string{"Get", "Recover", "Rotate"} {
				if err := invoke(metadata.AppendToOutgoingContext(t.Context(), "traceparent", traceparent, "baggage", "who="+member), conn, method); err != nil {
					t.Error(err)
				}
			}
			short := strings.Replace(body, `,"recovery_code":"`+code+`"`, "", 1)
			for _, request := range [][3]string{{http.MethodGet, pathGet}, {http.MethodPost, pathRecover, body}, {http.MethodPost, pathRotate, short}} {
				if status, text := fetch(t, request[0], d.HTTP+request[1], request[2], "B3", b3, "X-Request-Id", "id-1"); status != http.StatusOK {
					t.Errorf("%s: %d %s", request[1], status, text)
				}
			}
			fetch(t, http.MethodGet, d.HTTP+pathGet+"/more/"+code, "", "Traceparent", traceparent)
			if strings.Count(d.Log(), `"trace_id":"`+traceID+`"`) != 7 {
				await(t, "access lines with the trace", func() bool { return strings.Count(d.Log(), `"trace_id":"`+traceID+`"`) == 7 })
			}
			_, metrics := fetch(t, http.MethodGet, d.Admin+"/metrics", "", "Accept", "application/openmetrics-text")
			if !strings.Contains(metrics, `# {trace_id="`+traceID+`"}`) {
				t.Error("no series leads to the trace")
			}
			d.Signal(t, syscall.SIGTERM)
			if code := d.Wait(t); code != 0 {
				t.Errorf("exit code %d\n%s", code, d.Log())
			}

			kept.mu.Lock()
			defer kept.mu.Unlock()
			got := make(map[string]int)
			doors := make(map[string]string) // by id
			for _, s := range kept.spans {
				if s.GetKind() == tracev1.Span_SPAN_KIND_SERVER {
					doors[hex.EncodeToString(s.GetSpanId())] = s.GetName()
				}
			}
			for _, s := range kept.spans {
				name, parent := s.GetName(), hex.EncodeToString(s.GetParentSpanId())
				if s.GetKind() == tracev1.Span_SPAN_KIND_CLIENT {
					name += " for " + doors[parent]
					if got := serverOf(s); got != upstream {
						t.Errorf("%s went to %s, want %s", name, got, upstream)
					}
				} else if parent != parentID {
					t.Errorf("%s is below %s", name, parent)
				}
				got[name]++
				if hex.EncodeToString(s.GetTraceId()) != traceID {
					t.Errorf("%s is in another trace", name)
				}
			}
			const rpc, get = "stytch.b2b.recoverycodes.v1.RecoveryCodesService/", "/v1/b2b/recovery_codes/{organization_id}/{member_id}"
			want := map[string]int{
				rpc + "Get": 1, rpc + "Recover": 1, rpc + "Rotate": 1, "GET " + get: 2, "POST " + pathRecover: 1, "POST " + pathRotate: 1,
				"GET " + get + " for " + rpc + "Get": 1, "POST " + pathRecover + " for " + rpc + "Recover": 1, "POST " + pathRotate + " for " + rpc + "Rotate": 1,
				"GET " + get + " for GET " + get: 1, "POST " + pathRecover + " for POST " + pathRecover: 1, "POST " + pathRotate + " for POST " + pathRotate: 1,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("spans (-want +got):\n%s", diff)
			}
			for _, mark := range []string{secret, code, organization, member, "fake-session-token", "fake.session-jwt", "fake-code", "key-marked"} {
				if strings.Contains(kept.all.String()+metrics+d.Log(), mark) {
					t.Errorf("%q has left", mark)
				}
			}
			if name == "http/protobuf" && !slices.Contains(kept.headers, "key-marked") {
				t.Error("the collector was not given its header")
			}
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff([]string{"Authorization", "Content-Length", "Content-Type", "User-Agent"}, slices.Sorted(maps.Keys(upstreamHeaders))); diff != "" {
				t.Errorf("the upstream's headers (-want +got):\n%s", diff)
			}
		})
	}
}

// serverOf is where a span says that its request went.
func serverOf(s *tracev1.Span) string {
	var host, port string
	for _, a := range s.GetAttributes() {
		switch a.GetKey() {
		case "server.address":
			host = a.GetValue().GetStringValue()
		case "server.port":
			port = strconv.FormatInt(a.GetValue().GetIntValue(), 10)
		}
	}
	return net.JoinHostPort(host, port)
}

// TestNoSpansUnasked has a collector at hand that nobody asks for.
func TestNoSpansUnasked(t *testing.T) {
	kept, settings := byHTTP(t)
	d := daemon.Start(t, append(append(behind(t, answering), settings...), "OTEL_TRACES_EXPORTER=none"))
	if err := invoke(t.Context(), d.Dial(t), "Get"); err != nil {
		t.Error(err)
	}
	d.Signal(t, syscall.SIGTERM)
	d.Wait(t)
	if len(kept.spans) != 0 || strings.Contains(d.Log(), "trace_id") {
		t.Errorf("%d spans\n%s", len(kept.spans), d.Log())
	}
}

// TestACollectorThatFails neither holds the server up nor gets its words, or the server's credentials, into the log.
func TestACollectorThatFails(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "the key "+r.Header.Get("X-Collector-Key")+" is wrong", http.StatusUnauthorized)
	}))
	defer refusing.Close()
	for name, test := range map[string]struct {
		address string
		lines   int
	}{"refuses": {refusing.URL, 1}, "is away": {"http://" + closedPort, 1}, "says nothing": {"http://" + silent(t), 1}} {
		for _, protocol := range []string{"http/protobuf", "grpc"} {
			t.Run(name+", "+protocol, func(t *testing.T) {
				d := daemon.Start(t, append(behind(t, answering), "OTEL_EXPORTER_OTLP_ENDPOINT="+test.address, "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol,
					"OTEL_EXPORTER_OTLP_HEADERS=x-collector-key=key-marked,malformed-"+secret, "OTEL_BSP_SCHEDULE_DELAY=20", "OTEL_BSP_EXPORT_TIMEOUT=100",
					"OTEL_EXPORTER_OTLP_TIMEOUT=100"))
				conn := d.Dial(t)
				failures := func() string { return seriesWith(t, d)["recoverycodes_trace_export_failures_total"] }
				await(t, "three failures", func() bool {
					if err := invoke(t.Context(), conn, "Get"); err != nil && status.Code(err) != codes.OK {
						t.Fatal(err)
					}
					return failures() >= "3"
				})
				start := time.Now()
				d.Signal(t, syscall.SIGTERM)
				if code := d.Wait(t); code != 0 || time.Since(start) > 10*time.Second {
					t.Errorf("exit code %d after %v", code, time.Since(start))
				}
				log := d.Log()
				if n := strings.Count(log, "spans cannot be exported"); n != test.lines {
					t.Errorf("%d lines, want %d:\n%s", n, test.lines, log)
				}
				for _, mark := range []string{"key-marked", secret, strings.TrimPrefix(test.address, "http://"), "is wrong"} {
					if strings.Contains(log, mark) {
						t.Errorf("%q is in the log:\n%s", mark, log)
					}
				}
			})
		}
	}
}
