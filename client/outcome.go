package client

import (
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// An Outcome is what is known of a Recover or Rotate that has ended. The zero value is Unknown, the one that forbids
// the most.
type Outcome int

const (
	// Unknown means that it may have taken effect. It must not be sent again; the package comment names the way out.
	Unknown Outcome = iota
	// Done means that it succeeded.
	Done
	// Refused means that it changed nothing. The same request is likely to be refused again, and a wrong code counts
	// against the member's attempts.
	Refused
	// NotSent means that it did not leave this side or the service, and changed nothing. It is safe to send it again.
	NotSent
)

// String returns the outcome in lower case.
func (o Outcome) String() string {
	switch o {
	case Done:
		return "done"
	case Refused:
		return "refused"
	case NotSent:
		return "not sent"
	default:
		return "unknown"
	}
}

// The domains of ErrorInfo that count, and the reasons of the service's own that say more than the code beside them.
const (
	serviceDomain = "recoverycodes.internal"
	stytchDomain  = "stytch.com"

	reasonNotSent        = "NOT_SENT"
	reasonOutcomeUnknown = "OUTCOME_UNKNOWN"
	reasonAnswerLost     = "ANSWER_LOST"
	reasonInternal       = "INTERNAL"
)

// OutcomeOf says what is known of a Recover or Rotate that returned err. The first rule that applies decides:
//
//   - No error: Done.
//   - An ErrorInfo of the service's own domain, recoverycodes.internal, with the reason NOT_SENT: NotSent. With
//     OUTCOME_UNKNOWN, ANSWER_LOST (it took effect, but its answer is gone) or INTERNAL (a defect of the service, at
//     whatever moment of the call): Unknown.
//   - Any other ErrorInfo of that domain or of stytch.com: Refused, unless its code is one that neither of them refuses
//     a call with, such as UNAVAILABLE or CANCELLED: Unknown.
//   - No ErrorInfo, or one of a foreign domain: the error was made on the way, by gRPC on this side or by a proxy, and
//     the call may have passed: Unknown, whatever the code. If no connection ever took the call, it is NotSent.
//
// p is what [google.golang.org/grpc.Peer] filled in for this very call; its address is nil if no connection took the
// call. A nil p means that this is not known. An [Error] knows it, and needs no p: what counts is its Outcome.
//
// Get changes nothing, so that it may be sent again whatever its outcome.
func OutcomeOf(err error, p *peer.Peer) Outcome {
	if err == nil {
		return Done
	}
	var known *Error
	if errors.As(err, &known) {
		return known.Outcome
	}
	st := status.Convert(err)
	info := verdict(st)
	if info == nil {
		if p != nil && p.Addr == nil {
			return NotSent
		}
		return Unknown
	}
	if info.GetDomain() == serviceDomain {
		switch info.GetReason() {
		case reasonNotSent:
			return NotSent
		case reasonOutcomeUnknown, reasonAnswerLost, reasonInternal:
			return Unknown
		}
	}
	switch st.Code() {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.FailedPrecondition,
		codes.OutOfRange, codes.Unimplemented, codes.Unauthenticated, codes.ResourceExhausted, codes.Internal:
		return Refused
	default:
		return Unknown
	}
}

// verdict returns the ErrorInfo by which the service or Stytch says what became of the call, or nil.
func verdict(st *status.Status) *errdetails.ErrorInfo {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			switch info.GetDomain() {
			case serviceDomain, stytchDomain:
				return info
			}
		}
	}
	return nil
}
