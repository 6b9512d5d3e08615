package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// exampleService is what the examples talk to: a member with two codes, whose Recover has an unknown outcome and whose
// Rotate succeeds at the second attempt.
func exampleService() (*servicetest.Server, error) {
	var rotates atomic.Int64
	return servicetest.Listen(&servicetest.Service{
		OnGet: func(context.Context, *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
			return &recoverycodesv1.GetResponse{RecoveryCodes: []string{"aaaa-bbbb-cccc", "dddd-eeee-ffff"}}, nil
		},
		OnRecover: func(context.Context, *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
			st, err := status.New(codes.Unknown, "the outcome of the call is not known").
				WithDetails(&errdetails.ErrorInfo{Domain: "recoverycodes.internal", Reason: "OUTCOME_UNKNOWN"})
			if err != nil {
				return nil, err
			}
			return nil, st.Err()
		},
		OnRotate: func(context.Context, *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error) {
			if rotates.Add(1) == 1 {
				return nil, status.Error(codes.Unavailable, "the connection is broken")
			}
			return &recoverycodesv1.RotateResponse{RecoveryCodes: []string{"eeee-ffff-gggg"}}, nil
		},
	})
}

// exampleClient is for the examples that begin after New.
func exampleClient() (c *client.Client, stop func(), err error) {
	srv, err := exampleService()
	if err != nil {
		return nil, nil, err
	}
	c, err = client.New(srv.Addr, client.WithInsecure())
	if err != nil {
		srv.Close()
		return nil, nil, err
	}
	return c, func() { _ = c.Close(); srv.Close() }, nil
}

func Example() {
	srv, err := exampleService()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	// WithInsecure because the example's service is on loopback.
	c, err := client.New(srv.Addr, client.WithInsecure())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	resp, err := c.Get(context.Background(), &recoverycodesv1.GetRequest{
		OrganizationId: "example-org",
		MemberId:       "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("active codes:", len(resp.GetRecoveryCodes()))
	// Output: active codes: 2
}

// An Error says what to do after a failed Recover, and an unknown outcome is looked up with ResolveRecover.
func ExampleError() {
	c, stop, err := exampleClient()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	ctx := context.Background()
	req := &recoverycodesv1.RecoverRequest{
		OrganizationId: "example-org",
		MemberId:       "member-1",
		RecoveryCode:   "aaaa-bbbb-cccc",
	}
	_, err = c.Recover(ctx, req)
	var failed *client.Error
	switch {
	case err == nil:
		fmt.Println("recovered")
	case !errors.As(err, &failed):
		fmt.Println(err) // not reached: every failed call is an Error
	case failed.Outcome == client.NotSent:
		fmt.Println("nothing was sent: safe to try again, after", failed.RetryAfter)
	case failed.Outcome == client.Refused && failed.StytchType == "unable_to_authenticate_recovery_code":
		fmt.Println("the code is wrong: ask for another one")
	case failed.Outcome == client.Refused:
		fmt.Println("refused:", failed.Message)
	default: // client.Unknown
		// After a deadline or a broken connection, wait first: see the package comment.
		state, err := c.ResolveRecover(ctx, req)
		switch state {
		case client.CodeInactive:
			fmt.Println("the code is spent: sign in again, with another one")
		case client.CodeActive:
			fmt.Println("the code is still active: it may be used again")
		case client.CodeUnknown:
			fmt.Println("not known yet:", err)
		}
	}
	// Output: the code is still active: it may be used again
}

// OutcomeOf serves those who call the service with the generated client, without a Client. It needs the peer.
func ExampleOutcomeOf() {
	conn, err := grpc.NewClient("127.0.0.1:1", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()

	var p peer.Peer
	_, err = recoverycodesv1.NewRecoveryCodesServiceClient(conn).Rotate(context.Background(), &recoverycodesv1.RotateRequest{
		OrganizationId: "example-org",
		MemberId:       "member-1",
	}, grpc.Peer(&p))
	fmt.Println(client.OutcomeOf(err, &p))
	// Output: not sent
}

// A caller in Kubernetes is known by its projected service-account token, which is replaced while the program runs.
func ExampleWithTokenFile() {
	c, err := client.New("dns:///recoverycodes.identity.svc.cluster.local:50051",
		client.WithCAFile("testdata/ca.pem"),
		client.WithTokenFile("testdata/token"),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("connects at the first call, and finds all replicas by DNS:", c.Close() == nil)
	// Output: connects at the first call, and finds all replicas by DNS: true
}

// A token is not sent in plaintext to another machine, unless the program says that a mesh encrypts it.
func ExampleWithMeshEncryption() {
	const service = "recoverycodes.identity.svc.cluster.local:50051"
	_, err := client.New(service, client.WithInsecure(), client.WithTokenFile("testdata/token"))
	fmt.Println(err)

	c, err := client.New(service, client.WithMeshEncryption(), client.WithTokenFile("testdata/token"))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = c.Close()
	// Output: client: target "recoverycodes.identity.svc.cluster.local:50051": a token is not sent in plaintext to another machine: use TLS, or WithMeshEncryption if a sidecar encrypts
}

// timings stands for otelgrpc.NewClientHandler(): a handler sees each attempt, its end and how it failed.
type timings struct{ attempts int }

func (*timings) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*timings) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*timings) HandleConn(context.Context, stats.ConnStats)                       {}
func (t *timings) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, ended := s.(*stats.End); ended {
		t.attempts++
	}
}

func ExampleWithStatsHandler() {
	srv, err := exampleService()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	var handler timings
	c, err := client.New(srv.Addr, client.WithInsecure(), client.WithStatsHandler(&handler))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	if _, err := c.Get(context.Background(), &recoverycodesv1.GetRequest{OrganizationId: "example-org", MemberId: "member-1"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("calls seen:", handler.attempts)
	// Output: calls seen: 1
}

// With one server process behind the address, a Rotate whose connection breaks is sent again under its key, and comes
// back with the codes that the first attempt issued.
func ExampleWithKeyedRetries() {
	srv, err := exampleService()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	c, err := client.New(srv.Addr, client.WithInsecure(), client.WithKeyedRetries())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	resp, err := c.Rotate(context.Background(), &recoverycodesv1.RotateRequest{OrganizationId: "example-org", MemberId: "member-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("new codes:", len(resp.GetRecoveryCodes()))
	// Output: new codes: 1
}
