package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/inproc"
	"recoverycodes.internal/server/internal/interceptor"
	"recoverycodes.internal/server/internal/telemetry"
)

// service answers every RPC with the bytes in answer or with err, and keeps what it was asked.
type service struct {
	recoverycodesv1.UnimplementedRecoveryCodesServiceServer
	answer string
	err    error
	panics bool
	given  []byte // the answer, as it was left with the record

	request  proto.Message
	metadata metadata.MD
}

func (s *service) serve(ctx context.Context, request proto.Message) error {
	s.request = request
	s.metadata, _ = metadata.FromIncomingContext(ctx)
	if s.panics {
		panic("the panic's text")
	}
	if s.err == nil {
		s.given = []byte(s.answer)
		call.FromContext(ctx).Answer = s.given
	}
	return s.err
}

func (s *service) Get(ctx context.Context, r *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
	return &recoverycodesv1.GetResponse{}, s.serve(ctx, r)
}

func (s *service) Recover(ctx context.Context, r *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
	return &recoverycodesv1.RecoverResponse{}, s.serve(ctx, r)
}

func (s *service) Rotate(ctx context.Context, r *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error) {
	return &recoverycodesv1.RotateResponse{}, s.serve(ctx, r)
}

// open returns the door in front of s, and the log that its calls leave. The door returns when the log has a call's lines.
func open(t *testing.T, s *service) (http.Handler, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	o := telemetry.NewObserver(zap.New(core), nil)
	chain := interceptor.Chain{Calls: &interceptor.InFlight{}, Observer: o, Guard: access.Anyone(), Limit: time.Minute}
	channel := inproc.New(chain.Unary()...)
	recoverycodesv1.RegisterRecoveryCodesServiceServer(channel, s)
	h, err := Handler(channel, chain.Calls, o, chain.Guard)
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		chain.Calls.Wait(t.Context())
	}), logs
}

// request makes a request out of "METHOD PATH", headers as "Name: value" and a body.
func request(line, body string, headers ...string) *http.Request {
	method, path, _ := strings.Cut(line, " ")
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	return r
}

const (
	jsonType = "Content-Type: application/json"
	prefix   = "/v1/b2b/recovery_codes/"
)

// TestRefusedAtTheDoor is what the gateway library would decide by itself: each gets the five fields, one access line,
// and none of Go's error texts.
func TestRefusedAtTheDoor(t *testing.T) {
	huge := `{"recovery_code":"` + strings.Repeat("x", maxBody) + `"}`
	for name, test := range map[string]struct {
		request   *http.Request
		status    int
		errorType string
		code      codes.Code
		allow     string
	}{
		"no such path":         {request("GET /v1/users", ""), 404, "route_not_found", codes.NotFound, ""},
		"no path":              {request("GET /", ""), 404, "route_not_found", codes.NotFound, ""},
		"a segment too many":   {request("GET "+prefix+"o/m/x", ""), 404, "route_not_found", codes.NotFound, ""},
		"GET of Recover":       {request("GET "+prefix+"recover", ""), 405, "method_not_allowed", codes.Unimplemented, "POST"},
		"DELETE of Rotate":     {request("DELETE "+prefix+"rotate", ""), 405, "method_not_allowed", codes.Unimplemented, "POST"},
		"POST of Get":          {request("POST "+prefix+"o/m", "{}", jsonType), 405, "method_not_allowed", codes.Unimplemented, "GET"},
		"method override":      {request("POST "+prefix+"o/m", "", jsonType, "X-HTTP-Method-Override: GET"), 405, "method_not_allowed", codes.Unimplemented, "GET"},
		"form for a Get":       {request("POST "+prefix+"o/m", "a=b", "Content-Type: application/x-www-form-urlencoded"), 415, "unsupported_type", codes.InvalidArgument, ""},
		"form":                 {request("POST "+prefix+"recover", "a=b", "Content-Type: application/x-www-form-urlencoded"), 415, "unsupported_type", codes.InvalidArgument, ""},
		"malformed type":       {request("POST "+prefix+"recover", "{}", "Content-Type: application/json; ="), 415, "unsupported_type", codes.InvalidArgument, ""},
		"gzip":                 {request("POST "+prefix+"recover", "{}", jsonType, "Content-Encoding: gzip"), 415, "unsupported_type", codes.InvalidArgument, ""},
		"not JSON":             {request("POST "+prefix+"recover", "{", jsonType), 400, "malformed_body", codes.InvalidArgument, ""},
		"unknown member":       {request("POST "+prefix+"rotate", `{"x":1}`, jsonType), 400, "invalid_request", codes.InvalidArgument, ""},
		"too large":            {request("POST "+prefix+"recover", huge, jsonType), 413, "body_too_large", codes.InvalidArgument, ""},
		"malformed escape":     {&http.Request{Method: http.MethodGet, URL: rawURL(prefix+"o/%zz", prefix+"o/%zz")}, 400, "invalid_request", codes.InvalidArgument, ""},
		"a path without slash": {&http.Request{Method: http.MethodGet, URL: rawURL("*", "")}, 400, "route_not_found", codes.NotFound, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{answer: "{}"}
			door, logs := open(t, s)
			w := httptest.NewRecorder()
			if test.request.Body == nil {
				test.request.Body = http.NoBody
			}
			door.ServeHTTP(w, test.request)
			body := fiveFields(t, w)
			if w.Code != test.status || body["error_type"] != test.errorType || w.Header().Get("Allow") != test.allow {
				t.Errorf("status %d, Allow %q, %v", w.Code, w.Header().Get("Allow"), body)
			}
			text := strings.Replace(w.Body.String(), fmt.Sprint(body["request_id"]), "", 1) // its letters are random
			for _, word := range []string{"json:", "proto", "http:", "syntax", "EOF", "unexpected"} {
				if strings.Contains(text, word) {
					t.Errorf("the answer has a word of a library's, %q: %s", word, text)
				}
			}
			if s.request != nil {
				t.Error("the service was called")
			}
			lines := logs.FilterMessage("call").All()
			if len(lines) != 1 || lines[0].ContextMap()["code"] != test.code.String() || lines[0].ContextMap()["door"] != "rest" {
				t.Errorf("lines %v", lines)
			}
		})
	}
}

