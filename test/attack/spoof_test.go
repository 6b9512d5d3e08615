package attack

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

const (
	meshID    = "spiffe://example.org/ns/web/sa/login"
	gatewayID = "spiffe://example.org/gateway"
	nobodyID  = "spiffe://example.org/ns/batch/sa/nobody"
)

// spoofed is a target that knows a caller by certificate, a sidecar that may speak for others, and a caller who may only
// read. All peers of these tests come from loopback, which it does not trust.
func spoofed(t *testing.T) (x *target, reader string) {
	t.Helper()
	reader = newSecret()
	return start(t, options{
		tls:    true,
		before: "trusted_sidecars: { spiffe_ids: [\"" + gatewayID + "\"] }\n",
		callers: fmt.Sprintf(`  - name: mesh
    match: { spiffe_id: %s }
    methods: [Get]
    organizations: ["*"]
  - name: reader
    match: { secret_sha256: "%s" }
    methods: [Get]
    organizations: ["*"]
`, meshID, hash(reader)),
	}), reader
}

func forwarded(uris ...string) string {
	var elements []string
	for _, uri := range uris {
		elements = append(elements, "By=spiffe://example.org/gateway;Hash="+strings.Repeat("0", 64)+";URI="+uri)
	}
	return strings.Join(elements, ",")
}

// TestSpoofedIdentity presents what a proxy or the gateway library might be taken in by, through both doors.
func TestSpoofedIdentity(t *testing.T) {
	t.Parallel()
	x, _ := spoofed(t)
	bearer := "Bearer " + x.secret
	basic := func(user string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+x.secret))
	}
	shown := map[string][]tls.Certificate{"": nil}
	for name, uri := range map[string]string{"mesh": meshID, "gateway": gatewayID, "nobody": nobodyID} {
		shown[name] = []tls.Certificate{x.trust.issue(uri)}
	}
	const refused, unknown, invalid = "FORWARDED_IDENTITY_REFUSED", "CALLER_UNKNOWN", "CREDENTIAL_INVALID"
	tests := []struct {
		name    string
		showing string // whose certificate
		headers []string
		want    string // the reason; empty for a success
	}{
		{"control: a bearer token", "", []string{"authorization", bearer}, ""},
		{"control: Basic", "", []string{"authorization", basic(projectID)}, ""},
		{"control: a certificate", "mesh", nil, ""},
		{"control: a sidecar speaks for a caller", "gateway", []string{"x-forwarded-client-cert", forwarded(nobodyID, meshID)}, ""},

		{"nothing", "", nil, unknown},
		{"a certificate of nobody", "nobody", nil, unknown},
		{"the sidecar for itself", "gateway", nil, unknown},
		{"forwarded by nobody", "", []string{"x-forwarded-client-cert", forwarded(meshID)}, refused},
		{"forwarded by a certificate of nobody", "nobody", []string{"x-forwarded-client-cert", forwarded(meshID)}, refused},
		{"forwarded by a caller", "mesh", []string{"x-forwarded-client-cert", forwarded(meshID)}, refused},
		{"forwarded beside a token", "", []string{"authorization", bearer, "x-forwarded-client-cert", forwarded(meshID)}, refused},
		{"forwarded, but empty, beside a token", "", []string{"authorization", bearer, "x-forwarded-client-cert", ""}, refused},
		{"the client's own element before the sidecar's", "gateway", []string{"x-forwarded-client-cert", forwarded(meshID, nobodyID)}, unknown},
		{"the client's own header before the sidecar's", "gateway", []string{"x-forwarded-client-cert", forwarded(meshID), "x-forwarded-client-cert", forwarded(nobodyID)}, unknown},
		{"two URIs in the sidecar's element", "gateway", []string{"x-forwarded-client-cert", forwarded(nobodyID) + ";URI=" + meshID}, invalid},
		{"a quote that swallows the sidecar's element", "gateway", []string{"x-forwarded-client-cert", `Subject="` + forwarded(meshID, nobodyID)}, invalid},
		{"a sidecar's caller and another's token", "gateway", []string{"authorization", bearer, "x-forwarded-client-cert", forwarded(meshID)}, "CALLER_CONFLICT"},
		{"a certificate and another's token", "mesh", []string{"authorization", bearer}, "CALLER_CONFLICT"},

		{"authorization twice", "", []string{"authorization", bearer, "authorization", bearer}, invalid},
		{"a good authorization after a bad one", "", []string{"authorization", "Bearer no", "authorization", bearer}, invalid},
		{"two tokens in one authorization", "", []string{"authorization", bearer + ", " + bearer}, invalid},
		{"an empty authorization beside a certificate", "mesh", []string{"authorization", ""}, invalid},
		{"a bad token beside a certificate", "mesh", []string{"authorization", "Bearer no"}, invalid},
		{"Basic of another project", "", []string{"authorization", basic("project-test-other")}, invalid},
		{"Basic without a project", "", []string{"authorization", basic("")}, invalid},
		{"the hash for the secret", "", []string{"authorization", "Bearer " + hash(x.secret)}, invalid},

		{"the gateway's prefix: authorization", "", []string{"grpc-metadata-authorization", bearer}, unknown},
		{"the gateway's prefix: forwarded", "", []string{"grpc-metadata-x-forwarded-client-cert", forwarded(meshID)}, unknown},
		{"the gateway's prefix for output", "", []string{"grpcgateway-authorization", bearer}, unknown},
		{"binary metadata", "", []string{"authorization-bin", bearer, "x-forwarded-client-cert-bin", forwarded(meshID)}, unknown},
		{"proxy authorization", "", []string{"proxy-authorization", bearer}, unknown},
		{"a cookie", "", []string{"cookie", "authorization=" + x.secret}, unknown},
		{"from loopback, it says", "", []string{"x-forwarded-for", "127.0.0.1", "x-real-ip", "127.0.0.1", "forwarded", "for=127.0.0.1;proto=https"}, unknown},
		{"a user, it says", "", []string{"x-forwarded-user", "web", "x-remote-user", "web", "x-caller", "web"}, unknown},
		{"a certificate, it says", "", []string{"x-ssl-client-verify", "SUCCESS", "ssl-client-cert", meshID, "x-client-cert", meshID}, unknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := getGRPC(t.Context(), x.dial(t, shown[test.showing]...), test.headers...); got.ok != (test.want == "") || got.reason != test.want {
				t.Errorf("gRPC: %+v, want %q", got, test.want)
			}
			x := x.showing(t, shown[test.showing]...)
			if got := x.getREST(t, test.headers...); got.ok != (test.want == "") || got.reason != test.want {
				t.Errorf("REST: %+v, want %q", got, test.want)
			}
		})
	}
}

