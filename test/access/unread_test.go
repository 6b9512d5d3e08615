package access

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/test/daemon"
)

// one is a policy with one caller, who may do everything, and its secret's.
func one(more string) string {
	return "callers:\n  - name: one\n    match: { secret_sha256: " + hashOf("one") + " }\n" +
		"    methods: [Get, Recover, Rotate]\n    organizations: \"*\"\n" + more
}

// TestRefusedBeforeTheBody sends the header of a request and withholds its body: whoever is refused for who they are, or
// for what the header says, is told so without it. Callers who may go on are the control: the server waits for theirs.
func TestRefusedBeforeTheBody(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox", "--policy="+file(t, "policy.yaml", one("    rate: { per_second: 0.001, burst: 1 }\n")+
		"  - name: reader\n    match: { secret_sha256: "+hashOf("reader")+" }\n    methods: Get\n    organizations: \"*\"\n"))
	const length = "Content-Length: 200\r\n"
	for _, c := range []struct {
		name, header string
		status       int
		reason       string
	}{
		{"no credential", length, 401, "caller_unknown"},
		{"no credential, chunked", "Transfer-Encoding: chunked\r\n", 401, "caller_unknown"},
		{"no credential, and the body is asked about", length + "Expect: 100-continue\r\n", 401, "caller_unknown"},
		{"a wrong credential", length + "Authorization: Bearer wrong\r\n", 401, "credential_invalid"},
		{"no permission", length + "Authorization: " + bearer("reader")[1] + "\r\n", 403, "operation_not_allowed"},
		{"a body of another type", length + "Content-Type: text/plain\r\nAuthorization: " + bearer("one")[1] + "\r\n", 415, "unsupported_type"},
		{"beyond the rate", length + "Authorization: " + bearer("one")[1] + "\r\n", 429, "not_sent"}, // after the one before
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := head(t, d, "POST "+restPath+"recover", c.header)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("no answer before the body: %v", err)
			}
			text, err := io.ReadAll(io.LimitReader(resp.Body, resp.ContentLength))
			if err != nil || resp.StatusCode != c.status || !strings.Contains(string(text), `"`+c.reason+`"`) {
				t.Errorf("%s, %v: %s", resp.Status, err, text)
			}
		})
	}
	t.Run("control: the body of who may go on is waited for", func(t *testing.T) {
		control := daemon.Start(t, nil, "--sandbox")
		conn := head(t, control, "POST "+restPath+"recover", length)
		if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Error("answered without the body")
		}
	})
}

// head sends the header of a request. What is read from the connection has to come in a time in which no limit of the
// server's on a slow request is reached.
func head(t *testing.T, d *daemon.Daemon, line, header string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", d.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\n%s\r\n", line, header); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestAConnectionOutlivesARefusal: a refusal of a call whose body has arrived costs its caller no new connection.
func TestAConnectionOutlivesARefusal(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox", "--policy="+file(t, "policy.yaml", one("")))
	conn := head(t, d, "POST "+restPath+"rotate", "Content-Length: 2\r\n\r\n{}"+
		"GET "+restPath+slug+"/"+member+" HTTP/1.1\r\nHost: x\r\nAuthorization: "+bearer("one")[1]+"\r\n")
	reader := bufio.NewReader(conn)
	for _, want := range []int{http.StatusUnauthorized, http.StatusOK} {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("%v, %v, want %d", resp, err, want)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPathsThatAreNoCalls: who is not known learns nothing from them, and who is known gets what there is.
func TestPathsThatAreNoCalls(t *testing.T) {
	p := connect(t, daemon.Start(t, nil, "--sandbox", "--policy="+file(t, "policy.yaml", one(""))))
	for _, c := range []struct {
		verb, path string
		status     int
		reason     string
	}{
		{http.MethodGet, "/", 404, "ROUTE_NOT_FOUND"},
		{http.MethodGet, "/v1/b2b/members", 404, "ROUTE_NOT_FOUND"},
		{http.MethodDelete, restPath + "recover", 405, "METHOD_NOT_ALLOWED"},
		{http.MethodPost, restPath + slug + "/" + member, 405, "METHOD_NOT_ALLOWED"},
		{http.MethodPost, restPath + "%72ecover", 404, "ROUTE_NOT_FOUND"},
		{http.MethodPost, restPath + "recover/", 405, "METHOD_NOT_ALLOWED"},
	} {
		if got := p.rest(t, c.verb, c.path, "{}", nil); got.http != 401 || got.reason != "CALLER_UNKNOWN" {
			t.Errorf("%s %s without a credential: %d %s", c.verb, c.path, got.http, got.reason)
		}
		if got := p.rest(t, c.verb, c.path, "{}", bearer("one")); got.http != c.status || got.reason != c.reason {
			t.Errorf("%s %s: %d %s", c.verb, c.path, got.http, got.reason)
		}
	}
}

// TestOtherServices: health is for everybody, reflection for callers.
func TestOtherServices(t *testing.T) {
	p := connect(t, daemon.Start(t, nil, "--sandbox", "--policy="+file(t, "policy.yaml", one(""))))
	health := healthpb.NewHealthClient(p.grpc)
	if _, err := health.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	watch, err := health.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Error(err)
	}
	for want, h := range map[codes.Code]headers{codes.Unauthenticated: nil, codes.OK: bearer("one")} {
		stream, err := reflectionpb.NewServerReflectionClient(p.grpc).ServerReflectionInfo(metadata.AppendToOutgoingContext(t.Context(), h...))
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&reflectionpb.ServerReflectionRequest{ // what is wrong is told by Recv
			MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
		})
		if _, err := stream.Recv(); status.Code(err) != want {
			t.Errorf("reflection: %v, want %v", err, want)
		}
	}
	if err := p.grpc.Invoke(t.Context(), service+"Nothing", request("Get", slug, member, ""), &healthpb.HealthCheckResponse{},
		grpc.WaitForReady(true)); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that there is not: %v", err)
	}
}
