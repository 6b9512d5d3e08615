package recoverycodes

import (
	"bytes"
	"context"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/sandbox"
	"recoverycodes.internal/server/internal/stytch"
)

// replica is the service, alone behind gRPC, in front of a sandbox. There are no interceptors, so that nothing but the
// fuse can keep a hop from sending a call again: no trailer that forbids it.
type replica struct {
	address string
	sandbox *sandbox.Sandbox
	service *Service
}

// newReplicas returns n replicas of one sandbox. Without the fuse, nothing is said before a request leaves.
func newReplicas(t *testing.T, n int, fuse bool) []replica {
	t.Helper()
	emulated, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	listener := listen(t)
	ended := make(chan struct{})
	go func() {
		_ = emulated.Serve(ctx, listener) // it fails only when it cannot listen, and then no call succeeds
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	replicas := make([]replica, n)
	for i := range replicas {
		client, err := stytch.New(stytch.Config{
			BaseURL:   &url.URL{Scheme: "http", Host: listener.Addr().String()},
			ProjectID: sandbox.ProjectID, Secret: sandbox.Secret,
			ConnectTimeout: 10 * time.Second, HeaderTimeout: fuseLimit, Timeout: fuseLimit, MaxAnswerBytes: 1 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		service, err := New(client, Options{InFlight: 100})
		if err != nil {
			t.Fatal(err)
		}
		if !fuse {
			service.announce = func(context.Context) func() error { return nil }
		}
		server := grpc.NewServer()
		recoverycodesv1.RegisterRecoveryCodesServiceServer(server, service)
		door := listen(t)
		go func() { _ = server.Serve(door) }()
		t.Cleanup(func() {
			server.Stop()
			client.Close()
		})
		replicas[i] = replica{door.Addr().String(), emulated, service}
	}
	return replicas
}

// fuseLimit bounds an exchange in these tests: what never answers costs this much, each time it is tried.
const fuseLimit = 700 * time.Millisecond

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// afterEffect are the faults after which a call has taken effect and its caller is told of a failure.
var afterEffect = []string{
	"reset-after-effect", "status-500-after-effect", "status-408-after-effect", "html-502-after-effect", "truncated",
	"not-json", "huge", "slow-30000",
}

// retryAll is the worst a caller can do: send every call again, whatever the code, five times in all.
const retryAll = `{"methodConfig": [{"name": [{}], "retryPolicy": {
	"maxAttempts": 5, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1,
	"retryableStatusCodes": ["CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
		"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"]}}]}`

// TestFuseAgainstAClientThatRetriesEverything counts the effects of one Rotate and one Recover under each fault: one with
// the fuse. The negative control, without it, has more, or this would prove nothing.
func TestFuseAgainstAClientThatRetriesEverything(t *testing.T) {
	for _, fuse := range []bool{true, false} {
		r := newReplicas(t, 1, fuse)[0]
		for kind, effects := range effectsThrough(t, r.address, r, grpc.WithDefaultServiceConfig(retryAll)) {
			check(t, kind, fuse, effects.Rotate)
			if fuse { // a second Recover has no effect of its own: the code is spent
				check(t, kind, fuse, effects.Recover)
			} else if calls := r.sandbox.State().Members[recoverOf(kind)].Calls.Recover; calls < 2 {
				t.Errorf("%s: %d Recovers arrived without the fuse: the test proves nothing", kind, calls)
			}
		}
	}
}

func rotateOf(kind string) string  { return "member-test-fault-" + kind + "~rotate" }
func recoverOf(kind string) string { return "member-test-fault-" + kind + "~recover" }

// effectsThrough makes one Rotate and one Recover under each fault by way of address, none of which succeeds, and returns
// how often each took effect.
func effectsThrough(t *testing.T, address string, r replica, opts ...grpc.DialOption) map[string]sandbox.Counts {
	t.Helper()
	conn, err := grpc.NewClient(address, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := recoverycodesv1.NewRecoveryCodesServiceClient(conn)
	effects := make(map[string]sandbox.Counts)
	for _, kind := range afterEffect {
		if _, err := client.Rotate(t.Context(), &recoverycodesv1.RotateRequest{
			OrganizationId: sandbox.OrganizationID, MemberId: rotateOf(kind),
		}, grpc.WaitForReady(true)); err == nil {
			t.Errorf("%s: a Rotate succeeded", kind)
		}
		if _, err := client.Recover(t.Context(), &recoverycodesv1.RecoverRequest{
			OrganizationId: sandbox.OrganizationID, MemberId: recoverOf(kind), RecoveryCode: "sand-b0xc-ode1",
		}, grpc.WaitForReady(true)); err == nil {
			t.Errorf("%s: a Recover succeeded", kind)
		}
		members := r.sandbox.State().Members
		effects[kind] = sandbox.Counts{
			Rotate: members[rotateOf(kind)].Effects.Rotate, Recover: members[recoverOf(kind)].Effects.Recover,
		}
	}
	return effects
}

func check(t *testing.T, kind string, fuse bool, effects int) {
	t.Helper()
	switch {
	case fuse && effects != 1:
		t.Errorf("%s: %d effects with the fuse", kind, effects)
	case !fuse && effects < 2:
		t.Errorf("%s: %d effects without the fuse: the test proves nothing", kind, effects)
	}
}

// TestHeaderGoesBeforeTheAnswer has an upstream that never answers. With the fuse the caller has the header of the
// answer all the same; the negative control gets none, but trailers alone at the end.
func TestHeaderGoesBeforeTheAnswer(t *testing.T) {
	for _, fuse := range []bool{true, false} {
		r := newReplicas(t, 1, fuse)[0]
		conn, err := grpc.NewClient(r.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{}, recoverycodesv1.RecoveryCodesService_Rotate_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(&recoverycodesv1.RotateRequest{
			OrganizationId: sandbox.OrganizationID, MemberId: "member-test-fault-slow-30000~header",
		}); err != nil {
			t.Fatal(err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		header, err := stream.Header()
		if got := len(header.Get("content-type")) > 0; err != nil || got != fuse {
			t.Errorf("fuse %v: header %v, %v", fuse, header, err)
		}
		_ = conn.Close()
	}
}

// TestAHeaderUnderWayIsNotProtected shows what the fuse cannot do: the header has been sent, the connection is cut before
// it arrives, and a client that retries sends the call again.
func TestAHeaderUnderWayIsNotProtected(t *testing.T) {
	const id = "member-test-fault-slow-30000~cut"
	r := newReplicas(t, 1, true)[0]
	conn, err := grpc.NewClient(cutAfter(t, r.address, id), grpc.WithDefaultServiceConfig(retryAll), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := recoverycodesv1.NewRecoveryCodesServiceClient(conn).Rotate(t.Context(), &recoverycodesv1.RotateRequest{
		OrganizationId: sandbox.OrganizationID, MemberId: id,
	}, grpc.WaitForReady(true)); err == nil {
		t.Error("succeeded")
	}
	if n := r.sandbox.State().Members[id].Effects.Rotate; n < 2 {
		t.Errorf("%d effects: if the header were safe under way, the documentation should say so", n)
	}
}

// cutAfter forwards connections to address, until a request with text in it has passed: from then on nothing comes back,
// and when what the server had to say at once has been swallowed the connection is cut.
func cutAfter(t *testing.T, address, text string) string {
	t.Helper()
	door := listen(t)
	t.Cleanup(func() { _ = door.Close() })
	go func() {
		for {
			near, err := door.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", address)
			if err != nil {
				_ = near.Close()
				continue
			}
			var hold atomic.Bool
			go func() { // to the client
				buffer := make([]byte, 32<<10)
				for {
					n, err := far.Read(buffer)
					if n > 0 && !hold.Load() {
						_, _ = near.Write(buffer[:n])
					}
					if err != nil {
						_ = near.Close()
						return
					}
				}
			}()
			go func() { // to the server
				buffer := make([]byte, 32<<10)
				for {
					n, err := near.Read(buffer)
					if bytes.Contains(buffer[:n], []byte(text)) {
						hold.Store(true)
						time.AfterFunc(50*time.Millisecond, func() { _ = far.Close() })
					}
					_, _ = far.Write(buffer[:n])
					if err != nil {
						_ = far.Close()
						return
					}
				}
			}()
		}
	}()
	return door.Addr().String()
}