func fiveFields(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if len(body) != 5 || body["status_code"] != float64(w.Code) {
		t.Errorf("status %d, body %s", w.Code, w.Body)
	}
	for _, name := range []string{"request_id", "error_type", "error_message", "error_url"} {
		if text, _ := body[name].(string); text == "" {
			t.Errorf("no %s: %s", name, w.Body)
		}
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("X-Request-Id") == "" {
		t.Errorf("headers %v", w.Header())
	}
	return body
}

// recorded are requests in the shapes that Stytch's own SDKs are known to send, as they stand on the wire, and what the
// service is to be asked.
var recorded = map[string]struct {
	wire string
	want proto.Message
}{
	"Node: the type of a body on GET": {
		"GET /v1/b2b/recovery_codes/o/m HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\nContent-Type: application/json\r\n\r\n",
		&recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: "m"},
	},
	"Python: ids once more as a query": {
		"GET /v1/b2b/recovery_codes/o/m?organization_id=o&member_id=m HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\r\n",
		&recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: "m"},
	},
	"Rust: a body on GET": {
		"GET /v1/b2b/recovery_codes/o/m?organization_id=o&member_id=m HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
		&recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: "m"},
	},
	"Rust: nulls for what is not set": {
		post("recover", "application/json", `{"organization_id":"o","member_id":"m","recovery_code":"c","intermediate_session_token":null,`+
			`"session_token":null,"session_jwt":null,"session_duration_minutes":null,"session_custom_claims":null,"telemetry_id":null}`),
		&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "c"},
	},
	"Java: empty claims": {
		post("recover", "application/json", `{"organization_id":"o","member_id":"m","recovery_code":"c","session_custom_claims":{}}`),
		&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "c", SessionCustomClaims: &structpb.Struct{}},
	},
	".NET: a charset": {
		post("rotate", "application/json; charset=utf-8", `{"organization_id":"o","member_id":"m"}`),
		&recoverycodesv1.RotateRequest{OrganizationId: "o", MemberId: "m"},
	},
	"Go: an external id, escaped": {
		"GET /v1/b2b/recovery_codes/a%7Cb/m%2Dx HTTP/1.1\r\nHost: x\r\n\r\n",
		&recoverycodesv1.GetRequest{OrganizationId: "a|b", MemberId: "m-x"},
	},
	"Ruby: an external id, as it is": {
		"GET /v1/b2b/recovery_codes/a|b/m HTTP/1.1\r\nHost: x\r\n\r\n",
		&recoverycodesv1.GetRequest{OrganizationId: "a|b", MemberId: "m"},
	},

	"a type in capitals":         {post("rotate", "Application/JSON", `{"organization_id":"o"}`), &recoverycodesv1.RotateRequest{OrganizationId: "o"}},
	"no type":                    {"POST /v1/b2b/recovery_codes/rotate HTTP/1.1\r\nHost: x\r\nContent-Length: 23\r\n\r\n{\"organization_id\":\"o\"}", &recoverycodesv1.RotateRequest{OrganizationId: "o"}},
	"no body":                    {post("rotate", "application/json", ""), &recoverycodesv1.RotateRequest{}},
	"an escaped slash":           {"GET /v1/b2b/recovery_codes/a%2Fb/m HTTP/1.1\r\nHost: x\r\n\r\n", &recoverycodesv1.GetRequest{OrganizationId: "a/b", MemberId: "m"}},
	"an escape that was escaped": {"GET /v1/b2b/recovery_codes/%252e%252e/m HTTP/1.1\r\nHost: x\r\n\r\n", &recoverycodesv1.GetRequest{OrganizationId: "%2e%2e", MemberId: "m"}},
}

