package client

import (
	"cmp"
	"context"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// An Error is a call that failed. Every call of a Client that fails returns one, so that errors.As finds it.
//
// It stands for the gRPC status and for what the status's details say: [google.golang.org/grpc/status.FromError] and
// Code see the status as it came. Its texts come from the service, which puts no code, no token and no credential into
// them. An Error with only the public fields set, made for a test, has the status of its Code and Message.
type Error struct {
	// Method is the RPC: Get, Recover, Rotate, or Check for [Client.Health].
	Method string
	Code   codes.Code
	// Message is for people, and may change at any time.
	Message string

	// Reason and Domain say what went wrong, for programs: docs/errors.md lists the reasons of the service's own
	// domain, recoverycodes.internal; those of stytch.com are Stytch's error types in upper case. Both are empty if
	// neither has spoken: the failure was made on the way, by gRPC or by a proxy.
	Reason, Domain string

	// StytchType is Stytch's error_type and HTTPStatus the status of its answer. They are empty and 0 if it did not give
	// them. They may also stand beside a reason of the service, which then tells what they mean.
	StytchType string
	HTTPStatus int

	// RequestID finds the call in a log: Stytch's if there is one, otherwise the service's. It can be empty.
	RequestID string

	// Outcome is what is known of a Recover or Rotate, as [OutcomeOf] says it. A Get may be sent again whatever it is.
	Outcome Outcome

	// RetryAfter is how long to wait at least before the call is made again, 0 if nothing was said.
	RetryAfter time.Duration

	// Violations are the fields of the request that were refused.
	Violations []Violation

	// Help says what to do now and HelpURL is a page about the error. They can be empty.
	Help, HelpURL string

	cause error
}

// A Violation is a field of the request, by its name in the contract, and what is wrong with it.
type Violation struct {
	Field, Description string
}

// Error returns one line with the facts that belong into a log.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("recovery codes: ")
	if e.Method != "" {
		b.WriteString(e.Method + ": ")
	}
	b.WriteString(e.Code.String())
	if e.Reason != "" {
		b.WriteString(" (" + e.Reason + ")")
	}
	b.WriteString(": " + e.Message)
	if e.RequestID != "" {
		b.WriteString(" (request id " + e.RequestID + ")")
	}
	return b.String()
}

// Unwrap returns the error that gRPC, or an interceptor, returned.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus returns the status of the call, by which package status reads an Error.
func (e *Error) GRPCStatus() *status.Status {
	if e.cause == nil {
		return status.New(e.Code, e.Message)
	}
	return status.Convert(e.cause)
}

// Stytch says whether Stytch refused the call, rather than the service or something on the way to it.
func (e *Error) Stytch() bool { return e.Domain == stytchDomain }

// newError reads the status of a failed call. taker is the connection that took it.
func newError(method string, err error, taker *peer.Peer) *Error {
	st := status.Convert(err)
	e := &Error{Method: path.Base(method), Code: st.Code(), Message: st.Message(), Outcome: OutcomeOf(err, taker), cause: err}
	info := verdict(st)
	e.Reason, e.Domain = info.GetReason(), info.GetDomain()
	// The service gives its own reasons as types too, in lower case, unless Stytch had one.
	if kind := info.GetMetadata()["error_type"]; e.Stytch() || kind != strings.ToLower(e.Reason) {
		e.StytchType = kind
	}
	if code, err := strconv.Atoi(info.GetMetadata()["http_status"]); err == nil && http.StatusText(code) != "" {
		e.HTTPStatus = code
	}
	e.RequestID = cmp.Or(detail[*errdetails.RequestInfo](st).GetRequestId(), info.GetMetadata()["request_id"])
	e.RetryAfter = retryDelay(st)
	for _, v := range detail[*errdetails.BadRequest](st).GetFieldViolations() {
		e.Violations = append(e.Violations, Violation{v.GetField(), v.GetDescription()})
	}
	for _, link := range detail[*errdetails.Help](st).GetLinks() {
		e.Help, e.HelpURL = cmp.Or(e.Help, link.GetDescription()), cmp.Or(e.HelpURL, link.GetUrl())
	}
	e.HelpURL = cmp.Or(e.HelpURL, info.GetMetadata()["error_url"])
	return e
}

// detail returns the first detail of st that is a D, or nil.
func detail[D any](st *status.Status) D {
	for _, d := range st.Details() {
		if found, ok := d.(D); ok {
			return found
		}
	}
	var none D
	return none
}

// typedErrors is a connection whose unary calls fail with an Error. It stands outside all interceptors, so that it
// sees what a call came to after its last attempt.
type typedErrors struct{ grpc.ClientConnInterface }

// Invoke implements grpc.ClientConnInterface.
func (c typedErrors) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	var taker peer.Peer
	err := c.ClientConnInterface.Invoke(ctx, method, args, reply, append(opts[:len(opts):len(opts)], grpc.Peer(&taker))...)
	if err == nil {
		return nil
	}
	return newError(method, err, &taker)
}
