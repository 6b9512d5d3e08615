package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/client"
)

// An exitCode tells a script what is known of the call. --help documents each.
type exitCode int

const (
	exitDone     exitCode = 0
	exitFailed   exitCode = 1
	exitUsage    exitCode = 2
	exitNotSent  exitCode = 3
	exitUnknown  exitCode = 4
	exitInactive exitCode = 5
)

// With these, nothing was changed.
var (
	errNotServing  = errors.New("the service is not taking calls")
	errInterrupted = errors.New("interrupted, nothing was sent")
	errInactive    = errors.New("the code is not active: if it was before the recover, it is spent, and another one is needed")
)

// A callError is a call that failed. Its cause, an Error of the client, stays apart from what is told: write is the only
// way out for its text.
type callError struct {
	command   string
	hasEffect bool     // the call changes something when it succeeds
	server    string   // the target, for when it is not the service that says why
	secrets   []string // what the other side's text must not tell
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
	switch client.OutcomeOf(e.cause, nil) {
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
	var failed *client.Error
	if !errors.As(e.cause, &failed) {
		failed = &client.Error{Code: codes.Unknown, Message: e.cause.Error()}
	}

	var b strings.Builder
	fmt.Fprintf(&b, "recoverycodes: %s: %s", e.command, code.Code(failed.Code))
	if failed.Reason != "" {
		fmt.Fprintf(&b, " (%s)", failed.Reason)
	}
	fmt.Fprintf(&b, ": %s\n", hide(e.secrets, failed.Message))
	for _, v := range untold(failed) {
		fmt.Fprintf(&b, "%s: %s\n", v.Field, hide(e.secrets, v.Description))
	}
	if failed.RequestID != "" {
		fmt.Fprintf(&b, "request id: %s\n", failed.RequestID)
	}
	if failed.Reason == "" { // made on the way, where the text may not say to whom
		fmt.Fprintf(&b, "server: %s\n", e.server)
	}
	if failed.RetryAfter > 0 {
		fmt.Fprintf(&b, "not before: %v from now\n", failed.RetryAfter)
	}
	switch e.exitCode() {
	case exitNotSent:
		b.WriteString("Nothing was changed; it is safe to try again.\n")
	case exitUnknown:
		next := "see with get which codes are active"
		if e.command == "recover" {
			next = "ask with resolve whether the code was spent"
		}
		fmt.Fprintf(&b, "It may have taken effect. Do not repeat it: wait half a minute, then %s.\n", next)
	default: // refused, and the message says why
	}

	for line := range strings.Lines(b.String()) {
		_, _ = fmt.Fprintln(w, printable(strings.TrimSuffix(line, "\n")))
	}
}

// shortestSecret is the length in bytes from which on a text is searched for a secret. A shorter one protects nothing,
// and turns up inside words.
const shortestSecret = 4

// hide replaces secrets in a text of the other side, which ought not to hold them. It is not for text that is written
// here: there a secret could only match a word.
func hide(secrets []string, text string) string {
	for _, secret := range secrets {
		if len(secret) >= shortestSecret {
			text = strings.ReplaceAll(text, secret, hidden)
		}
	}
	return text
}

// untold returns the field violations of e, unless its message lists them already, as the service's does.
func untold(e *client.Error) []client.Violation {
	list := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		list[i] = v.Field + ": " + v.Description
	}
	if strings.Contains(e.Message, strings.Join(list, "; ")) {
		return nil
	}
	return e.Violations
}
