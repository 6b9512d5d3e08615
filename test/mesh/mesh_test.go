// Package mesh runs the server between the proxies that stand before and behind it in production, and counts how often a
// Recover or Rotate reaches the sandbox. It knows the doors, the proxies' configuration and the sandbox's counts, and
// nothing of the server's inside.
//
// Envoy cannot be run by these tests. What they have of it is a simulator of its documented retry conditions, which is
// called so wherever it is used, and the schema of its configuration.
package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

func TestMain(m *testing.M) {
	m.Run()
	daemon.Remove()
}

// The sandbox's seed, as docs/sandbox.md tells it.
const (
	organization = "organization-test-07971b06-ac8b-4cdb-9c15-63b17e653931"
	code1        = "sand-b0xc-ode1"

	sandboxProject = "project-test-00000000-0000-4000-8000-000000000000"
	sandboxSecret  = "secret-test-sandbox"
)

// callLimit is far above what any call of these tests takes, and callTime is what a call may take at the server, by its
// default settings.
const (
	callLimit = 20 * time.Second
	callTime  = 33 * time.Second
)

// faulty names a member of its own, who suffers a fault of the sandbox.
func faulty(kind, name string) string { return "member-test-fault-" + kind + "~" + name }

// afterEffect are the faults after which a call has taken effect and nobody says so.
var afterEffect = []string{
	"reset-after-effect", "status-500-after-effect", "status-503-after-effect", "status-408-after-effect",
	"html-502-after-effect", "truncated", "not-json", "huge", "slow-30000",
}

// patient has the server never refuse a call for the failures of others, and impatient also give up on an upstream soon.
var (
	patient   = []string{"--insecure-allow-any-caller", "--upstream-breaker-failures=0", "--attempts-caller-share=100"}
	impatient = append([]string{"--upstream-timeout=1s", "--upstream-header-timeout=1s", "--upstream-least-time=1ms"}, patient...)
)

// A replica is a server whose doors are sockets, so that they are where they were after a restart.
type replica struct {
	*daemon.Daemon

	grpc, rest string
	env, args  []string
}

// newReplica starts a server before a sandbox.
func newReplica(t *testing.T, sandbox *daemon.Sandbox, args ...string) *replica {
	t.Helper()
	dir := socketDir(t)
	r := &replica{grpc: dir + "/grpc", rest: dir + "/rest", env: sandbox.Env}
	r.args = append([]string{"--grpc-listen=unix:" + r.grpc, "--http-listen=unix:" + r.rest}, args...)
	r.start(t)
	return r
}

func (r *replica) start(t *testing.T) {
	t.Helper()
	r.Daemon = daemon.Start(t, r.env, r.args...)
}

// socketDir is a directory whose name is short enough for the sockets in it, which that of t.TempDir need not be.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mesh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// An answer is what a caller learns of a call, in the words of both doors.
type answer struct {
	ok     bool
	reason string // who made the answer on the way gives none
	text   string // for people
	header func(string) string
}

// A door is a way to call the server, by the socket where it is, or where a proxy before it is.
type door struct {
	name string
	dial func(t *testing.T, socket string, peer credentials.TransportCredentials) caller
}

// A caller makes one call and learns what came of it. extra are metadata, or headers.
type caller func(ctx context.Context, method, member string, extra ...string) answer

var doors = []door{{"grpc", dialGRPC}, {"rest", dialREST}}

// dialGRPC calls over gRPC, which repeats nothing by itself here.
func dialGRPC(t *testing.T, socket string, peer credentials.TransportCredentials) caller {
	t.Helper()
	return overGRPC(recoverycodesv1.NewRecoveryCodesServiceClient(connect(t, socket, peer)))
}

func connect(t *testing.T, socket string, peer credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	if peer == nil {
		peer = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(peer), grpc.WithDisableRetry(), grpc.WithAuthority("grpc.example"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func overGRPC(client recoverycodesv1.RecoveryCodesServiceClient) caller {
	return func(ctx context.Context, method, member string, extra ...string) answer {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, extra...), callLimit)
		defer cancel()
		var header, trailer metadata.MD
		options := []grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer)}
		var err error
		switch method {
		case "Get":
			_, err = client.Get(ctx, &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member}, options...)
		case "Rotate":
			_, err = client.Rotate(ctx, &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: member}, options...)
		default:
			_, err = client.Recover(ctx, &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: member, RecoveryCode: code1}, options...)
		}
		a := answer{ok: err == nil, header: func(name string) string {
			for _, values := range [][]string{header.Get(name), trailer.Get(name)} {
				if len(values) > 0 {
					return values[0]
				}
			}
			return ""
		}}
		if err != nil {
			a.reason, a.text = reasonOf(err), err.Error()
		}
		return a
	}
}

// reasonOf is the reason in the details of a status, none if there are none.
func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// dialREST calls over REST, by HTTP/2 also without TLS, as a sidecar is spoken to.
func dialREST(t *testing.T, socket string, peer credentials.TransportCredentials) caller {
	t.Helper()
	return overREST(restClient(t, socket, peer, true))
}

func restClient(t *testing.T, socket string, peer credentials.TransportCredentials, http2 bool) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err != nil || peer == nil {
			return conn, err
		}
		conn, _, err = peer.ClientHandshake(ctx, "rest.example", conn)
		return conn, err
	}
	transport.Protocols.SetUnencryptedHTTP2(http2)
	transport.Protocols.SetHTTP1(!http2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func overREST(client *http.Client) caller {
	return func(ctx context.Context, method, member string, extra ...string) answer {
		ctx, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		url := "http://rest.example/v1/b2b/recovery_codes/" + strings.ToLower(method)
		verb, body := http.MethodPost, `{"organization_id":"`+organization+`","member_id":"`+member+`"`
		switch method {
		case "Get":
			verb, body, url = http.MethodGet, "", "http://rest.example/v1/b2b/recovery_codes/"+organization+"/"+member
		case "Recover":
			body += `,"recovery_code":"` + code1 + `"}`
		default:
			body += "}"
		}
		req, err := http.NewRequestWithContext(ctx, verb, url, strings.NewReader(body))
		if err != nil {
			return answer{text: err.Error()}
		}
		req.GetBody = nil // so that the client sends nothing again by itself
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(extra); i += 2 {
			req.Header.Set(extra[i], extra[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			return answer{text: err.Error()}
		}
		defer func() { _ = resp.Body.Close() }()
		var text bytes.Buffer
		_, err = text.ReadFrom(resp.Body)
		var failure struct {
			Type string `json:"error_type"`
		}
		_ = json.Unmarshal(text.Bytes(), &failure) // a proxy's own page is none
		return answer{
			ok: err == nil && resp.StatusCode == http.StatusOK, reason: strings.ToUpper(failure.Type),
			text: resp.Status + " " + text.String(), header: resp.Header.Get,
		}
	}
}

// await waits until the condition holds, which others bring about.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(callLimit); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, callLimit)
		}
	}
}

// write writes a file of a test.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Clean(path), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