// showing is the target for a client of REST that shows a certificate.
func (x *target) showing(t *testing.T, certificates ...tls.Certificate) *target {
	t.Helper()
	config := x.trust.client()
	config.Certificates = certificates
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	other := *x
	other.client = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	return &other
}

// TestSpoofedAuthority gives the server names for itself that could be taken for a trusted way in.
func TestSpoofedAuthority(t *testing.T) {
	t.Parallel()
	x, _ := spoofed(t)
	for _, authority := range []string{"localhost", "127.0.0.1", "[::1]", "unix:", "web:" + x.secret + "@localhost", "", "a\r\nauthorization: Bearer " + x.secret} {
		for door, address := range map[string]string{"gRPC": x.GRPC, "REST": x.HTTP} {
			fields := x.request(address)
			for i := range fields {
				if fields[i] == ":authority" {
					fields[i+1] = authority
				}
			}
			if got := x.status(t, address, fields); got == "200" || got == "0" {
				t.Errorf("%s serves a caller without credentials as %q", door, authority)
			}
		}
	}
}

// status sends a request, as it is, and returns the status of gRPC or of HTTP, empty when there is none.
func (x *target) status(t *testing.T, address string, fields []string) string {
	t.Helper()
	f := x.connect(t, address)
	if err := f.begin(1, f.encode(fields...), address != x.GRPC); err != nil {
		t.Fatal(err)
	}
	if address == x.GRPC {
		// A request of no bytes is one without ids, and its refusal would be about those if its caller were known.
		if err := f.WriteData(1, true, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	_ = f.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		frame, err := f.ReadFrame()
		if err != nil && !isStreamError(err) {
			return ""
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			for _, field := range frame.Fields {
				if field.Name == "grpc-status" || field.Name == ":status" && address != x.GRPC {
					return field.Value
				}
			}
		case *http2.RSTStreamFrame:
			return ""
		}
	}
}

// TestSpoofedRoutes has a caller who may only read try every spelling of a way to Rotate.
func TestSpoofedRoutes(t *testing.T) {
	t.Parallel()
	x, reader := spoofed(t)
	bearer := "Bearer " + reader
	body := fmt.Sprintf(`{"organization_id":%q,"member_id":%q}`, organization, member)
	rotate := "/v1/b2b/recovery_codes/rotate"
	for _, path := range []string{
		rotate, rotate + "/", rotate + "?x", "/v1/b2b/recovery_codes/%72otate", "/v1/b2b/recovery%5fcodes/rotate", "/v1/b2b//recovery_codes/rotate",
		"/v1/b2b/recovery_codes/./rotate", "/v1/b2b/recovery_codes/x/../rotate", "/v1/b2b/recovery_codes/x/%2e%2e/rotate", rotate + ";x", rotate + "%00", rotate + "%20", rotate + ":",
		"/v1/b2b/recovery_codes/ROTATE", "/" + service + "/Rotate",
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodPut, http.MethodOptions, "post", "PROPFIND"} {
			req, err := http.NewRequestWithContext(t.Context(), method, x.url("/"), strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.URL.Opaque = "//" + x.HTTP + path // as it is
			for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
				req.Header.Set(name, http.MethodPost)
			}
			for _, name := range []string{"X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"} {
				req.Header.Set(name, rotate)
			}
			req.Header.Set("Authorization", bearer)
			req.Header.Set("Content-Type", "application/json")
			if got := x.do(t, req); got.ok {
				t.Errorf("%s %s is served", method, path)
			}
		}
	}
	for _, path := range []string{
		"/" + service + "/Rotate", service + "/Rotate", "//" + service + "/Rotate", "/grpc.health.v1.Health/../" + service + "/Rotate",
		"/grpc.health.v1.Health/Check/../../" + service + "/Rotate", "/" + service + "/Rotate/", "/" + service + "/rotate", "/./" + service + "/Rotate",
	} {
		fields := x.request(x.GRPC, "authorization", bearer)
		for i := range fields {
			if fields[i] == ":path" {
				fields[i+1] = path
			}
		}
		// INVALID_ARGUMENT is said of the empty request, to those who may.
		if got := x.status(t, x.GRPC, fields); got == "0" || got == "3" {
			t.Errorf("%s: status %q", path, got)
		}
	}
	for _, outcome := range []string{"done", "unknown", "not_sent"} {
		if n := x.metric(t, `recoverycodes_outcomes_total{method="Rotate",outcome="`+outcome+`"}`); n != 0 {
			t.Errorf("%v times Rotate was %s", n, outcome)
		}
	}
	if n := x.metric(t, `recoverycodes_calls_total{caller="reader",code="PermissionDenied",door="rest",method="Rotate"}`); n == 0 {
		t.Error("no call was refused as a Rotate: the test does not reach it")
	}
}

