// Package apierror is how this server says no. An Error is one refusal or failure as the caller may know it: the
// gRPC code, the HTTP status, a machine-readable reason, a text. The two doors render the same Error, gRPC as a
// status with details, REST as Stytch's five-field body.
//
// The public text and the cause are different values: nothing in an Error comes from a Go error, an upstream
// address or a payload. Which upstream failure becomes which Error is decided in package recoverycodes, not here.
package apierror

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// The domains of ErrorInfo: who speaks.
const (
	// Domain marks what this server says.
	Domain = "recoverycodes.internal"
	// StytchDomain marks what Stytch said, relayed.
	StytchDomain = "stytch.com"
)

// The reasons of this server's own errors. Reasons of StytchDomain are Stytch's error types in upper case.
const (
	InvalidRequest      = "INVALID_REQUEST"        // a field is missing or malformed; see the field violations
	MalformedBody       = "MALFORMED_BODY"         // the body is not the JSON, or the protobuf, of the request
	BodyTooLarge        = "BODY_TOO_LARGE"         // REST: the body exceeds its limit
	UnsupportedType     = "UNSUPPORTED_TYPE"       // REST: the content type is not JSON
	RouteNotFound       = "ROUTE_NOT_FOUND"        // REST: no such path
	MethodNotAllowed    = "METHOD_NOT_ALLOWED"     // REST: the path exists, not with this HTTP method
	KeyReused           = "IDEMPOTENCY_KEY_REUSED" // the idempotency key was used with another request
	NotSent             = "NOT_SENT"               // nothing left this server: safe to send again
	Cancelled           = "CANCELLED"              // the caller went away before an effect was sent, or during a Get
	OutcomeUnknown      = "OUTCOME_UNKNOWN"        // the effect may or may not have happened; Get tells
	AnswerLost          = "ANSWER_LOST"            // the effect happened, its answer is lost; Get tells what is left
	UpstreamFailed      = "UPSTREAM_FAILED"        // a Get that failed upstream; it has no effect
	UpstreamTimeout     = "UPSTREAM_TIMEOUT"       // a Get that the upstream did not answer in time
	UpstreamCredentials = "UPSTREAM_CREDENTIALS"   //nolint:gosec // Stytch refused this server's own credentials; this is only the word for it
	UpstreamAddress     = "UPSTREAM_ADDRESS"       // what answers at the upstream's address does not know the operation
	RateLimited         = "RATE_LIMITED"           // an upstream 429 that gave no type of its own
	Internal            = "INTERNAL"               // a defect of this server

	// Who calls, and what they may do. All are said before the request is validated, and tell nothing of organizations
	// and members.
	CallerUnknown            = "CALLER_UNKNOWN"             // nothing in the call proves a caller that the policy lists
	CredentialInvalid        = "CREDENTIAL_INVALID"         //nolint:gosec // a credential was presented and does not hold; this is only the word for it
	CallerConflict           = "CALLER_CONFLICT"            // the call proves two different callers
	ForwardedIdentityRefused = "FORWARDED_IDENTITY_REFUSED" // x-forwarded-client-cert from a peer that may not speak for others
	OperationNotAllowed      = "OPERATION_NOT_ALLOWED"      // the policy does not give the caller this operation
	OrganizationNotAllowed   = "ORGANIZATION_NOT_ALLOWED"   // the policy does not give the caller this organization
	OrganizationIDRequired   = "ORGANIZATION_ID_REQUIRED"   // the policy lists ids for the caller, and the call has another handle
)

// A Limit is a bound of this server at which it refuses calls before anything is sent.
type Limit string

// The limits. They are the values of a metric's label, so there are no others.
const (
	LimitRate          Limit = "rate"            // of the caller, by the policy
	LimitMember        Limit = "member_attempts" // wrong codes for a member
	LimitCaller        Limit = "caller_attempts" // wrong codes of a caller
	LimitAttemptsStore Limit = "attempts_store"  // wrong codes cannot be counted
	LimitInFlight      Limit = "in_flight"       // calls at the upstream at once
	LimitBreaker       Limit = "breaker"         // the upstream keeps failing
	LimitDeadline      Limit = "deadline"        // too little time is left
	LimitDraining      Limit = "draining"        // the server is stopping
	LimitKeys          Limit = "keys"            // the store of idempotency keys is full or down
	LimitAudit         Limit = "audit"           // the call cannot be recorded
)

// helpURL is the page about an error. Like the module path it is a name in private-use space: it identifies, and
// resolves only where an operator has made it.
const helpURL = "https://" + Domain + "/docs/errors#"

