package client_test

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// exampleService is what the examples talk to: a member with two codes, whose Recover is cut off on the way.
func exampleService() (*servicetest.Server, error) {
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

// OutcomeOf says what to do after a failed Recover, and an unknown outcome is looked up with Get.
func Example_errors() {
	c, stop, err := exampleClient()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	ctx := context.Background()
	const organization, member, code = "example-org", "member-1", "aaaa-bbbb-cccc"
	var p peer.Peer
	_, err = c.Recover(ctx, &recoverycodesv1.RecoverRequest{
		OrganizationId: organization,
		MemberId:       member,
		RecoveryCode:   code,
	}, grpc.Peer(&p))
	switch client.OutcomeOf(err, &p) {
	case client.Done:
		fmt.Println("recovered")
	case client.NotSent:
		fmt.Println("nothing was sent: safe to try again")
	case client.Refused:
		fmt.Println("refused:", status.Convert(err).Message())
	case client.Unknown:
		resp, err := c.Get(ctx, &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("the code was spent:", !slices.Contains(resp.GetRecoveryCodes(), code))
	}
	// Output: the code was spent: false
}
