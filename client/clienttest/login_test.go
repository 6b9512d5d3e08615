package clienttest_test

import (
	"context"
	"testing"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/clienttest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// login stands for a program that calls the service.
type login struct{ codes *client.Client }

// signIn says what to show to a person who has typed a recovery code.
func (l *login) signIn(ctx context.Context, organization, member, code string) string {
	req := &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: member, RecoveryCode: code}
	_, err := l.codes.Recover(ctx, req)
	switch client.OutcomeOf(err, nil) {
	case client.Done:
		return "welcome"
	case client.Refused:
		return "this code is wrong"
	case client.NotSent:
		return "try again in a moment"
	default: // client.Unknown
		if state, _ := l.codes.ResolveRecover(ctx, req); state == client.CodeInactive {
			return "this code is spent, take another one"
		}
		return "try again in a minute"
	}
}

// [test]
func TestSignIn(t *testing.T) {
	service := clienttest.New(t) // the service itself, in this process; it stops with the test
	login := &login{service.Client()}
	for _, test := range []struct {
		name  string
		fault clienttest.Fault
		code  string
		want  string
		spent int
	}{
		{"right", clienttest.NoFault, clienttest.RecoveryCodes()[0], "welcome", 1},
		{"wrong", clienttest.NoFault, "none-such-code", "this code is wrong", 0},
		{"answer lost", clienttest.AnswerLost, clienttest.RecoveryCodes()[0], "try again in a minute", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			member := test.fault.Member(t.Name()) // of this test alone
			if got := login.signIn(t.Context(), clienttest.OrganizationID, member, test.code); got != test.want {
				t.Errorf("shows %q, want %q", got, test.want)
			}
			if spent := service.Member(member).Effects.Recover; spent != test.spent {
				t.Errorf("%d codes spent, want %d", spent, test.spent)
			}
		})
	}
}

// [/test]
