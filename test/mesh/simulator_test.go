package mesh

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A simulator is a proxy that sends calls again under the conditions that Envoy's documentation gives for its router:
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter. It is written from that
// page, and is not Envoy: it knows no hedging, no budgets, and no circuit breakers, and buffers every request.
type simulator struct {
	policy   retryPolicy
	upstream http.RoundTripper
}

// A retryPolicy is what a route of Envoy has under this name.
type retryPolicy struct {
	on       string // conditions of x-envoy-retry-on and x-envoy-retry-grpc-on, with commas
	statuses []int  // of the condition retriable-status-codes
	retries  int
	perTry   time.Duration // until the header of an answer; 0: for ever
}

var (
	// istioDefault is what Istio gives a route that says nothing of retries, since it leaves out 503, and istioBefore what it
	// gave until then: pilot/pkg/networking/core/route/retry in its source.
	istioDefault = retryPolicy{on: "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes", retries: 2}
	istioBefore  = retryPolicy{on: istioDefault.on, statuses: []int{http.StatusServiceUnavailable}, retries: 2}

	// everything is all that can be set, but for what looks for headers of one's own.
	everything = retryPolicy{
		on: "5xx,gateway-error,reset,connect-failure,retriable-4xx,refused-stream," +
			"cancelled,deadline-exceeded,internal,resource-exhausted,unavailable",
		retries: 4, perTry: 500 * time.Millisecond,
	}
)

// grpcConditions are the statuses that a condition names, as they are in the header grpc-status.
var grpcConditions = map[string]string{
	"cancelled": "1", "deadline-exceeded": "4", "resource-exhausted": "8", "internal": "13", "unavailable": "14",
}

// simulate runs a simulator before a socket or a port that speaks HTTP/2, or HTTP/1.1, and returns its own socket, which speaks
// both.
func simulate(t *testing.T, policy retryPolicy, target string, http2 bool) string {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetUnencryptedHTTP2(http2)
	transport.Protocols.SetHTTP1(!http2)
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		network := "tcp"
		if strings.HasPrefix(target, "/") {
			network = "unix"
		}
		return (&net.Dialer{}).DialContext(ctx, network, target)
	}
	socket := filepath.Join(socketDir(t), "simulator")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(&simulator{policy, transport})
	_ = server.Listener.Close()
	server.Listener = listener
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.Protocols.SetHTTP1(true)
	server.Start()
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return socket
}

func (s *simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	policy := s.policy.with(r.Header)
	for attempt := 1; ; attempt++ {
		resp, failure := s.try(r, body, attempt, policy.perTry)
		if attempt <= policy.retries && policy.repeats(resp, failure) {
			if resp != nil {
				_ = resp.Body.Close()
			}
			continue
		}
		if resp == nil {
			fail(w, r, failure)
			return
		}
		forward(w, resp)
		return
	}
}

// with is the policy with what a request itself asks for: more conditions, and another number of retries.
func (p retryPolicy) with(header http.Header) retryPolicy {
	for _, name := range []string{"x-envoy-retry-on", "x-envoy-retry-grpc-on"} {
		if more := header.Get(name); more != "" {
			p.on += "," + more
			p.retries = max(p.retries, 1)
		}
	}
	if n, err := strconv.Atoi(header.Get("x-envoy-max-retries")); err == nil {
		p.retries = n
	}
	return p
}

