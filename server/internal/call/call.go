// Package call is the record of one call on its way through the server: which door it came in by, its request
// id, what was learned upstream and how it ended. It is the one typed slot that travels beside the message, from
// the door to the service and back.
//
// It holds no payload but the upstream's own answer, on its way to the REST caller, and the caller's idempotency key. It
// knows no gRPC and no HTTP.
package call

import (
	"context"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/trace"

	"recoverycodes.internal/server/internal/audit"
)

// RequestIDKey is the metadata key and, in REST, the header in which a caller may propose a request id and in which the
// one used is returned.
const RequestIDKey = "x-request-id"

// IdempotencyKey is the metadata key and, in REST, the header of an idempotency key, and ReplayedKey that of the mark on
// an answer that was given before.
const (
	IdempotencyKey = "idempotency-key"
	ReplayedKey    = "idempotency-replayed"
)

// A Door is the protocol by which a call came in.
type Door string

// The two doors.
const (
	GRPC Door = "grpc"
	REST Door = "rest"
)

// An Outcome says what became of a call upstream. It is what an operator wants to count first.
type Outcome string

// The outcomes of a call. The zero value belongs to calls that concern no recovery code, such as health checks.
const (
	Done    Outcome = "done"             // the upstream did it and its answer was delivered to the door
	Refused Outcome = "refused"          // refused, by this server or by the upstream: no effect
	NotSent Outcome = "not_sent"         // nothing left this server: no effect, safe to send again
	Unknown Outcome = "unknown"          // the request may have left and no usable verdict came back
	Lost    Outcome = "answer_lost"      // the upstream did it and its answer could not be used
	Failed  Outcome = "upstream_failure" // a Get that failed upstream: no effect by nature
)

// Call is the record of one call. One goroutine writes it at a time: the door, then the handler, then the door.
type Call struct {
	Door      Door
	Method    string // full RPC name, "/package.Service/Method"; empty until the route is known
	RequestID string // ours; never empty
	Start     time.Time
	Caller    string // as the policy names who calls; empty until that is known

	// Whom a call is about, as its request names them, and the fingerprint of the code in it. They are for the audit log.
	Organization, Member, CodeFingerprint string
	// Place is kept for the call's audit line; nil when none is.
	Place *audit.Place

	// IdempotencyKeys are the idempotency keys that the caller gave: at most one is right. They are secrets.
	IdempotencyKeys []string
	Replayed        bool // the answer was given before, to a call with the same key
	GaveUp          bool // it ended while another with the same key was under way, whose record has what came of both

	Outcome           Outcome
	UpstreamStatus    int    // HTTP status, 0 when none arrived
	UpstreamRequestID string // Stytch's request id, empty when none arrived
	UpstreamFault     string // the class of failure when the exchange was cut short
	UpstreamTime      time.Duration
	Retries           int // how often a Get was sent again

	// Answer is the upstream's JSON, kept for the REST door only. It is a secret.
	Answer []byte

	// Span is the call's place in a trace; nil when it has none.
	Span trace.Span

	// Reported is set once the end of the call has been noted, so that exactly one line is written whichever part of
	// the server ends it.
	Reported bool
}

// New starts the record of a call. requestID is the caller's proposal for the request id; one that is not short,
// plain text is replaced by an id of our own.
func New(door Door, requestID string) *Call {
	if !sane(requestID) {
		requestID = newID()
	}
	return &Call{Door: door, RequestID: requestID, Start: time.Now()}
}

// newID is a request id of this server: "rc-" and 130 random bits. It names a call in logs and gives no right to
// anything, so that nobody gains from guessing one.
func newID() string {
	const alphabet, letters, perWord = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 26, 12 // of 5 bits, out of 64
	id := append(make([]byte, 0, len("rc-")+letters), "rc-"...)
	var bits uint64
	for i := range letters {
		if i%perWord == 0 {
			bits = rand.Uint64() //nolint:gosec // G404: see above
		}
		id = append(id, alphabet[bits%32])
		bits /= 32
	}
	return string(id)
}

// sane reports whether an id from outside may be echoed and logged: 1 to 128 letters, digits, and "-_.:/+=".
func sane(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=':
		default:
			return false
		}
	}
	return true
}

type contextKey struct{}

// NewContext returns a context that carries c.
func NewContext(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the call that ctx carries, or nil when there is none: code that runs outside the chain.
func FromContext(ctx context.Context) *Call {
	c, _ := ctx.Value(contextKey{}).(*Call)
	return c
}
