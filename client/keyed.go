package client

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// What the service calls an idempotency key, and the mark of an answer that it has given before.
const (
	keyName      = "idempotency-key"
	replayedName = "idempotency-replayed"
)

const (
	keyedAttempts = 3
	firstPause    = 100 * time.Millisecond
	// longestPause is what a call waits at most because the service asks it to. A service that asks for more has told
	// the caller something that should not be slept through.
	longestPause = 5 * time.Second
	// leastAttempt is what must be left of the deadline for one more attempt. It is more than the 250 ms with which the
	// service refuses a call for lack of time.
	leastAttempt = 500 * time.Millisecond
)

// withKeys gives each Recover and Rotate an idempotency key and sends it again under that key while that may help.
//
// gRPC's own retries cannot do this: the service sends the header of its answer before the request leaves for Stytch,
// and gRPC retries nothing that has a header.
func withKeys(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	switch method {
	case recoverycodesv1.RecoveryCodesService_Recover_FullMethodName, recoverycodesv1.RecoveryCodesService_Rotate_FullMethodName:
	default:
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	if md, _ := metadata.FromOutgoingContext(ctx); len(md.Get(keyName)) == 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, keyName, rand.Text())
	}
	var (
		failure error // what the call comes to if no later attempt says more
		doubt   bool  // an attempt may have taken effect
	)
	for attempt := 1; ; attempt++ {
		var (
			header metadata.MD
			taker  peer.Peer
		)
		err := invoke(ctx, method, req, reply, cc, append(opts[:len(opts):len(opts)], grpc.Header(&header), grpc.Peer(&taker))...)
		if err == nil {
			return nil
		}
		st := status.Convert(err)
		switch info := verdict(st); {
		case failure == nil, OutcomeOf(err, &taker) == Unknown:
			failure = err
		case info == nil: // no connection took this attempt: what the earlier ones came to stands
		case !doubt || settles(info, header):
			failure = err
		}
		doubt = doubt || OutcomeOf(err, &taker) == Unknown
		if attempt == keyedAttempts || !mayHelp(st) || !rest(ctx, st, attempt) {
			return failure
		}
	}
}

// settles says whether a verdict is one on the earlier attempts of its call, too. It is if it comes from where the key
// is known: what Stytch says has passed the store, and so has a replay. The service's own refusals tell only about
// the attempt that met them.
func settles(info *errdetails.ErrorInfo, header metadata.MD) bool {
	return info.GetDomain() == stytchDomain || len(header.Get(replayedName)) > 0
}

// mayHelp says whether another attempt, under the same key, may end better than one that failed with st.
func mayHelp(st *status.Status) bool {
	info := verdict(st)
	if info.GetDomain() == serviceDomain {
		switch info.GetReason() {
		case reasonNotSent:
			return true
		case reasonOutcomeUnknown, reasonAnswerLost, reasonInternal:
			return false // the key would only bring it back
		}
	}
	switch st.Code() {
	case codes.Unavailable:
		return true
	case codes.Canceled, codes.Unknown, codes.DeadlineExceeded, codes.Aborted, codes.Internal, codes.DataLoss:
		return info == nil // what proxies and gRPC make of a connection that broke
	default:
		return false
	}
}

// rest waits before the attempt that follows the given one, which failed with st, and says whether to make it. If there
// will be no time for it, it does not wait.
func rest(ctx context.Context, st *status.Status, attempt int) bool {
	asked := retryDelay(st)
	if asked > longestPause {
		return false
	}
	step := firstPause << (attempt - 1)
	// The jitter goes on top of what the service asks for: those who were turned away together must not come back
	// together.
	d := asked + step/2 + mathrand.N(step) //nolint:gosec // jitter is no secret
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d+leastAttempt {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retryDelay is how long the service asks to wait, 0 if it does not.
func retryDelay(st *status.Status) time.Duration {
	return max(0, detail[*errdetails.RetryInfo](st).GetRetryDelay().AsDuration())
}
