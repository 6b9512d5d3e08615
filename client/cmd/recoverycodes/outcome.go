package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/client"
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

// A callError is a call that failed. Its cause stays apart from what is told: write is the only way out for its text.
type callError struct {
	command   string
	hasEffect bool       // the call changes something when it succeeds
	taker     *peer.Peer // the connection that took the call, as grpc.Peer tells it; nil if that is not known
	secret    string     // what the other side's text must not tell
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

// exitCode says what is known: whether anything changed, and so whether the call may be made again.
func (e *callError) exitCode() exitCode {
	switch client.OutcomeOf(e.cause, e.taker) {
	case client.NotSent:
		return exitNotSent
	case client.Refused:
		return exitFailed
	default:
		if e.hasEffect {
			return exitUnknown
		}
	}
	switch status.Code(e.cause) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Unavailable:
		return exitNotSent // it may have been sent, but changed nothing
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
	fmt.Fprintf(&b, ": %s\n", hide(e.secret, st.Message()))
	for _, v := range untold(st) {
		fmt.Fprintf(&b, "%s: %s\n", v.GetField(), hide(e.secret, v.GetDescription()))
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

	for line := range strings.Lines(b.String()) {
		_, _ = fmt.Fprintln(w, printable(strings.TrimSuffix(line, "\n")))
	}
}

// shortestSecret is the length in bytes from which on a text is searched for a secret. A shorter one protects nothing,
// and turns up inside words.
const shortestSecret = 4

// hide replaces secret in a text of the other side, which ought not to hold it. It is not for text that is written
// here: there a secret could only match a word.
func hide(secret, text string) string {
	if len(secret) < shortestSecret {
		return text
	}
	return strings.ReplaceAll(text, secret, hidden)
}

// untold returns the field violations of st, unless the message lists them already, as the service's does.
func untold(st *status.Status) []*errdetails.BadRequest_FieldViolation {
	violations := detail[*errdetails.BadRequest](st).GetFieldViolations()
	list := make([]string, len(violations))
	for i, v := range violations {
		list[i] = v.GetField() + ": " + v.GetDescription()
	}
	if strings.Contains(st.Message(), strings.Join(list, "; ")) {
		return nil
	}
	return violations
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
