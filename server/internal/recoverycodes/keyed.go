package recoverycodes

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/once"
	"recoverycodes.internal/server/internal/stytch"
)

// Once is a store of what keyed calls came to: once.Memory, or once.Redis where replicas share one. Its contract is that
// of once.Memory.Do.
type Once interface {
	Do(ctx context.Context, c once.Call, run func() (record []byte, keep bool)) (record []byte, replayed bool, err error)
}

const maxKey = 255

// key returns the idempotency key of a call, "" when it has none. It is never sent upstream.
func (v *violations) key(given []string) string {
	switch {
	case len(given) == 0:
		return ""
	case len(given) > 1:
		v.add(call.IdempotencyKey, "stands more than once")
		return ""
	}
	key := given[0]
	if key == "" || len(key) > maxKey {
		v.add(call.IdempotencyKey, "must have 1 to %d characters", maxKey)
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			v.add(call.IdempotencyKey, "may contain only visible ASCII characters")
			break
		}
	}
	return key
}

// effect makes a call that has an effect. With an idempotency key it is made at most once: whoever comes again with the
// same key and request is given the exchange that there was, whatever it came to. Only what surely had no effect, since
// nothing was sent or a rate limit stopped it, frees the key for another try.
func (s *Service) effect(ctx context.Context, op *operation, key string, req proto.Message, try func() (stytch.Exchange, *apierror.Error)) (stytch.Exchange, *apierror.Error) {
	if key == "" {
		return try()
	}
	canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return stytch.Exchange{}, &apierror.Error{Code: codes.Internal, Reason: apierror.Internal, Message: "internal error"}
	}
	var (
		own     stytch.Exchange
		refusal *apierror.Error
	)
	record, replayed, err := s.options.Once.Do(ctx, once.Call{Caller: recordOf(ctx).Caller, Key: key, Request: append([]byte(op.name+"\x00"), canonical...)},
		func() ([]byte, bool) {
			own, refusal = try()
			if refusal != nil || !own.Sent || own.Status == http.StatusTooManyRequests {
				return nil, false
			}
			// It always marshals; should it not, the key is kept with a record that nobody can read, and stays unknown.
			record, _ := json.Marshal(own)
			return record, true
		})
	switch {
	case err != nil:
		if s.options.OnStore != nil && (errors.Is(err, once.ErrDown) || errors.Is(err, once.ErrFull)) {
			s.options.OnStore(err)
		}
		recordOf(ctx).GaveUp = errors.Is(err, once.ErrWaiting)
		return stytch.Exchange{}, keyError(op, err)
	case !replayed:
		return own, refusal
	}
	var earlier stytch.Exchange
	if err := json.Unmarshal(record, &earlier); err != nil {
		return stytch.Exchange{}, keyError(op, once.ErrUnknown)
	}
	recordOf(ctx).Replayed = true
	// It fails only when headers have gone out, and for a replay none have.
	_ = grpc.SetHeader(ctx, metadata.Pairs(call.ReplayedKey, "true"))
	return earlier, nil
}

// keyError is what a key alone came to.
func keyError(op *operation, err error) *apierror.Error {
	switch {
	case errors.Is(err, once.ErrReused):
		e := apierror.Invalid(apierror.Violation{Field: call.IdempotencyKey, Description: "was used with another request"})
		e.Reason, e.HTTP = apierror.KeyReused, http.StatusUnprocessableEntity
		return e
	case errors.Is(err, once.ErrFull):
		return NotSent(apierror.LimitKeys, "there is no place for another idempotency key; nothing was sent")
	case errors.Is(err, once.ErrDown):
		return NotSent(apierror.LimitKeys, "the store of idempotency keys cannot be asked; nothing was sent")
	default: // the call that has the key is under way, or ended without a record
		return &apierror.Error{
			Code: codes.Unknown, Reason: apierror.OutcomeUnknown, NeverRetry: true, Help: op.help,
			Message: "a call with this idempotency key was made, and what it came to is not known",
		}
	}
}

// admit sends through the gate.
func (s *Service) admit(ctx context.Context, op *operation, send func() stytch.Exchange) (x stytch.Exchange, refusal *apierror.Error) {
	leave, refusal := s.gate.enter(ctx, op)
	if refusal != nil {
		return x, refusal
	}
	defer leave(&x)
	x = send()
	return x, nil
}