func post(operation, contentType, body string) string {
	return fmt.Sprintf("POST /v1/b2b/recovery_codes/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YTpi\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		operation, contentType, len(body), body)
}

func TestRecordedRequests(t *testing.T) {
	for name, test := range recorded {
		t.Run(name, func(t *testing.T) {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(test.wire)))
			if err != nil {
				t.Fatal(err)
			}
			s := &service{answer: `{"a":1}`}
			door, _ := open(t, s)
			w := httptest.NewRecorder()
			door.ServeHTTP(w, r)
			if w.Code != http.StatusOK || w.Body.String() != `{"a":1}` || !proto.Equal(s.request, test.want) {
				t.Errorf("status %d, %s, asked %v", w.Code, w.Body, s.request)
			}
		})
	}
}

// TestHeadersHaveNoEffect sends every kind of header that gateways are known to act on, and looks at what comes through:
// the caller's credential, and the address it came from.
func TestHeadersHaveNoEffect(t *testing.T) {
	s := &service{answer: "{}"}
	door, _ := open(t, s)
	w := httptest.NewRecorder()
	door.ServeHTTP(w, request("GET "+prefix+"o/m", "", "Authorization: Basic YTpi",
		"Grpc-Metadata-Authorization: Bearer x", "Grpc-Metadata-X-Forwarded-Client-Cert: x", "Grpc-Timeout: 1n", "Cookie: a=b",
		"X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: evil", "X-Forwarded-Client-Cert: x", "X-Envoy-Internal: true",
		"L5d-Client-Id: x", "X-HTTP-Method-Override: DELETE", "Te: trailers", "Traceparent: 00-0-0-00", "Connection: close"))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d %s", w.Code, w.Body)
	}
	want := map[string]string{"authorization": "Basic YTpi", "x-forwarded-for": "192.0.2.1", "x-forwarded-host": "example.com"}
	for key, values := range s.metadata {
		if len(values) != 1 || want[key] != values[0] {
			t.Errorf("%s: %q came through", key, values)
		}
	}
	for name := range w.Header() {
		switch name {
		case "Cache-Control", "Content-Length", "Content-Type", "X-Request-Id":
		default:
			t.Errorf("answered with %s", name)
		}
	}
}

func TestErrorsOfTheService(t *testing.T) {
	s := &service{err: &apierror.Error{
		Code: codes.ResourceExhausted, Domain: apierror.StytchDomain, Reason: "TOO_MANY_REQUESTS", Type: "too_many_requests",
		Message: "Slow down.", URL: "https://stytch.com/x", RequestID: "request-id-1", HTTP: 429, RetryAfter: 1500 * time.Millisecond,
	}}
	door, _ := open(t, s)
	w := httptest.NewRecorder()
	door.ServeHTTP(w, request("GET "+prefix+"o/m", ""))
	body := fiveFields(t, w)
	if w.Code != 429 || w.Header().Get("Retry-After") != "2" || body["error_type"] != "too_many_requests" ||
		body["request_id"] != "request-id-1" || body["error_url"] != "https://stytch.com/x" || body["error_message"] != "Slow down." {
		t.Errorf("status %d, Retry-After %q, %v", w.Code, w.Header().Get("Retry-After"), body)
	}
}

