// Package recoverycodes is the gRPC service: it validates a request, has the upstream client make the call, and
// turns what came back into an answer or a status. It is the only place that maps upstream failures to statuses.
//
// It knows the contract, the upstream client and the transcoder. It knows no socket, no door but for keeping the
// upstream's own bytes for REST, and no log format. Nothing in here reads an answer through its getters: answers
// hold their content as wire bytes in the unknown fields, where marshalling copies it.
package recoverycodes

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/batching"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/stytch"
	"recoverycodes.internal/server/internal/transcode"
	"recoverycodes.internal/server/internal/wiped"
)

// An operation is what differs between the three RPCs once the exchange is over.
type operation struct {
	name    string
	answers *transcode.Table
	help    string // what to do after an unknown outcome; empty for Get, which has no effect
}

func (op *operation) hasEffect() bool { return op.help != "" }

// Service implements the generated server interface.
type Service struct {
	recoverycodesv1.UnimplementedRecoveryCodesServiceServer

	upstream             *stytch.Client
	get, recover, rotate operation
	options              Options
	gate                 *gate
	retries              *retrier

	// announce returns what is done at the moment a Recover or Rotate is about to leave. Tests that need a server
	// without the fuse replace it.
	announce func(context.Context) func() error
}

// Options are what an operator decides about the service. LeastTime and InFlight are required.
type Options struct {
	// LeastTime is what must be left of a call's deadline for it to be worth sending.
	LeastTime time.Duration

	// InFlight bounds the calls at the upstream at once.
	InFlight int

	// BreakerFailures is after how many failures in a row calls are refused for a while; 0 is never.
	BreakerFailures int

	// Once keeps what calls with an idempotency key came to.
	Once Once

	// Attempts bounds wrong codes; nil does not.
	Attempts Attempts

	// OnStore is told why the store of keys has refused a call; it must not block. It may be nil.
	OnStore func(error)

	// OnCredentials is told that Stytch has refused this server's own credentials; it must not block. It may be nil.
	OnCredentials func()

	// OnDrift is told where an answer departs from the contract; it must not block. It may be nil.
	OnDrift func(method string, drift []transcode.Drift)
}

// New returns the service.
func New(upstream *stytch.Client, options Options) (*Service, error) {
	s := &Service{
		upstream: upstream,
		get:      operation{name: "Get"},
		recover:  operation{name: "Recover", help: helpRecover},
		rotate:   operation{name: "Rotate", help: helpRotate},
		options:  options,
		gate:     newGate(options.LeastTime, options.InFlight, options.BreakerFailures),
		retries:  newRetrier(),
		announce: sendHeader,
	}
	for op, answer := range map[*operation]proto.Message{
		&s.get:     (*recoverycodesv1.GetResponse)(nil),
		&s.recover: (*recoverycodesv1.RecoverResponse)(nil),
		&s.rotate:  (*recoverycodesv1.RotateResponse)(nil),
	} {
		table, err := transcode.New(answer.ProtoReflect().Descriptor(), "request_id", "member_id")
		if err != nil {
			return nil, fmt.Errorf("recoverycodes: answers of %s: %w", op.name, err)
		}
		op.answers = table
	}
	return s, nil
}

// Drain has every Recover and Rotate refused that has not been sent yet, also one that waits for another call with its
// key and would be made after it. It does not wait for those that were sent.
func (s *Service) Drain() { s.gate.closing.Store(true) }

// Get implements the RPC. It is cancelled with its caller, and the only one that is ever sent again.
func (s *Service) Get(ctx context.Context, req *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
	var v violations
	v.ids(req.GetOrganizationId(), req.GetMemberId())
	if err := v.err(); err != nil {
		return nil, refuse(ctx, err)
	}
	batching.Yield()
	start := time.Now()
	x, refusal := s.admit(ctx, &s.get, func() (x stytch.Exchange) {
		x, recordOf(ctx).Retries = s.retries.get(ctx, s.options.LeastTime, func() stytch.Exchange {
			return s.upstream.Get(ctx, req.GetOrganizationId(), req.GetMemberId())
		})
		return x
	})
	if refusal != nil {
		return nil, withoutExchange(ctx, refusal)
	}
	answer := &recoverycodesv1.GetResponse{}
	if err := s.settle(ctx, &s.get, &x, start, answer); err != nil {
		return nil, err
	}
	return answer, nil
}

