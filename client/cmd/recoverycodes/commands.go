package main

import (
	"context"
	"errors"
	"io"
	"slices"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
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

// Help is printed by kong, as are the others of this name.
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

	SessionDuration *int32   `help:"Lifetime of the session in minutes; the service decides when it is not given." placeholder:"MINUTES"`
	With            []string `help:"Read this token too, after the code: intermediate-session-token, session-token or session-jwt. May be repeated; the tokens are read in the order given." enum:"intermediate-session-token,session-token,session-jwt" placeholder:"TOKEN"`
}

// Validate is called by kong.
func (c *recoverCommand) Validate() error {
	for i, name := range c.With {
		if slices.Contains(c.With[:i], name) {
			return errors.New("--with: " + name + " is given twice")
		}
	}
	return nil
}

func (*recoverCommand) Help() string {
	return "The code is read from a prompt without echo, or, when standard input is not a terminal, from its first line; each token of --with from a prompt or the next line. The session token is hidden unless --show-codes is given, and cannot be shown later."
}

func (c *recoverCommand) Run(ctx context.Context, s *session) error {
	req := &recoverycodesv1.RecoverRequest{
		OrganizationId:         c.Organization,
		MemberId:               c.Member,
		SessionDurationMinutes: c.SessionDuration,
	}
	failed := &callError{command: "recover", hasEffect: true}
	tokens := map[string]**string{
		"intermediate-session-token": &req.IntermediateSessionToken,
		"session-token":              &req.SessionToken,
		"session-jwt":                &req.SessionJwt,
	}
	in := newSecretReader(s.stdin, s.stderr)
	var err error
	if req.RecoveryCode, err = in.read(ctx, recoveryCode); err != nil {
		return err
	}
	failed.secrets = append(failed.secrets, req.RecoveryCode)
	for _, name := range c.With {
		token, err := in.read(ctx, sessionToken(name))
		if err != nil {
			return err
		}
		*tokens[name] = &token
		failed.secrets = append(failed.secrets, token)
	}
	return invoke(ctx, s, failed, s.client.Recover, req)
}

type resolveCommand struct{ memberArguments }

func (*resolveCommand) Help() string {
	return "After a recover that ended with exit code 4. The code is read as recover reads it, and is not sent. An active code was not spent so far: half a minute after the recover that is final, and the code may be used again. A code that is not active is spent, if it was active before; the session is lost, and the member signs in again with another code."
}

func (c *resolveCommand) Run(ctx context.Context, s *session) error {
	code, err := newSecretReader(s.stdin, s.stderr).read(ctx, recoveryCode)
	if err != nil {
		return err
	}
	state, err := s.client.ResolveRecover(ctx, &recoverycodesv1.RecoverRequest{
		OrganizationId: c.Organization,
		MemberId:       c.Member,
		RecoveryCode:   code,
	})
	if err != nil {
		return &callError{command: "resolve", secrets: []string{code}, cause: err}
	}
	if err := s.out.printState(state); err != nil {
		return &answerError{cause: err}
	}
	if state != client.CodeActive {
		return errInactive
	}
	return nil
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

// invoke makes one call and prints its answer. On failure it returns failed, filled with the cause.
func invoke[Request, Response proto.Message](
	ctx context.Context, s *session, failed *callError,
	rpc func(context.Context, Request, ...grpc.CallOption) (Response, error), req Request,
) error {
	resp, err := rpc(ctx, req)
	if err != nil {
		failed.cause = err
		return failed
	}
	if err := s.out.print(resp); err != nil {
		return &answerError{hasEffect: failed.hasEffect, cause: err}
	}
	return nil
}
