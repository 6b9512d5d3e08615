package recoverycodes

import (
	"net/http"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/stytch"
)

// retrySoon is the hint given with refusals that concern this moment: long enough not to hammer, short enough for
// a person who waits.
const retrySoon = time.Second

// The texts that go with the outcomes nobody can repeat. They are the way out, so they say what to do.
const (
	helpRecover = "Do not send this Recover again. Call Get: if the code is no longer listed, it was spent."
	helpRotate  = "Do not send this Rotate again. Call Get: it returns the set of codes that is valid now."
)

// decide is the one place where an exchange with the upstream becomes an outcome and, unless it is Done, an error. body
// is Stytch's own description of a failure, nil when there is none. usable says whether the body of a 2xx answer could
// be read as the answer of the operation.
//
// The status code is what meshes and client libraries decide by whether to send a call again. For Recover and
// Rotate it is therefore one that nobody repeats (UNKNOWN) whenever the request may have left and no verdict came.
func decide(op *operation, x *stytch.Exchange, body *stytch.ErrorBody, usable bool) (call.Outcome, *apierror.Error) {
	switch {
	case x.Status == 0 && !x.Sent:
		return notSent(x.Fault)
	case 200 <= x.Status && x.Status <= 299:
		if usable {
			return call.Done, nil
		}
		return answerLost(op, x)
	case x.Status == http.StatusTooManyRequests:
		return call.Refused, rateLimited(x, body)
	case 400 <= x.Status && x.Status <= 499 && x.Status != http.StatusRequestTimeout && x.Status != statusClientClosed:
		if body != nil {
			return call.Refused, refused(x, body)
		}
	}
	return noVerdict(op, x, body)
}

// statusClientClosed is what Stytch answers when its side of the connection was closed early.
const statusClientClosed = 499

func notSent(fault stytch.Fault) (call.Outcome, *apierror.Error) {
	switch fault {
	case stytch.FaultBadID:
		return call.Refused, apierror.Invalid(
			apierror.Violation{Field: "organization_id", Description: "or member_id cannot be part of a path"})
	case stytch.FaultCancelled:
		return call.NotSent, &apierror.Error{
			Code: codes.Canceled, Reason: apierror.Cancelled, HTTP: statusClientClosed,
			Message: "the caller went away before anything was sent",
		}
	case stytch.FaultDeadline:
		return call.NotSent, NotSent(apierror.LimitDeadline, "the deadline passed before anything was sent")
	default:
		return call.NotSent, NotSent("", "no connection to the upstream could be made; nothing was sent")
	}
}

// NotSent is the error for a call of which nothing left this server, so that it may be sent again. limit is the bound
// that refused it, empty where none did.
func NotSent(limit apierror.Limit, message string) *apierror.Error {
	return &apierror.Error{
		Code: codes.Unavailable, Reason: apierror.NotSent, Message: message, RetryAfter: retrySoon, Limit: limit,
	}
}

// answerLost is a success whose answer cannot be used: the effect of Recover and Rotate is certain.
func answerLost(op *operation, x *stytch.Exchange) (call.Outcome, *apierror.Error) {
	if !op.hasEffect() {
		return call.Failed, &apierror.Error{
			Code: codes.Unavailable, Reason: apierror.UpstreamFailed, HTTP: http.StatusBadGateway,
			Message: "the upstream's answer could not be read", UpstreamStatus: x.Status, RetryAfter: retrySoon,
		}
	}
	return call.Lost, &apierror.Error{
		Code: codes.Unknown, Reason: apierror.AnswerLost, UpstreamStatus: x.Status,
		Message:    "the upstream did it, but its answer could not be read",
		NeverRetry: true, Help: op.help,
	}
}

// rateLimited is an upstream 429 of any shape: it is a refusal even when a proxy in front of Stytch says it.
func rateLimited(x *stytch.Exchange, body *stytch.ErrorBody) *apierror.Error {
	if body == nil {
		return &apierror.Error{
			Code: codes.ResourceExhausted, Reason: apierror.RateLimited, UpstreamStatus: x.Status, RetryAfter: x.RetryAfter,
			Message: "the upstream limits the rate of requests",
		}
	}
	e := relayed(x, codes.ResourceExhausted, body)
	e.RetryAfter = x.RetryAfter
	return e
}

// refused is a 4xx in Stytch's own words.
func refused(x *stytch.Exchange, body *stytch.ErrorBody) *apierror.Error {
	switch {
	case x.Status == http.StatusUnauthorized && aboutOurCredentials(body.ErrorType):
		return ourFault(x, body, apierror.UpstreamCredentials, "the upstream refused this server's credentials")
	case body.ErrorType == "route_not_found", body.ErrorType == "method_not_allowed", body.ErrorType == "use_https":
		return ourFault(x, body, apierror.UpstreamAddress, "the upstream does not know this operation at the configured address")
	}
	return relayed(x, codeOf(x.Status, body.ErrorType), body)
}