// Recover implements the RPC. Once sent it is finished even if the caller goes away.
func (s *Service) Recover(ctx context.Context, req *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
	var v violations
	claims := v.recoverRequest(req)
	key := v.key(recordOf(ctx).IdempotencyKeys)
	if err := v.err(); err != nil {
		return nil, refuse(ctx, err)
	}
	batching.Yield()
	mayHaveLeft(ctx)
	start := time.Now()
	x, failure := s.effect(ctx, &s.recover, key, req, func() (stytch.Exchange, *apierror.Error) {
		return s.attempt(ctx, req.GetOrganizationId(), req.GetMemberId(), func() stytch.Exchange {
			return s.upstream.Recover(ctx, stytch.RecoverParams{
				OrganizationID:           req.GetOrganizationId(),
				MemberID:                 req.GetMemberId(),
				RecoveryCode:             req.GetRecoveryCode(),
				IntermediateSessionToken: req.IntermediateSessionToken,
				SessionToken:             req.SessionToken,
				SessionJWT:               req.SessionJwt,
				SessionDurationMinutes:   req.SessionDurationMinutes,
				SessionCustomClaims:      claims,
				TelemetryID:              req.TelemetryId,
			}, s.announce(ctx))
		})
	})
	if failure != nil {
		return nil, withoutExchange(ctx, failure)
	}
	answer := &recoverycodesv1.RecoverResponse{}
	err := s.settle(ctx, &s.recover, &x, start, answer, req.GetRecoveryCode(), req.GetSessionToken(),
		req.GetSessionJwt(), req.GetIntermediateSessionToken())
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// Rotate implements the RPC. Once sent it is finished even if the caller goes away.
func (s *Service) Rotate(ctx context.Context, req *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error) {
	var v violations
	v.ids(req.GetOrganizationId(), req.GetMemberId())
	key := v.key(recordOf(ctx).IdempotencyKeys)
	if err := v.err(); err != nil {
		return nil, refuse(ctx, err)
	}
	batching.Yield()
	mayHaveLeft(ctx)
	start := time.Now()
	x, failure := s.effect(ctx, &s.rotate, key, req, func() (stytch.Exchange, *apierror.Error) {
		return s.admit(ctx, &s.rotate, func() stytch.Exchange {
			return s.upstream.Rotate(ctx, req.GetOrganizationId(), req.GetMemberId(), s.announce(ctx))
		})
	})
	if failure != nil {
		return nil, withoutExchange(ctx, failure)
	}
	answer := &recoverycodesv1.RotateResponse{}
	if err := s.settle(ctx, &s.rotate, &x, start, answer); err != nil {
		return nil, err
	}
	return answer, nil
}

// sendHeader is the fuse: it sends the response's header when the request is about to leave. A hop that has received
// the header of an answer does not send the call again, whatever its retry policy says, because the answer has begun.
// When the header cannot be sent, since the caller has gone, the request does not leave either.
func sendHeader(ctx context.Context) func() error {
	if grpc.ServerTransportStreamFromContext(ctx) == nil {
		return nil // called as a Go function; there is no hop
	}
	id := metadata.Pairs(call.RequestIDKey, recordOf(ctx).RequestID)
	return func() error { return grpc.SendHeader(ctx, id) }
}

// settle turns an exchange into the answer or the error, and writes into the call's record what became of it.
// secrets are the request's own, which must not come back in an error text.
func (s *Service) settle(ctx context.Context, op *operation, x *stytch.Exchange, start time.Time, answer proto.Message, secrets ...string) error {
	record := recordOf(ctx)
	record.UpstreamTime = time.Since(start)
	record.UpstreamStatus = x.Status
	record.UpstreamFault = string(x.Fault)

	usable := false
	if x.Fault == "" && 200 <= x.Status && x.Status <= 299 {
		batching.Yield()
		wire, err := op.answers.Append(wiped.Get(len(x.Body))[:0], x.Body)
		if usable = err == nil && op.recognisable(&wire); usable {
			record.UpstreamRequestID = plain(wire.Kept[0], 128)
			if record.Door == call.REST {
				record.Answer = x.Body // the door writes it and gives it back; the message beside it stays empty
				wiped.Put(wire.Wire)
			} else {
				answer.ProtoReflect().SetUnknown(wire.Wire) // gRPC gives it back when it is sent
				wiped.Put(x.Body)
				x.Body = nil
			}
		}
		if wire.DriftTotal > 0 && s.options.OnDrift != nil {
			s.options.OnDrift(op.name, wire.Drift)
		}
	}
	var body *stytch.ErrorBody
	if x.Status < 200 || x.Status > 299 {
		body = errorBody(x, secrets)
	}
	outcome, failure := decide(op, x, body, usable)
	record.Outcome = outcome
	if failure == nil {
		return nil
	}
	record.UpstreamRequestID = failure.RequestID
	if failure.Reason == apierror.UpstreamCredentials && s.options.OnCredentials != nil {
		s.options.OnCredentials()
	}
	return failure
}

// recognisable reports whether a JSON object is an answer of the operation and not of something in between that says
// 200 to everything. After Recover and Rotate, whose effect is certain, one known member is enough; a Get, by which
// callers find out what an unknown outcome came to, has to say whom it is about.
func (op *operation) recognisable(answer *transcode.Answer) bool {
	if !op.hasEffect() {
		return answer.Kept[0] != "" || answer.Kept[1] != ""
	}
	return len(answer.Wire) > 0
}

func refuse(ctx context.Context, err *apierror.Error) error {
	recordOf(ctx).Outcome = call.Refused
	return err
}

// withoutExchange is a failure without an exchange of this call's own: most of them are certain that nothing was sent.
func withoutExchange(ctx context.Context, failure *apierror.Error) error {
	switch failure.Reason {
	case apierror.NotSent:
		recordOf(ctx).Outcome = call.NotSent
	case apierror.OutcomeUnknown:
		recordOf(ctx).Outcome = call.Unknown
	default:
		recordOf(ctx).Outcome = call.Refused
	}
	return failure
}

// recordOf returns the call's record, or a stray one where the service is called outside the chain.
func recordOf(ctx context.Context) *call.Call {
	if record := call.FromContext(ctx); record != nil {
		return record
	}
	return &call.Call{}
}

// mayHaveLeft lets the outcome of a call with an effect stand as unknown until settle knows better, so that whatever
// goes wrong in between is told as such.
func mayHaveLeft(ctx context.Context) {
	recordOf(ctx).Outcome = call.Unknown
}
