// Package interceptor is the chain that every call passes, from whichever door. Each link does one thing and the
// order is written down once, in Unary.
//
// It knows gRPC, the record of a call, who observes it and who guards it. Of messages it knows only that some name an
// organization, a member and a code, and of the service that Get tells what an unknown outcome came to.
package interceptor

import (
	"context"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/batching"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/telemetry"
)

// Chain is what the links of the chain work with. All fields are required but Audit.
type Chain struct {
	Calls    *InFlight
	Observer *telemetry.Observer
	Guard    *access.Guard
	Audit    *Audit
	// Limit bounds the time a handler may be given by its caller's deadline.
	Limit time.Duration
}

// Unary returns the chain, outermost first.
func (c Chain) Unary() []grpc.UnaryServerInterceptor {
	return []grpc.UnaryServerInterceptor{
		c.Calls.count,                // outermost: everything that follows is part of a call
		identify,                     // before everything that names the call
		observe(c.Calls, c.Observer), // outside recovery, so that a call that panicked has its lines too
		recovery(c.Observer),         // directly inside the observer: everything below may fail without taking the process along
		deadline(c.Limit),            // nothing above it needs the time that is left
		checks(
			c.Audit.name,    // so that a refusal too says whom the call was about
			admit(c.Guard),  // before anything of the request counts
			decodable,       // what cannot be read is refused when everything else about the call is known
			organization,    // the last that needs no more than the policy; the rest is the service's
			c.Audit.reserve, // what cannot be recorded is not made
		),
	}
}

// A check lets a call on, perhaps with more in its context, or refuses it. It has nothing to do when the call comes back.
type check func(ctx context.Context, req any, method string) (context.Context, *apierror.Error)

// checks makes one link of several checks: as links of their own they would be two frames of the stack each.
func checks(all ...check) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		for _, c := range all {
			var refusal *apierror.Error
			if ctx, refusal = c(ctx, req, info.FullMethod); refusal != nil {
				return nil, refusal
			}
		}
		return handler(ctx, req)
	}
}

// Stream returns the chain for the streams there are, reflection and health's Watch: they live as long as their
// callers like and concern no recovery code, so there is no deadline.
func (c Chain) Stream() []grpc.StreamServerInterceptor {
	return []grpc.StreamServerInterceptor{streamed(c.Observer), admitStream(c.Guard)}
}

func identify(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	defer batching.Begin()()
	ctx, record := begin(ctx, info.FullMethod)
	batching.Yield() // the record's time has begun: to wait for others is part of the call
	answer, err := handler(ctx, req)
	// With a failure the id goes into the trailer: a header, however small, begins an answer, and clients do not send a
	// call again whose answer has begun. NOT_SENT and Get's failures are there to be sent again. Neither can fail but
	// for a header that has gone out, and whoever sent that has put the id in.
	id := metadata.MD{call.RequestIDKey: {record.RequestID}}
	if err != nil {
		_ = grpc.SetTrailer(ctx, id)
	} else {
		_ = grpc.SetHeader(ctx, id)
	}
	return answer, err
}

// begin finds the record that the REST door has started, or starts one for gRPC.
func begin(ctx context.Context, method string) (context.Context, *call.Call) {
	record := call.FromContext(ctx)
	if record == nil {
		var proposed string
		if values := metadata.ValueFromIncomingContext(ctx, call.RequestIDKey); len(values) == 1 {
			proposed = values[0]
		}
		record = call.New(call.GRPC, proposed)
		record.IdempotencyKeys = metadata.ValueFromIncomingContext(ctx, call.IdempotencyKey)
		ctx = call.NewContext(ctx, record)
	}
	record.Method = method
	return ctx, record
}

// observe tells what came of a call. Its report is made after the answer.
func observe(calls *InFlight, observer *telemetry.Observer) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		record := call.FromContext(ctx)
		if observer.Traces() && record.Door == call.GRPC { // the other door has told of its arrival
			ctx = observer.ArrivedRPC(ctx, record, inbound(ctx))
		}
		answer, err := handler(ctx, req)
		batching.Yield()
		var failure *apierror.Error
		if err != nil {
			failure = told(record, err)
			answer, err = nil, failure
			if failure.NeverRetry {
				// Tells gRPC clients with a retry policy to leave this call alone. Nothing is lost when it cannot be set: the
				// status is one that no policy known to us repeats.
				_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "-1"))
			}
		}
		if report := observer.Ending(record, failure); report != nil {
			calls.After(report)
		}
		return answer, err
	}
}

// carrier is metadata as OpenTelemetry reads it.
type carrier metadata.MD

func inbound(ctx context.Context) propagation.TextMapCarrier {
	md, _ := metadata.FromIncomingContext(ctx)
	return carrier(md)
}

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string {
	if values := metadata.MD(c).Get(key); len(values) == 1 {
		return values[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier. Nothing is told to callers.
func (carrier) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() []string { return slices.Collect(maps.Keys(c)) }

// told is the error as the caller is given it: an Error, with the request id of whoever it is about.
func told(record *call.Call, err error) *apierror.Error {
	failure := apierror.From(err)
	if failure.RequestID == "" {
		failure.RequestID = record.RequestID
	}
	return failure
}

func recovery(observer *telemetry.Observer) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (answer any, err error) {
		defer func() {
			if recover() != nil { // the value is not looked at: it can be made of a payload
				record := call.FromContext(ctx)
				observer.Panicked(record, debug.Stack())
				answer, err = nil, Panicked(record)
			}
		}()
		return handler(ctx, req)
	}
}

// Panicked is what the caller of a call that panicked hears: nothing of the panic, but whether the request may have
// taken effect.
func Panicked(record *call.Call) *apierror.Error {
	switch record.Outcome {
	case call.Unknown, call.Lost, call.Done:
		return &apierror.Error{
			Code: codes.Unknown, Reason: apierror.OutcomeUnknown, NeverRetry: true,
			Message: "the server failed after the request may have reached the upstream",
			Help:    "Do not send this call again. Call Get: it tells which codes are active now.",
		}
	default:
		return &apierror.Error{Code: codes.Internal, Reason: apierror.Internal, Message: "internal error"}
	}
}

func deadline(limit time.Duration) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= limit {
			return handler(ctx, req) // another context would change nothing
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return handler(ctx, req)
	}
}

func streamed(observer *telemetry.Observer) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		ctx, record := begin(stream.Context(), info.FullMethod)
		defer func() {
			if recover() != nil {
				observer.Panicked(record, debug.Stack())
				err = Panicked(record)
			}
			if err == nil {
				observer.Ended(record, nil)
				return
			}
			failure := told(record, err)
			observer.Ended(record, failure)
			err = failure
		}()
		return handler(srv, decodableStream{stream, ctx})
	}
}