// ourFault is a refusal that concerns this server and not the request: the caller cannot mend it
// and is not told Stytch's text.
func ourFault(x *stytch.Exchange, body *stytch.ErrorBody, reason, message string) *apierror.Error {
	return &apierror.Error{
		Code: codes.Internal, Reason: reason, Message: message,
		UpstreamStatus: x.Status, RequestID: body.RequestID, Type: body.ErrorType, // for whoever the caller tells of it
	}
}

func relayed(x *stytch.Exchange, code codes.Code, body *stytch.ErrorBody) *apierror.Error {
	return &apierror.Error{
		Code:           code,
		Domain:         apierror.StytchDomain,
		Reason:         reasonOf(body.ErrorType),
		Message:        body.ErrorMessage,
		HTTP:           x.Status,
		Type:           body.ErrorType,
		URL:            body.ErrorURL,
		RequestID:      body.RequestID,
		UpstreamStatus: x.Status,
	}
}

// reasonOf makes Stytch's error type a reason as google.rpc.ErrorInfo wants it: at most 63 of A-Z, 0-9 and _.
func reasonOf(errorType string) string {
	reason := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		default:
			return '_'
		}
	}, errorType)
	return reason[:min(len(reason), 63)]
}

// noVerdict is everything after which it is not known what the upstream did.
func noVerdict(op *operation, x *stytch.Exchange, body *stytch.ErrorBody) (call.Outcome, *apierror.Error) {
	var e *apierror.Error
	outcome := call.Unknown
	switch {
	case op.help != "":
		e = &apierror.Error{
			Code: codes.Unknown, Reason: apierror.OutcomeUnknown,
			Message:    "the request may have reached the upstream, and no verdict came back",
			NeverRetry: true, Help: op.help,
		}
	case x.Fault == stytch.FaultCancelled:
		outcome = call.Failed
		e = &apierror.Error{
			Code: codes.Canceled, Reason: apierror.Cancelled, HTTP: statusClientClosed,
			Message: "the caller went away",
		}
	case x.Fault == stytch.FaultDeadline, x.Fault == stytch.FaultTimeout,
		x.Status == http.StatusRequestTimeout, x.Status == http.StatusGatewayTimeout:
		outcome = call.Failed
		e = &apierror.Error{
			Code: codes.DeadlineExceeded, Reason: apierror.UpstreamTimeout,
			Message: "the upstream did not answer in time",
		}
	default:
		outcome = call.Failed
		e = &apierror.Error{
			Code: codes.Unavailable, Reason: apierror.UpstreamFailed, HTTP: http.StatusBadGateway,
			Message: "the upstream failed", RetryAfter: retrySoon,
		}
		if x.Status == http.StatusServiceUnavailable {
			e.HTTP = http.StatusServiceUnavailable
		}
	}
	e.UpstreamStatus = x.Status
	if body != nil {
		e.Type, e.RequestID = body.ErrorType, body.RequestID
	}
	return outcome, e
}

// aboutOurCredentials tells a 401 about this server's project id, secret or address from one about the person's
// proof. The set of types is open: one that is in neither list is taken as the person's, since its text is then
// relayed and nothing is hidden from the caller.
func aboutOurCredentials(errorType string) bool {
	switch errorType {
	case "unauthorized_credentials", "invalid_project_id_authentication", "invalid_secret_authentication",
		"invalid_authorization_header", "enterprise_endpoint":
		return true
	}
	return strings.HasPrefix(errorType, "unauthorized_project_id_") ||
		strings.HasPrefix(errorType, "wrong_stack_") ||
		strings.HasPrefix(errorType, "cname_")
}

// codeOf maps the status first; a type counts only where one status covers two meanings.
func codeOf(status int, errorType string) codes.Code {
	switch status {
	case http.StatusBadRequest:
		switch errorType {
		case "action_available_only_for_active_members",
			"action_available_only_once_primary_authentication_is_met",
			"no_active_recovery_code_backed_factor":
			return codes.FailedPrecondition
		}
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound, http.StatusGone:
		return codes.NotFound
	case http.StatusUnprocessableEntity:
		return codes.InvalidArgument
	default:
		return codes.FailedPrecondition
	}
}

// errorBody reads Stytch's description of a failure and makes it fit to be relayed, nil when there is none. secrets are
// the request's own; an upstream that repeats them in a text has them taken out, before anything is cut.
func errorBody(x *stytch.Exchange, secrets []string) *stytch.ErrorBody {
	body, ok := x.ErrorBody()
	if !ok {
		return nil
	}
	for _, field := range []struct {
		text  *string
		limit int
	}{{&body.ErrorType, 63}, {&body.ErrorMessage, 1024}, {&body.ErrorURL, 256}, {&body.RequestID, 128}} {
		for _, secret := range secrets {
			if len(secret) > 3 { // a shorter one is no secret, and would cut words apart
				*field.text = strings.ReplaceAll(*field.text, secret, "…")
			}
		}
		*field.text = plain(*field.text, field.limit)
	}
	return &body
}

// plain makes a text from upstream fit to be relayed: valid, printable, at most limit bytes.
func plain(s string, limit int) string {
	if len(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return s // as request ids are
	}
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // nor what turns a line around or is obeyed by a terminal
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}
