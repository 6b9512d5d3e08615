package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// An exitCode tells a script what is known of the call. --help documents each.
type exitCode int

const (
	exitDone    exitCode = 0
	exitFailed  exitCode = 1
	exitUsage   exitCode = 2
	exitNotSent exitCode = 3
	exitUnknown exitCode = 4
)

// With these, nothing was changed.
var (
	errNotServing  = errors.New("the service is not taking calls")
	errInterrupted = errors.New("interrupted, nothing was sent")
)

// A callError is a call that failed. Its cause stays apart from what is told:
// write is the only way out for its text.
type callError struct {
	command   string
	hasEffect bool   // the call changes something when it succeeds
	taken     bool   // a connection took the call, so it may have arrived
	secret    string // what must not appear in the text, wherever that is from
	cause     error
}

func (e *callError) Error() string { return e.command + " failed" }

// An answerError is an answer that could not be written. The call took effect.
type answerError struct {
	hasEffect bool
	cause     error
}

func (e *answerError) Error() string {
	return "the call succeeded, but its answer could not be written: " + e.cause.Error()
}

func (e *answerError) exitCode() exitCode {
	if e.hasEffect {
		return exitUnknown
	}
	return exitFailed
}

// upstreamDomain marks reasons that are Stytch's words; all other domains are
// the service's own.
const upstreamDomain = "stytch.com"

// exitCode says what is known: whether anything changed, and so whether the
// call may be made again. Where it is not sure, it says unknown.
func (e *callError) exitCode() exitCode {
	st := status.Convert(e.cause)
	info := detail[*errdetails.ErrorInfo](st)
	own := info.GetDomain() != upstreamDomain
	switch {
	case own && info.GetReason() == "NOT_SENT":
		return exitNotSent
	case !e.hasEffect || !e.taken:
		return exitCodeUnchanged(st.Code())
	case own && (info.GetReason() == "OUTCOME_UNKNOWN" || info.GetReason() == "ANSWER_LOST"):
		return exitUnknown
	}
	switch st.Code() {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented, codes.Unauthenticated:
		return exitFailed
	case codes.Internal, codes.ResourceExhausted:
		// Said with a reason, these are refusals, but for a defect of the
		// service, which may strike at any moment of a call. Without a reason
		// they come from this side's gRPC or from a proxy, which know only that
		// no answer arrived.
		if info != nil && info.GetReason() != "INTERNAL" {
			return exitFailed
		}
		return exitUnknown
	default:
		return exitUnknown
	}
}

// exitCodeUnchanged is for calls that certainly changed nothing.
func exitCodeUnchanged(c codes.Code) exitCode {
	switch c {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable:
		return exitNotSent
	default:
		return exitFailed
	}
}

// write tells a person what happened and what to do now.
func (e *callError) write(w io.Writer) {
	st := status.Convert(e.cause)
	info := detail[*errdetails.ErrorInfo](st)

	var b strings.Builder
	fmt.Fprintf(&b, "recoverycodes: %s: %s", e.command, code.Code(st.Code()))
	if reason := info.GetReason(); reason != "" {
		fmt.Fprintf(&b, " (%s)", reason)
	}
	fmt.Fprintf(&b, ": %s\n", st.Message())
	for _, v := range detail[*errdetails.BadRequest](st).GetFieldViolations() {
		fmt.Fprintf(&b, "%s: %s\n", v.GetField(), v.GetDescription())
	}
	requestID := detail[*errdetails.RequestInfo](st).GetRequestId()
	if requestID == "" {
		requestID = info.GetMetadata()["request_id"]
	}
	if requestID != "" {
		fmt.Fprintf(&b, "request id: %s\n", requestID)
	}
	if wait := detail[*errdetails.RetryInfo](st).GetRetryDelay(); wait != nil {
		fmt.Fprintf(&b, "not before: %v from now\n", wait.AsDuration())
	}
	switch e.exitCode() {
	case exitNotSent:
		b.WriteString("Nothing was changed; it is safe to try again.\n")
	case exitUnknown:
		b.WriteString("It may have taken effect. Do not repeat it: wait half a minute, then see with get which codes are active.\n")
	default: // refused, and the message says why
	}

	text := b.String()
	if e.secret != "" {
		text = strings.ReplaceAll(text, e.secret, hidden)
	}
	for line := range strings.Lines(text) {
		_, _ = fmt.Fprintln(w, printable(strings.TrimSuffix(line, "\n")))
	}
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
