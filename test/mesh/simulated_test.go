package mesh

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// TestSimulatedEnvoy counts how often one Recover and one Rotate reach the upstream through a simulator of Envoy's router
// in front of the server, under each fault and when the connection between the two is cut. Through the gRPC door it is
// once, under Istio's default policies and under all conditions at once. Through the REST door it is once under Istio's,
// and that of all conditions is what must not be set. A naive server, which says UNAVAILABLE whenever the upstream fails,
// is the negative control.
func TestSimulatedEnvoy(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	r := newReplica(t, sandbox, impatient...)
	backends := map[string]struct {
		door   door
		socket string
	}{"gRPC": {doors[0], r.grpc}, "REST": {doors[1], r.rest}, "naive gRPC": {doors[0], serveNaive(t, sandbox)}}
	policies := map[string]retryPolicy{"istio": istioDefault, "istio before": istioBefore, "everything": everything}
	for name, backend := range backends {
		for policyName, policy := range policies {
			t.Run(name+", "+policyName, func(t *testing.T) {
				t.Parallel()
				w := wireTo(t, "unix", backend.socket)
				call := backend.door.dial(t, simulate(t, policy, w.address, backend.door.name == "grpc"), nil)
				for id, n := range arrivals(t, sandbox, call, w.cut, strings.ReplaceAll(name+policyName+"-", " ", "-")) {
					repeats := name == "naive gRPC" || name == "REST" && policyName == "everything"
					if strings.HasSuffix(id, "-cut") && policyName != "everything" {
						repeats = false // a reset is no condition of Istio's
					}
					if n != 1 != repeats {
						t.Errorf("%s: arrived %d times", id, n)
					}
				}
			})
		}
	}
}

// TestSimulatedEnvoyIsToldByTheCaller has a caller ask for retries by headers, which a proxy obeys that does not take them
// away: the policy of the route does not matter then.
func TestSimulatedEnvoyIsToldByTheCaller(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	r := newReplica(t, sandbox, patient...)
	for name, test := range map[string]struct {
		door    door
		socket  string
		repeats bool
	}{"gRPC": {doors[0], r.grpc, false}, "REST": {doors[1], r.rest, true}, "naive": {doors[0], serveNaive(t, sandbox), true}} {
		id := faulty("status-500-after-effect", "asked-"+name)
		a := test.door.dial(t, simulate(t, retryPolicy{}, test.socket, test.door.name == "grpc"), nil)(t.Context(), "Rotate", id,
			"x-envoy-retry-on", "5xx", "x-envoy-retry-grpc-on", "unavailable,internal", "x-envoy-max-retries", "5")
		if n := arrived(t, sandbox, id); n != 1 != test.repeats || a.ok {
			t.Errorf("%s: arrived %d times, %+v", name, n, a)
		}
	}
}

// TestSimulatedEgress has the simulator between the server and Stytch. Istio's policy of before repeats what Stytch answers
// with 503; without retries, and under Istio's policy of now, there is one effect.
func TestSimulatedEgress(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	for name, test := range map[string]struct {
		policy  retryPolicy
		arrives int
	}{"before": {istioBefore, 3}, "now": {istioDefault, 1}, "none": {retryPolicy{}, 1}} {
		out := wireTo(t, "tcp", simulate(t, test.policy, strings.TrimPrefix(sandbox.URL, "http://"), false))
		behind := *sandbox
		behind.Env = append(sandbox.Env[:2:2], "STYTCH_BASE_URL=http://"+out.address)
		id := faulty("status-503-after-effect", "egress-"+name)
		a := dialGRPC(t, newReplica(t, &behind, patient...).grpc, nil)(t.Context(), "Rotate", id)
		if n := arrived(t, sandbox, id); n != test.arrives || a.reason != "OUTCOME_UNKNOWN" {
			t.Errorf("%s: arrived %d times, %+v", name, n, a)
		}
	}
}

// naive makes calls of the sandbox in the way of the country: one request, and UNAVAILABLE when that fails.
type naive struct {
	recoverycodesv1.UnimplementedRecoveryCodesServiceServer

	url    string
	client http.Client
}

// serveNaive serves a naive server at a socket.
func serveNaive(t *testing.T, sandbox *daemon.Sandbox) string {
	t.Helper()
	socket := filepath.Join(socketDir(t), "naive")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	serveNaiveAt(t, sandbox, listener)
	return socket
}

func serveNaiveAt(t *testing.T, sandbox *daemon.Sandbox, listener net.Listener) {
	t.Helper()
	transport := new(http.Transport)
	server := grpc.NewServer()
	recoverycodesv1.RegisterRecoveryCodesServiceServer(server, &naive{
		url: sandbox.URL, client: http.Client{Transport: transport, Timeout: time.Second},
	})
	served := make(chan struct{})
	go func() {
		_ = server.Serve(listener) // until it is stopped
		close(served)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
		transport.CloseIdleConnections()
	})
}

func (n *naive) Recover(ctx context.Context, req *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
	return &recoverycodesv1.RecoverResponse{}, n.post(ctx, "recover", map[string]string{
		"organization_id": req.GetOrganizationId(), "member_id": req.GetMemberId(), "recovery_code": req.GetRecoveryCode(),
	})
}

func (n *naive) Rotate(ctx context.Context, req *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error) {
	return &recoverycodesv1.RotateResponse{}, n.post(ctx, "rotate", map[string]string{
		"organization_id": req.GetOrganizationId(), "member_id": req.GetMemberId(),
	})
}

func (n *naive) post(ctx context.Context, operation string, fields map[string]string) error {
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+"/v1/b2b/recovery_codes/"+operation, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(sandboxProject, sandboxSecret)
	resp, err := n.client.Do(req)
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Organization json.RawMessage `json:"organization"`
		Member       struct {
			Metadata json.RawMessage `json:"untrusted_metadata"`
		} `json:"member"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK || len(answer.Member.Metadata) > 1<<20 {
		return status.Error(codes.Unavailable, "the upstream failed: "+resp.Status)
	}
	return nil
}
