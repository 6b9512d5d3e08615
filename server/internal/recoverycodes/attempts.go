package recoverycodes

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/attempts"
	"recoverycodes.internal/server/internal/stytch"
)

// Attempts bounds wrong codes: attempts.Memory, or attempts.Redis where replicas count together. Its contract is that of
// attempts.Memory.Reserve.
type Attempts interface {
	Reserve(ctx context.Context, a attempts.Attempt) (settle func(attempts.Verdict), err error)
}

// attempt sends a code through the gate, if the member and the caller may still be wrong. It is counted as wrong until
// the exchange says otherwise.
func (s *Service) attempt(ctx context.Context, organization, member string, send func() stytch.Exchange) (stytch.Exchange, *apierror.Error) {
	if s.options.Attempts == nil {
		return s.admit(ctx, &s.recover, send)
	}
	settle, err := s.options.Attempts.Reserve(ctx, attempts.Attempt{
		Caller: recordOf(ctx).Caller, Member: member, Organization: idOf(organization),
	})
	if err != nil {
		return stytch.Exchange{}, tooMany(err)
	}
	verdict := attempts.Unknown
	defer func() { settle(verdict) }() // also when sending panics
	x, refusal := s.admit(ctx, &s.recover, send)
	verdict = verdictOn(&x)
	return x, refusal
}

// idOf is the handle of an organization if it is an id, else empty. What only looks like one is no organization's
// id, and nothing is counted for a member that is not found there.
func idOf(organization string) string {
	if strings.HasPrefix(organization, "organization-live-") || strings.HasPrefix(organization, "organization-test-") {
		return organization
	}
	return ""
}

// tooMany is what a refused attempt comes to.
func tooMany(err error) *apierror.Error {
	var exceeded *attempts.ExceededError
	if !errors.As(err, &exceeded) {
		return NotSent(apierror.LimitAttemptsStore, "wrong codes cannot be counted now; nothing was sent")
	}
	limit, message := apierror.LimitMember, "too many wrong codes for this member; nothing was sent"
	if exceeded.Who == attempts.Caller {
		limit, message = apierror.LimitCaller, "too large a share of this caller's codes was wrong; nothing was sent"
	}
	return &apierror.Error{
		Code: codes.ResourceExhausted, Reason: apierror.NotSent, Message: message, RetryAfter: exceeded.RetryAfter, Limit: limit,
	}
}

// verdictOn says what the upstream made of the code in a Recover.
func verdictOn(x *stytch.Exchange) attempts.Verdict {
	switch {
	case !x.Sent && x.Status == 0:
		return attempts.Unjudged
	case 200 <= x.Status && x.Status <= 299:
		return attempts.Right
	case x.Status == http.StatusTooManyRequests:
		return attempts.Unjudged
	}
	body, ok := x.ErrorBody()
	switch {
	case !ok:
		return attempts.Unknown
	case slices.Contains(aboutTheCode, body.ErrorType):
		return attempts.Wrong
	case x.Status == http.StatusForbidden, x.Status == http.StatusNotFound, x.Status == http.StatusMethodNotAllowed:
		return attempts.Unjudged
	case x.Status == http.StatusUnauthorized && aboutOurCredentials(body.ErrorType):
		return attempts.Unjudged
	case x.Status == http.StatusBadRequest && slices.Contains(aboutTheRest, body.ErrorType):
		return attempts.Unjudged
	default: // the set of types is open: one that nobody here knows may be about the code
		return attempts.Unknown
	}
}

// aboutTheCode are the types of a wrong code, and aboutTheRest those of a 400 for what else is in the request.
var (
	aboutTheCode = []string{"unable_to_authenticate_recovery_code", "invalid_recovery_code", "totp_code_used_as_recovery_code"}
	aboutTheRest = []string{
		"bad_request", "invalid_argument", "invalid_organization_id", "no_session_arguments", "too_many_session_arguments",
		"member_session_member_id_mismatch", "invalid_session_duration_minutes", "custom_claims_too_large",
		"action_available_only_for_active_members", "action_available_only_once_primary_authentication_is_met",
		"no_active_recovery_code_backed_factor",
	}
)