// TestNothingIsPublic asks, without a credential, for what answers by itself in many servers.
func TestNothingIsPublic(t *testing.T) {
	t.Parallel()
	x := start(t, options{})
	for _, line := range []string{
		"OPTIONS * HTTP/1.1", "OPTIONS / HTTP/1.1", "HEAD / HTTP/1.1", "GET / HTTP/1.1", "CONNECT x:80 HTTP/1.1", "TRACE / HTTP/1.1",
		"GET /metrics HTTP/1.1", "GET /livez HTTP/1.1", "GET /debug/pprof/ HTTP/1.1", "GET http://127.0.0.1/ HTTP/1.0",
	} {
		conn := x.raw(t, x.HTTP)
		if _, err := io.WriteString(conn, line+"\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		verb, _, _ := strings.Cut(line, " ")
		resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: verb})
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if _ = resp.Body.Close(); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", line, resp.Status)
		}
	}
}

// TestCredentialsInTrailers sends what would have been good in the header after the body.
func TestCredentialsInTrailers(t *testing.T) {
	t.Parallel()
	x := start(t, options{})
	conn := x.raw(t, x.HTTP)
	if _, err := io.WriteString(conn, "POST /v1/b2b/recovery_codes/rotate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+
		"Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n2\r\n{}\r\n0\r\nAuthorization: Bearer "+x.secret+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(string(text), "caller_unknown") {
		t.Errorf("status %d: %s", resp.StatusCode, text)
	}
}
