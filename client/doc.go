// Package client is the Go client of the recovery-codes service. It knows the
// service's gRPC contract, how to keep a connection to it, and which calls may
// be sent twice; it knows nothing of the server's inside, of Stytch's REST API
// or of anyone's credentials beyond handing them to gRPC.
//
// # Get may be repeated, Recover and Rotate may not
//
// Get changes nothing, and a Client tries it again by itself, at most twice,
// when it fails with UNAVAILABLE. Recover spends a code and mints a session;
// Rotate voids every code. A Client never sends these two again on the ground
// of their status, and a caller must not do it blindly either. What the error
// says decides:
//
//   - The reason NOT_SENT in the error's ErrorInfo: nothing left the service.
//     Trying again is safe.
//   - The code UNKNOWN, as a rule with the reason OUTCOME_UNKNOWN or
//     ANSWER_LOST: the call was on its way, and whether it took effect is not
//     known (for ANSWER_LOST it did, but its answer is gone). Do not repeat it.
//   - CANCELLED, DEADLINE_EXCEEDED or UNAVAILABLE for any other reason, and
//     INTERNAL or RESOURCE_EXHAUSTED without an ErrorInfo: this was made on the
//     way, by gRPC on this side or by a proxy. The call may have passed, so
//     treat it as unknown. There is one exception: if no connection ever took
//     the call, which [grpc.Peer] shows by leaving the peer's address nil,
//     nothing was sent.
//   - The code INTERNAL with the reason INTERNAL: a defect of the service, at
//     whatever moment of the call. Treat it as unknown.
//   - Any other error: the call was refused and changed nothing. The same
//     request is likely to be refused again, and a wrong code counts against
//     the member's attempts.
//
// The way out of an unknown outcome is Get. After Recover, the code is missing
// from the active ones if it was spent; its session is lost, and another code
// is needed. After Rotate, Get returns whichever set is valid now. The service
// finishes a call that has left it even when the caller has gone, so after a
// deadline or a broken connection wait for [DefaultTimeout] before asking, or
// the answer may be older than the effect.
//
// gRPC itself may still resend a call of which it knows that no server has
// looked at it (its "transparent" retry, after REFUSED_STREAM or GOAWAY). That
// is safe for all three methods and is left on.
package client
