// Command go is a complete caller of the recovery-codes service in Go, against the sandbox that `make run` starts: it
// reads a member's codes, spends one, and replaces them all. It does what the examples beside it do in other languages.
//
//	go run ./client/examples/go example-org member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc/metadata"

	"recoverycodes.internal/client"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// timeLimit is more than the 31 seconds that the service gives one call, so that its verdict arrives before we give up.
const timeLimit = 35 * time.Second

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go ORGANIZATION MEMBER")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Getenv, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// [connect]
// connect returns a client that retries Get, and neither Recover nor Rotate. A program needs one, made at start.
func connect(getenv func(string) string) (*client.Client, error) {
	server := cmp.Or(getenv("RECOVERYCODES_SERVER"), "127.0.0.1:50051")
	limit := client.WithTimeout(timeLimit) // for each call whose context has no deadline
	ca := getenv("RECOVERYCODES_CA_FILE")
	if ca == "" {
		return client.New(server, limit, client.WithInsecure()) // plaintext is for loopback
	}
	return client.New(server, limit, client.WithCAFile(ca), client.WithToken(getenv("RECOVERYCODES_TOKEN")))
}

// [/connect]

func run(ctx context.Context, getenv func(string) string, organization, member string) error {
	c, err := connect(getenv)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()

	codes, err := active(ctx, c, organization, member)
	if err != nil {
		return err
	}
	fmt.Printf("get: %d active codes\n", len(codes))

	// [recover]
	req := &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: member, RecoveryCode: codes[0]}
	key := rand.Text() // one for each attempt of a person
	session, err := c.Recover(keyed(ctx, key), req)
	if err == nil {
		fmt.Printf("recover: done, %d codes left\n", session.GetRecoveryCodesRemaining())
	} else {
		fmt.Printf("recover: %s\n", describe(err))
		if client.OutcomeOf(err, nil) == client.Unknown { // never send it again; Get tells
			state, err := c.ResolveRecover(ctx, req)
			if err != nil {
				return err
			}
			fmt.Printf("resolve: the code is %s\n", state) // active is final only after the service's 31 seconds
		}
	}
	// [/recover]

	if session != nil {
		// The same key and request is the same call: it is answered again, and spends nothing.
		again, err := c.Recover(keyed(ctx, key), req)
		if err != nil {
			return err
		}
		fmt.Printf("recover, same key: the same session: %t\n", again.GetSessionToken() == session.GetSessionToken())

		// A session that there is not: Stytch refuses the call, and neither spends the code nor counts it as a wrong one.
		_, err = c.Recover(keyed(ctx, rand.Text()), &recoverycodesv1.RecoverRequest{
			OrganizationId: organization, MemberId: member, RecoveryCode: codes[len(codes)-1], SessionToken: new("of-no-session"),
		})
		fmt.Printf("recover, no such session: %s\n", describe(err))
	}

	rotated, err := c.Rotate(keyed(ctx, rand.Text()), &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: member})
	if err == nil {
		fmt.Printf("rotate: done, %d new codes\n", len(rotated.GetRecoveryCodes()))
		return nil
	}
	fmt.Printf("rotate: %s\n", describe(err))
	if client.OutcomeOf(err, nil) == client.Unknown {
		codes, err := active(ctx, c, organization, member)
		if err != nil {
			return err
		}
		fmt.Printf("resolve: %d codes are valid\n", len(codes))
	}
	return nil
}

func active(ctx context.Context, c *client.Client, organization, member string) ([]string, error) {
	resp, err := c.Get(ctx, &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member})
	return resp.GetRecoveryCodes(), err
}

func keyed(ctx context.Context, key string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "idempotency-key", key)
}

// [errors]
// describe says what is known of a Recover or Rotate that failed, and the reason if there is one.
func describe(err error) string {
	var failed *client.Error
	switch {
	case !errors.As(err, &failed):
		return fmt.Sprint(err) // not reached: every call that fails returns an Error
	case failed.Reason == "":
		return failed.Outcome.String()
	default:
		return failed.Outcome.String() + ", " + failed.Reason
	}
}

// [/errors]