// A Violation names a field of the request and what is wrong with it, never its value.
type Violation struct {
	Field, Description string
}

// Error is a refusal or failure as the caller may know it. Code, Reason and Message are required.
type Error struct {
	Code    codes.Code
	Domain  string // Domain when empty
	Reason  string // SCREAMING_SNAKE
	Message string // public text

	// HTTP is the status of the REST answer where it is not the canonical one of Code; otherwise 0.
	HTTP int

	// Type, URL and RequestID are Stytch's, when it answered with its error body, whoever speaks in this Error.
	// UpstreamStatus is the HTTP status that came back, 0 when none did.
	Type, URL, RequestID string
	UpstreamStatus       int

	Violations []Violation
	RetryAfter time.Duration // a hint, when positive
	Help       string        // what to do now, when there is something to do

	// Limit is the bound of this server that refused the call, if one did. Operators count it; callers are not told.
	Limit Limit

	// NeverRetry forbids any automatic repetition: the effect may have happened.
	NeverRetry bool
}

// Error returns the public text.
func (e *Error) Error() string { return e.Message }

// PublicType returns what stands in the error_type of the REST answer: Stytch's type when Stytch speaks, else the
// reason in lower case.
func (e *Error) PublicType() string {
	if e.Domain == StytchDomain && e.Type != "" {
		return e.Type
	}
	return strings.ToLower(e.Reason)
}

// PublicURL returns what stands in the error_url of the REST answer: Stytch's page when Stytch speaks, else the page
// about the reason.
func (e *Error) PublicURL() string {
	if e.Domain == StytchDomain && e.URL != "" {
		return e.URL
	}
	return e.page()
}

func (e *Error) page() string { return helpURL + strings.ToLower(e.Reason) }

// Is lets errors.Is compare by reason within a domain, for tests and for callers inside the server.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Reason == e.Reason && t.domain() == e.domain()
}

func (e *Error) domain() string {
	if e.Domain == "" {
		return Domain
	}
	return e.Domain
}

// GRPCStatus renders the error for gRPC: ErrorInfo always, the other details where they say something.
func (e *Error) GRPCStatus() *status.Status {
	info := &errdetails.ErrorInfo{Reason: e.Reason, Domain: e.domain(), Metadata: map[string]string{
		"error_type": cmp.Or(e.Type, e.PublicType()),
		"error_url":  cmp.Or(e.URL, e.page()),
	}}
	if e.UpstreamStatus != 0 {
		info.Metadata["http_status"] = strconv.Itoa(e.UpstreamStatus)
	}
	details := []protoadapt.MessageV1{info}
	if e.RequestID != "" {
		info.Metadata["request_id"] = e.RequestID
		details = append(details, &errdetails.RequestInfo{RequestId: e.RequestID})
	}
	if len(e.Violations) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range e.Violations {
			bad.FieldViolations = append(bad.FieldViolations,
				&errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description})
		}
		details = append(details, bad)
	}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if e.Help != "" {
		details = append(details, &errdetails.Help{Links: []*errdetails.Help_Link{
			{Description: e.Help, Url: e.page()},
		}})
	}
	st := status.New(e.Code, e.Message)
	if with, err := st.WithDetails(details...); err == nil {
		return with
	}
	// Unreachable while every detail is a well-formed message; the code and the text matter more than the details.
	return st
}

// Invalid is the error for a request with bad fields. It names every one of them.
func Invalid(violations ...Violation) *Error {
	texts := make([]string, len(violations))
	for i, v := range violations {
		texts[i] = v.Field + ": " + v.Description
	}
	return &Error{
		Code:       codes.InvalidArgument,
		Reason:     InvalidRequest,
		Message:    strings.Join(texts, "; "),
		Violations: violations,
	}
}

// From returns err as an Error; whatever wraps one is dropped. An error that is none, because it comes from a library or
// from a defect, keeps its code and loses its text: that text was not written for callers.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	st := status.Convert(err)
	if st.Code() == codes.Unknown {
		// UNKNOWN is this service's word for "the effect may have happened": a stray Go error must not say it.
		return &Error{Code: codes.Internal, Reason: Internal, Message: "internal error"}
	}
	return &Error{Code: st.Code(), Reason: reasonOf(st.Code()), Message: "the call failed"}
}

func reasonOf(c codes.Code) string {
	switch c {
	case codes.Canceled:
		return Cancelled
	case codes.InvalidArgument:
		return InvalidRequest
	default:
		return Internal
	}
}
