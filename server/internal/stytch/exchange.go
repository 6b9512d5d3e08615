package stytch

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// An Exchange is what is known after one request: whether it may have left, and what came back. It is a plain
// report; what it means for a caller is decided elsewhere.
type Exchange struct {
	// Sent is false only when it is certain that no byte of the request's body (of a Get: of the request) left.
	Sent bool

	// Status is the HTTP status, 0 when no response header arrived. It is kept whatever became of the body.
	Status int

	// Body is the whole body, at most Config.MaxAnswerBytes. It is nil when Fault is set. The caller owns it.
	Body []byte

	// RetryAfter is what the response said about waiting, 0 when it said nothing usable.
	RetryAfter time.Duration

	// Fault is what cut the exchange short, empty when a whole response was read.
	Fault Fault
}

// A Fault is a class of failure. Go's error texts are not kept: they can hold the upstream's address and bytes.
type Fault string

// The faults, named for logs and metrics.
const (
	FaultBadID     Fault = "bad_id"    // an id that is no path segment; nothing was tried
	FaultCancelled Fault = "cancelled" // the caller went away
	FaultDeadline  Fault = "no_time"   // the caller's deadline passed
	FaultTimeout   Fault = "timeout"   // the upstream did not answer within this client's own limits
	FaultResolve   Fault = "resolve"   // the name did not resolve
	FaultConnect   Fault = "connect"   // no connection
	FaultTLS       Fault = "tls"       // no trusted connection
	FaultReset     Fault = "reset"     // the connection ended before a whole response was read
	FaultTooLarge  Fault = "too_large" // the body exceeds the limit
	FaultOther     Fault = "transport" // anything else the transport reports
)

// An ErrorBody is Stytch's description of a failure.
type ErrorBody struct {
	RequestID    string `json:"request_id"`
	ErrorType    string `json:"error_type"`
	ErrorMessage string `json:"error_message"`
	ErrorURL     string `json:"error_url"`
}

// ErrorBody reads the body as Stytch's error, and reports whether it is one: infrastructure in front of Stytch
// answers HTML, or JSON of its own, under the same statuses.
func (x *Exchange) ErrorBody() (ErrorBody, bool) {
	var body ErrorBody
	if err := json.Unmarshal(x.Body, &body); err != nil || body.ErrorType == "" {
		return ErrorBody{}, false
	}
	return body, true
}

// maxRetryAfter bounds what is believed of a Retry-After: rate windows are at most an hour (Stytch: top of the hour).
const maxRetryAfter = time.Hour

// retryAfter reads the header in its two forms, seconds and date.
func retryAfter(h http.Header, now func() time.Time) time.Duration {
	value := h.Get("Retry-After")
	if value == "" {
		return 0
	}
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now())
	}
	return min(max(wait, 0), maxRetryAfter)
}
