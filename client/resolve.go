package client

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// A CodeState is what is known of a recovery code. The zero value is CodeUnknown.
type CodeState int

const (
	// CodeUnknown means that the service could not be asked; an error says why.
	CodeUnknown CodeState = iota
	// CodeActive means that the code was not spent by the time of the answer. It still may be, by a Recover that is
	// under way.
	CodeActive
	// CodeInactive means that the code cannot be spent any more. If it was active before the Recover, the Recover has
	// spent it, and the token of its session is lost. The same is seen of a code that was spent earlier, was
	// voided by a Rotate or has never been one of the member's.
	CodeInactive
)

// String returns the state in lower case.
func (s CodeState) String() string {
	switch s {
	case CodeActive:
		return "active"
	case CodeInactive:
		return "inactive"
	default:
		return "unknown"
	}
}

// ResolveRecover asks Get what a Recover whose outcome is Unknown came to: whether the code of the lost request is
// still active. It changes nothing and may be repeated. Its answer decides what the person does next:
//
//   - CodeInactive: the code is gone. The person signs in again, with another code.
//   - CodeActive: the code was not spent yet. If the lost call can no longer take effect, the code may be used again.
//   - CodeUnknown, with the error of Get: ask again later.
//
// CodeInactive is final. CodeActive is so only once the time limit of the lost call has passed, counted from when it was
// sent: the service finishes what has left it, within 31 seconds unless it is set otherwise, even if the caller has
// gone. A code is compared as it stands in the request, and is neither sent nor named in an error.
//
// A Rotate needs no such method: the codes that Get lists, after the same time, are the valid set.
func (c *Client) ResolveRecover(ctx context.Context, lost *recoverycodesv1.RecoverRequest) (CodeState, error) {
	if lost.GetRecoveryCode() == "" {
		return CodeUnknown, &Error{
			Method: "Get", Code: codes.InvalidArgument, Message: "recovery_code: is empty", Outcome: Refused,
			Violations: []Violation{{Field: "recovery_code", Description: "is empty"}},
		}
	}
	resp, err := c.Get(ctx, &recoverycodesv1.GetRequest{
		OrganizationId: lost.GetOrganizationId(),
		MemberId:       lost.GetMemberId(),
	})
	switch {
	case err != nil:
		return CodeUnknown, err
	case slices.Contains(resp.GetRecoveryCodes(), lost.GetRecoveryCode()):
		return CodeActive, nil
	default:
		return CodeInactive, nil
	}
}