// repeats says whether an attempt that came to a header, or to none, is made again.
func (p retryPolicy) repeats(resp *http.Response, failure error) bool {
	return slices.ContainsFunc(strings.Split(p.on, ","), func(condition string) bool {
		if resp == nil {
			var dial *net.OpError
			connecting := errors.As(failure, &dial) && dial.Op == "dial"
			refused := strings.Contains(failure.Error(), "REFUSED_STREAM") // the transport hides its error's type
			switch condition {
			case "5xx", "reset":
				return true
			case "gateway-error": // what becomes of it is a 503 or a 504
				return true
			case "connect-failure":
				return connecting
			case "refused-stream":
				return refused
			}
			return false
		}
		switch condition {
		case "5xx":
			return resp.StatusCode >= 500
		case "gateway-error":
			return 502 <= resp.StatusCode && resp.StatusCode <= 504
		case "retriable-4xx":
			return resp.StatusCode == http.StatusConflict
		case "retriable-status-codes":
			return slices.Contains(p.statuses, resp.StatusCode)
		}
		// A status that stands in the trailers has come after the header, and is not looked at.
		code, ok := grpcConditions[condition]
		return ok && resp.Header.Get("grpc-status") == code
	})
}

// try makes one attempt. It returns as soon as the header of the answer is there.
func (s *simulator) try(r *http.Request, body []byte, attempt int, perTry time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	out, err := http.NewRequestWithContext(ctx, r.Method, "http://upstream.example"+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	out.GetBody = nil // what is sent again is for the policy to say, not for the transport
	out.Header = r.Header.Clone()
	out.Header.Set("x-envoy-attempt-count", strconv.Itoa(attempt))
	if perTry > 0 {
		timer := time.AfterFunc(perTry, func() { cancel(errors.New("the attempt took too long")) })
		defer timer.Stop()
	}
	context.AfterFunc(r.Context(), func() { cancel(nil) }) // the end of the exchange ends ctx too
	return s.upstream.RoundTrip(out)
}

// forward sends an answer on, each part of it as soon as it is there.
func forward(w http.ResponseWriter, resp *http.Response) {
	defer func() { _ = resp.Body.Close() }()
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	if resp.Header.Get("grpc-status") == "" {
		_ = http.NewResponseController(w).Flush()
	}
	buffer := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buffer)
		if n > 0 {
			_, _ = w.Write(buffer[:n])
			_ = http.NewResponseController(w).Flush()
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			panic(http.ErrAbortHandler) // a reset, to whoever waits for the rest
		}
	}
	for name, values := range resp.Trailer {
		w.Header()[http.TrailerPrefix+name] = values
	}
}

// fail is the answer of the proxy itself. A gRPC client finds UNAVAILABLE in it.
func fail(w http.ResponseWriter, r *http.Request, failure error) {
	if strings.HasPrefix(r.Header.Get("content-type"), "application/grpc") {
		w.Header().Set("content-type", "application/grpc")
		w.Header().Set("grpc-status", "14")
		w.Header().Set("grpc-message", "simulated: "+failure.Error())
		w.WriteHeader(http.StatusOK)
		return
	}
	http.Error(w, failure.Error(), http.StatusServiceUnavailable)
}