func TestAPanicIsContained(t *testing.T) {
	door, logs := open(t, &service{panics: true})
	w := httptest.NewRecorder()
	door.ServeHTTP(w, request("GET "+prefix+"o/m", ""))
	if body := fiveFields(t, w); w.Code != 500 || body["error_type"] != "internal" {
		t.Errorf("status %d, %v", w.Code, body)
	}
	// One in the door itself: the channel is not there.
	h, err := Handler(nil, new(interceptor.InFlight), telemetry.NewObserver(zap.NewNop(), nil), access.Anyone())
	if err != nil {
		t.Fatal(err)
	}
	w2 := httptest.NewRecorder()
	h.ServeHTTP(w2, request("GET "+prefix+"o/m", ""))
	if body := fiveFields(t, w2); w2.Code != 500 || body["error_type"] != "internal" {
		t.Errorf("in the door: status %d, %v", w2.Code, body)
	}
	var all bytes.Buffer
	for _, entry := range logs.All() {
		all.WriteString(entry.Message)
		for _, v := range entry.ContextMap() {
			if text, ok := v.(string); ok {
				all.WriteString(text)
			}
		}
	}
	all.Write(w.Body.Bytes())
	if strings.Contains(all.String(), "the panic's text") || len(logs.FilterMessage("call").All()) != 1 {
		t.Errorf("%s", all.String())
	}
}

// TestAnswersComeFirst has requests that do not become calls, and cannot be reported before they are answered.
func TestAnswersComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const reporting = time.Second
		core, logs := observer.New(zap.DebugLevel)
		o := telemetry.NewObserver(zap.New(core, zap.Hooks(func(zapcore.Entry) error {
			time.Sleep(reporting)
			return nil
		})), nil)
		var calls interceptor.InFlight
		door, err := Handler(nil, &calls, o, access.Anyone())
		if err != nil {
			t.Fatal(err)
		}
		fetch := func(context.Context) Fetched { return Fetched{Status: http.StatusOK, Body: []byte("{}")} }
		keys := SessionKeys(door, &calls, o, "project-test-1", fetch)
		for i, path := range []string{"/nowhere", "/v1/b2b/sessions/jwks/project-test-1"} {
			start := time.Now()
			keys.ServeHTTP(httptest.NewRecorder(), request("GET "+path, ""))
			if took := time.Since(start); took != 0 {
				t.Errorf("%s: the answer took %v", path, took)
			}
			if calls.Wait(t.Context()); logs.Len() != i+1 {
				t.Errorf("%s: %d lines, want %d", path, logs.Len(), i+1)
			}
		}
	})
}

// TestABodyThatEndsEarly ends the body early: the door answers by itself.
func TestABodyThatEndsEarly(t *testing.T) {
	s := &service{}
	door, _ := open(t, s)
	r := request("POST "+prefix+"recover", "", jsonType)
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"member_id":`), errReader{}))
	w := httptest.NewRecorder()
	door.ServeHTTP(w, r)
	if body := fiveFields(t, w); w.Code != 400 || body["error_type"] != "malformed_body" || s.request != nil {
		t.Errorf("status %d, %v", w.Code, body)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// rawURL is a URL as a server may get to see it, past what a client would escape.
func rawURL(path, raw string) *url.URL { return &url.URL{Path: path, RawPath: raw} }

// TestAnswersAreWiped holds that an answer that was written leaves nothing in memory, and that one whose writing failed is
// left alone: an HTTP/2 connection may still be reading it.
func TestAnswersAreWiped(t *testing.T) {
	for name, broken := range map[string]bool{"written": false, "not written": true} {
		t.Run(name, func(t *testing.T) {
			s := &service{answer: `{"recovery_codes":["code"]}`}
			door, _ := open(t, s)
			w := httptest.NewRecorder()
			door.ServeHTTP(torn{w, broken}, request("GET /v1/b2b/recovery_codes/o/m", ""))
			if wrote := w.Body.String() == s.answer; wrote == broken {
				t.Fatalf("wrote %q", w.Body)
			}
			if kept := string(s.given) == s.answer; kept != broken {
				t.Errorf("afterwards the memory holds %q", s.given)
			}
		})
	}
}

// torn is a writer whose connection may have ended.
type torn struct {
	http.ResponseWriter

	ended bool
}

func (w torn) Write(p []byte) (int, error) {
	if w.ended {
		return 0, io.ErrClosedPipe
	}
	return w.ResponseWriter.Write(p)
}
