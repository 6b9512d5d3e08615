package main

import (
	"context"
	"io"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"recoverycodes.internal/client"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// A session is what a command runs with.
type session struct {
	client *client.Client
	stdin  io.Reader
	stderr io.Writer
	out    printer
}

type memberArguments struct {
	Organization string `arg:"" name:"org" help:"The organization's id, slug or external id."`
	Member       string `arg:"" name:"member" help:"The member's id or external id."`
}

type getCommand struct{ memberArguments }

// Run is called by kong, as are the others of this name.
func (c *getCommand) Run(ctx context.Context, s *session) error {
	return invoke(ctx, s, &callError{command: "get"}, s.client.Get, &recoverycodesv1.GetRequest{
		OrganizationId: c.Organization,
		MemberId:       c.Member,
	})
}

type rotateCommand struct{ memberArguments }

// Help is printed by kong, as is the other of this name.
func (*rotateCommand) Help() string {
	return "All codes that the member has are void afterwards. The new ones are hidden unless --show-codes is given; get can show them later."
}

func (c *rotateCommand) Run(ctx context.Context, s *session) error {
	return invoke(ctx, s, &callError{command: "rotate", hasEffect: true}, s.client.Rotate, &recoverycodesv1.RotateRequest{
		OrganizationId: c.Organization,
		MemberId:       c.Member,
	})
}

type recoverCommand struct {
	memberArguments

	SessionDuration *int32 `help:"Lifetime of the session in minutes; the service decides when it is not given." placeholder:"MINUTES"`
}

func (*recoverCommand) Help() string {
	return "The code is read from a prompt without echo, or, when standard input is not a terminal, from its first line. The session token is hidden unless --show-codes is given, and cannot be shown later."
}

func (c *recoverCommand) Run(ctx context.Context, s *session) error {
	code, err := readCode(ctx, s.stdin, s.stderr)
	if err != nil {
		return err
	}
	return invoke(ctx, s, &callError{command: "recover", hasEffect: true, secret: code}, s.client.Recover, &recoverycodesv1.RecoverRequest{
		OrganizationId:         c.Organization,
		MemberId:               c.Member,
		RecoveryCode:           code,
		SessionDurationMinutes: c.SessionDuration,
	})
}

type healthCommand struct{}

func (*healthCommand) Run(ctx context.Context, s *session) error {
	serving, err := s.client.Health(ctx)
	if err != nil {
		return &callError{command: "health", cause: err}
	}
	if err := s.out.print(&healthpb.HealthCheckResponse{Status: serving}); err != nil {
		return &answerError{cause: err}
	}
	if serving != healthpb.HealthCheckResponse_SERVING {
		return errNotServing
	}
	return nil
}

// invoke makes one call and prints its answer. On failure it returns failed, filled with the cause and with the
// connection that took the call.
func invoke[Request, Response proto.Message](
	ctx context.Context, s *session, failed *callError,
	rpc func(context.Context, Request, ...grpc.CallOption) (Response, error), req Request,
) error {
	failed.taker = &peer.Peer{}
	resp, err := rpc(ctx, req, grpc.Peer(failed.taker))
	if err != nil {
		failed.cause = err
		return failed
	}
	if err := s.out.print(resp); err != nil {
		return &answerError{hasEffect: failed.hasEffect, cause: err}
	}
	return nil
}