// TestSimulatorRepeatsAsDocumented holds the simulator to the page that it is written from.
func TestSimulatorRepeatsAsDocumented(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	grpcStatus := func(code string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("grpc-status", code) }
	}
	for name, test := range map[string]struct {
		on       string
		header   []string
		upstream http.HandlerFunc
		attempts int32
		perTry   time.Duration
	}{
		"5xx: 500":                                    {on: "5xx", upstream: status(500), attempts: 4},
		"5xx: 499":                                    {on: "5xx", upstream: status(499), attempts: 1},
		"5xx: a reset":                                {on: "5xx", upstream: abort, attempts: 4},
		"gateway-error: 500":                          {on: "gateway-error", upstream: status(500), attempts: 1},
		"gateway-error: 503":                          {on: "gateway-error", upstream: status(503), attempts: 4},
		"reset: a reset":                              {on: "reset", upstream: abort, attempts: 4},
		"reset: 503":                                  {on: "reset", upstream: status(503), attempts: 1},
		"reset: after the header":                     {on: "reset", upstream: headerThen(abort), attempts: 1},
		"reset: an attempt that takes too long":       {on: "reset", upstream: hang, attempts: 4, perTry: 20 * time.Millisecond},
		"connect-failure: a reset":                    {on: "connect-failure", upstream: abort, attempts: 1},
		"refused-stream: a reset of another kind":     {on: "refused-stream", upstream: abort, attempts: 1},
		"retriable-4xx: 409":                          {on: "retriable-4xx", upstream: status(409), attempts: 4},
		"retriable-status-codes":                      {on: "retriable-status-codes", upstream: status(418), attempts: 4},
		"unavailable":                                 {on: "unavailable", upstream: grpcStatus("14"), attempts: 4},
		"unavailable: in trailers":                    {on: "unavailable", upstream: headerThen(trailer("14")), attempts: 1},
		"unavailable: another status":                 {on: "unavailable", upstream: grpcStatus("2"), attempts: 1},
		"cancelled":                                   {on: "cancelled", upstream: grpcStatus("1"), attempts: 4},
		"deadline-exceeded":                           {on: "deadline-exceeded", upstream: grpcStatus("4"), attempts: 4},
		"internal":                                    {on: "internal", upstream: grpcStatus("13"), attempts: 4},
		"resource-exhausted":                          {on: "resource-exhausted", upstream: grpcStatus("8"), attempts: 4},
		"a condition by header, once":                 {header: []string{"x-envoy-retry-on", "5xx", "x-envoy-max-retries", "1"}, upstream: status(500), attempts: 2},
		"a gRPC condition by header":                  {header: []string{"x-envoy-retry-grpc-on", "unavailable"}, upstream: grpcStatus("14"), attempts: 4},
		"more retries by header":                      {on: "5xx", header: []string{"x-envoy-max-retries", "6"}, upstream: status(500), attempts: 7},
		"no retries by header":                        {on: "5xx", header: []string{"x-envoy-max-retries", "0"}, upstream: status(500), attempts: 1},
		"no conditions, however many the retries are": {upstream: status(500), attempts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var attempts atomic.Int32
			upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n := attempts.Add(1); r.Header.Get("x-envoy-attempt-count") != strconv.Itoa(int(n)) {
					t.Errorf("attempt %d says that it is %s", n, r.Header.Get("x-envoy-attempt-count"))
				}
				test.upstream(w, r)
			}))
			socket := filepath.Join(socketDir(t), "upstream")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			_ = upstream.Listener.Close()
			upstream.Listener = listener
			upstream.Config.Protocols = new(http.Protocols)
			upstream.Config.Protocols.SetUnencryptedHTTP2(true)
			upstream.Start()
			defer upstream.Close()
			policy := retryPolicy{on: test.on, statuses: []int{http.StatusTeapot}, retries: 3, perTry: test.perTry}
			overREST(restClient(t, simulate(t, policy, socket, true), nil, true))(t.Context(), "Rotate", "member", test.header...)
			if n := attempts.Load(); n != test.attempts {
				t.Errorf("%d attempts, want %d", n, test.attempts)
			}
		})
	}
}

// TestSimulatorTellsFailuresApart has the failures that no handler can bring about.
func TestSimulatorTellsFailuresApart(t *testing.T) {
	connect, refused := error(&net.OpError{Op: "dial", Err: io.EOF}), errors.New("stream error: stream ID 1; REFUSED_STREAM")
	for condition, want := range map[string][2]bool{
		"connect-failure": {true, false}, "refused-stream": {false, true}, "reset": {true, true}, "5xx": {true, true}, "unavailable": {},
	} {
		policy := retryPolicy{on: condition}
		if got := [2]bool{policy.repeats(nil, connect), policy.repeats(nil, refused)}; got != want {
			t.Errorf("%s: no connection, a refused stream: %v, want %v", condition, got, want)
		}
	}
}

func abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func headerThen(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "application/grpc")
		_ = http.NewResponseController(w).Flush()
		next(w, r)
	}
}

func trailer(status string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(http.TrailerPrefix+"grpc-status", status) }
}
