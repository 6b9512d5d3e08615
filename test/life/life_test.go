// Package life runs the server as a process and looks at what an operator sees of it: how it starts and stops, and what it
// tells of itself meanwhile.
package life

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
	"recoverycodes.internal/test/documents"
)

func TestMain(m *testing.M) {
	code := m.Run()
	daemon.Remove()
	os.Exit(code)
}

// Marks that may stand in no line, span or series: a secret of each kind, and the names of whom a call is about.
const (
	projectID    = "project-test-1"
	secret       = "secret-test-marked"
	code         = "marked-code-1"
	organization = "organization-marked"
	member       = "member-marked"
	pathGet      = "/v1/b2b/recovery_codes/" + organization + "/" + member
	pathRecover  = "/v1/b2b/recovery_codes/recover"
	pathRotate   = "/v1/b2b/recovery_codes/rotate"
	body         = `{"organization_id":"` + organization + `","member_id":"` + member + `","recovery_code":"` + code + `"}`
)

// behind returns the environment of a server whose Stytch is the handler.
func behind(t *testing.T, upstream http.HandlerFunc) []string {
	t.Helper()
	s := httptest.NewServer(upstream)
	t.Cleanup(s.Close)
	return environment(s.URL)
}

func environment(upstream string) []string {
	return []string{
		"STYTCH_PROJECT_ID=" + projectID, "STYTCH_SECRET=" + secret, "STYTCH_BASE_URL=" + upstream,
		"RECOVERYCODES_INSECURE_ALLOW_ANY_CALLER=true",
	}
}

// answering is a Stytch that answers everything at once.
func answering(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	switch {
	case r.Method == http.MethodGet:
		_, _ = w.Write(documents.Get())
	case strings.HasSuffix(r.URL.Path, "recover"):
		_, _ = w.Write(documents.Recover())
	default:
		_, _ = w.Write(documents.Rotate())
	}
}

// fetch makes a request with headers, as name and value in turn, and returns status and body.
func fetch(t *testing.T, method, address, content string, header ...string) (status int, text string) {
	t.Helper()
	status, text, err := try(t.Context(), method, address, content, header...)
	if err != nil {
		t.Fatal(err)
	}
	return status, text
}

func try(ctx context.Context, method, address, content string, header ...string) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address, strings.NewReader(content))
	if err != nil {
		return 0, "", err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(all), err
}

// invoke makes a call of the service.
func invoke(ctx context.Context, conn *grpc.ClientConn, method string) error {
	request, answer := messages(method)
	return conn.Invoke(ctx, fullName(method), request, answer)
}

func fullName(method string) string {
	return "/" + recoverycodesv1.RecoveryCodesService_ServiceDesc.ServiceName + "/" + method
}

// messages are a method's request, and where its answer goes.
func messages(method string) (request, answer proto.Message) {
	switch method {
	case "Get":
		return &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member}, &recoverycodesv1.GetResponse{}
	case "Recover":
		return &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: member, RecoveryCode: code}, &recoverycodesv1.RecoverResponse{}
	default:
		return &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: member}, &recoverycodesv1.RotateResponse{}
	}
}

// await polls until the condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// closedPort is an address of loopback where nobody listens. A port that was free a moment ago could be given to another
// test meanwhile; this one is given to nobody.
const closedPort = "127.0.0.1:1"

// silent is an address where connections are taken and nothing is ever said.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}
