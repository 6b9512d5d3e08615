package recoverycodes

import (
	"context"
	"errors"
	"net/http"

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
func (s *Service) attempt(ctx context.Context, member string, send func() stytch.Exchange) (stytch.Exchange, *apierror.Error) {
	if s.options.Attempts == nil {
		return s.admit(ctx, send)
	}
	settle, err := s.options.Attempts.Reserve(ctx, attempts.Attempt{Caller: recordOf(ctx).Caller, Member: member})
	if err != nil {
		return stytch.Exchange{}, tooMany(err)
	}
	verdict := attempts.Unknown
	defer func() { settle(verdict) }() // also when sending panics
	x, refusal := s.admit(ctx, send)
	verdict = verdictOn(&x)
	return x, refusal
}

// tooMany is what a refused attempt comes to.
func tooMany(err error) *apierror.Error {
	var exceeded *attempts.ExceededError
	if !errors.As(err, &exceeded) {
		return NotSent("wrong codes cannot be counted now; nothing was sent")
	}
	message := "too many wrong codes for this member; nothing was sent"
	if exceeded.Who == attempts.Caller {
		message = "too large a share of this caller's codes was wrong; nothing was sent"
	}
	return &apierror.Error{
		Code: codes.ResourceExhausted, Reason: apierror.NotSent, Message: message, RetryAfter: exceeded.RetryAfter,
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
	if !ok || x.Status >= 500 || x.Status == http.StatusRequestTimeout || x.Status == statusClientClosed {
		return attempts.Unknown
	}
	switch body.ErrorType {
	case "unable_to_authenticate_recovery_code", "invalid_recovery_code", "totp_code_used_as_recovery_code":
		return attempts.Wrong
	default: // it was refused for what else is in the request
		return attempts.Unjudged
	}
}
