package sandbox

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A fault member is named faultPrefix, the kind of its fault, and optionally
// faultSuffix with anything behind it, so that each test can have its own.
const (
	faultPrefix = "member-test-fault-"
	faultSuffix = "~"
	afterEffect = "-after-effect"
)

// maxSlow bounds the delay that a slow member can ask for.
const maxSlow = 10 * time.Minute

// fault is what goes wrong in every call about one member: it answers the
// exchange, or fails to. The call takes effect if it calls exchange.take.
type fault func(*exchange)

// exchange is one request to a fault member, authenticated and well-formed.
type exchange struct {
	w    http.ResponseWriter
	r    *http.Request
	take func() (document, *failure) // performs the call; to be called at most once
}

func (x *exchange) wire() wire { return wireOf(x.w, x.r) }

// plainFaults are the kinds that are named without a number. Each is listed
// in docs/sandbox.md.
var plainFaults = map[string]fault{
	"reset-before-effect":         func(x *exchange) { x.wire().reset() },
	"reset-after-effect":          after(func(x *exchange) { x.wire().reset() }),
	"refused-stream-after-effect": after(func(x *exchange) { x.wire().refuse() }),
	"goaway-after-effect":         after(func(x *exchange) { x.wire().goAway() }),
	"html-502":                    func(x *exchange) { badGateway.write(x.w) },
	"html-502" + afterEffect:      after(func(x *exchange) { badGateway.write(x.w) }),
	"rate-limited":                instead(&failure{http.StatusTooManyRequests, "too_many_requests", "Too many requests. Try again later."}),
	"bad-credentials":             instead(unauthorizedCredentials),
	"redirect":                    redirect(http.StatusTemporaryRedirect),
	"truncated":                   damaged(nil, func(x *exchange, r reply) { r.writeFirst(x.w, len(r.body)/2) }),
	"not-json":                    damaged(nil, rewritten(func([]byte) []byte { return []byte("not JSON, although it says so\n") })),
	"huge":                        damaged(markPadding, rewritten(writePadding)),
	"unknown-fields":              damaged(addUnknownFields, nil),
	"wrong-types":                 damaged(changeTypes, nil),
	"bad-utf8":                    damaged(markBadText, rewritten(writeBadText)),
	"deep":                        damaged(nestDeeply, nil),
	"idle-blackhole":              func(x *exchange) { x.wire().answerAndSwallow(outcome(x.take())) },
}

// parseFault returns the fault of the member with this id, and nil when it is
// not the id of a fault member.
func parseFault(memberID string) fault {
	name, ok := strings.CutPrefix(memberID, faultPrefix)
	if !ok {
		return nil
	}
	name, _, _ = strings.Cut(name, faultSuffix)
	if f, ok := plainFaults[name]; ok {
		return f
	}
	return numberedFault(name)
}

// numberedFault reads slow-MS, status-NNN, status-NNN-after-effect and
// redirect-NNN.
func numberedFault(name string) fault {
	stem, late := strings.CutSuffix(name, afterEffect)
	kind, digits, _ := strings.Cut(stem, "-")
	number, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || late && kind != "status" {
		return nil
	}
	n := int(number)
	switch {
	case kind == "slow" && n <= int(maxSlow.Milliseconds()):
		return slow(time.Duration(n) * time.Millisecond)
	case kind == "status" && n >= 400 && n <= 599:
		if late {
			return after(instead(failureOf(n)))
		}
		return instead(failureOf(n))
	case kind == "redirect" && (n >= 301 && n <= 303 || n == 307 || n == 308):
		return redirect(n)
	}
	return nil
}

// after lets the call take effect and then fail, whatever the effect was.
func after(fail fault) fault {
	return func(x *exchange) {
		_, _ = x.take() // the answer is what this fault withholds
		fail(x)
	}
}

// instead answers with an error and without an effect.
func instead(f *failure) fault {
	return func(x *exchange) { f.reply().write(x.w) }
}

// slow lets the call take effect at once and holds the answer back.
func slow(delay time.Duration) fault {
	return func(x *exchange) {
		r := outcome(x.take())
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
			r.write(x.w)
		case <-x.r.Context().Done():
			panic(http.ErrAbortHandler) // nobody is left to answer
		}
	}
}

// damaged performs the call and spoils the answer if it is a good one: change
// alters the document, send delivers it. Either may be nil.
func damaged(change func(document), send func(*exchange, reply)) fault {
	return func(x *exchange) {
		answer, fail := x.take()
		if fail != nil {
			fail.reply().write(x.w)
			return
		}
		if change != nil {
			change(answer)
		}
		if send == nil {
			answerReply(answer).write(x.w)
			return
		}
		send(x, answerReply(answer))
	}
}

// rewritten delivers a reply with its bytes changed.
func rewritten(change func([]byte) []byte) func(*exchange, reply) {
	return func(x *exchange, r reply) {
		r.body = change(r.body)
		r.write(x.w)
	}
}

// badGateway is what a proxy in front of Stytch answers when it cannot go on.
var badGateway = reply{http.StatusBadGateway, "text/html; charset=utf-8",
	[]byte("<html>\n<head><title>502 Bad Gateway</title></head>\n<body><h1>502 Bad Gateway</h1></body>\n</html>\n")}

// failureOf returns an error with the status, of a type that goes with it.
func failureOf(status int) *failure {
	kinds := map[int]string{
		400: "bad_request",
		401: "unable_to_authenticate_recovery_code",
		403: "organization_suspended",
		404: "member_not_found",
		405: "method_not_allowed",
		429: "too_many_requests",
		499: "client_closed_request",
		503: "server_unavailable",
	}
	kind := kinds[status]
	switch {
	case kind != "":
	case status >= http.StatusInternalServerError:
		kind = "internal_server_error"
	default:
		kind = "bad_request"
	}
	return &failure{status, kind, "The sandbox was asked for this status."}
}
