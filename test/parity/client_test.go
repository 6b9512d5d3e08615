package parity

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"

	"recoverycodes.internal/client"
	"recoverycodes.internal/test/daemon"
)

// TestClientRetriesWhatMayBeSentAgain lets the Go client meet a server whose upstream cannot be reached. A Get that was
// not sent is tried again by the client's policy, which needs an answer that has not begun; a Rotate is not tried again.
func TestClientRetriesWhatMayBeSentAgain(t *testing.T) {
	d := daemon.Start(t, []string{
		"STYTCH_PROJECT_ID=project-test-1", "STYTCH_SECRET=secret-test-relay", "STYTCH_BASE_URL=http://127.0.0.1:1",
	}, "--insecure-allow-any-caller", "--upstream-breaker-failures=0")
	c, err := client.New(d.GRPC, client.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, err = c.Get(t.Context(), &recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: "m"})
	if status.Code(err) != codes.Unavailable || client.OutcomeOf(err, nil) != client.NotSent {
		t.Error(err)
	}
	_, err = c.Rotate(t.Context(), &recoverycodesv1.RotateRequest{OrganizationId: "o", MemberId: "m"})
	if status.Code(err) != codes.Unavailable || client.OutcomeOf(err, nil) != client.NotSent {
		t.Error(err)
	}
	if !d.AwaitLog(`"method":"Rotate"`, 1) || !d.AwaitLog(`"method":"Get"`, 3) {
		t.Errorf("the log:\n%s", d.Log())
	}
}
