package model

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A verdict is what a caller knows after a call.
type verdict string

const (
	done       verdict = "done"
	refused    verdict = "refused"  // no effect
	notSent    verdict = "not sent" // no effect
	unknown    verdict = "unknown"
	lost       verdict = "lost"   // the effect is certain
	failed     verdict = "failed" // a Get
	gone       verdict = "gone"   // the caller did not wait for a verdict
	unexpected verdict = "unexpected"
)

// verdictOf reads the reason of an error. Without a reason, nobody has told the caller anything.
func verdictOf(reason string) verdict {
	switch reason {
	case "":
		return gone
	case "NOT_SENT", "CANCELLED":
		return notSent
	case "OUTCOME_UNKNOWN":
		return unknown
	case "ANSWER_LOST":
		return lost
	case "UPSTREAM_FAILED", "UPSTREAM_TIMEOUT":
		return failed
	case keyReused, rateLimited, "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE":
		return refused
	default: // nothing in a plan earns another
		return unexpected
	}
}

const (
	keyReused   = "IDEMPOTENCY_KEY_REUSED"
	rateLimited = "TOO_MANY_REQUESTS"
)

// told is what one call came to, for its caller.
type told struct {
	op           operation
	verdict      verdict
	reason       string // of an error
	text         string // for a person who looks for the cause
	replayed     bool
	hurried      bool // the caller would not wait for ever
	deaths       int  // servers that died meanwhile
	header       bool // an answer had begun when it failed
	rest         bool // by REST, where nothing can be sent ahead
	attempts     int  // of the repeating client
	begunAgain   bool // it sent the call again after an answer had begun
	answer       answer
	begun, ended time.Time
}

// check holds what the callers of a group were told against what the sandbox has done, and returns what does not fit.
func (g *group) check(r record) []string {
	var (
		wrong     []string
		sure      int // calls that had their effect
		maybe     int // calls of which it is not known
		again     int // times that a call may have been sent again because a server died before its answer began
		effects   = r.Effects.Recover + r.Effects.Rotate
		violation = func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	)
	for _, t := range g.history {
		switch {
		case t.verdict == unexpected:
			violation("an answer that nothing here earns: %s %s", t.reason, t.text)
		case t.begunAgain:
			violation("a call was sent again after its answer had begun")
		case (t.verdict == unknown || t.verdict == lost) && !t.header && !t.rest && !t.replayed && !t.hurried && g.key == "":
			violation("an outcome is %s, and no header went ahead of the call", t.verdict)
		case t.verdict == gone && !t.hurried && t.deaths == 0:
			violation("a caller who waited was told nothing: %s", t.text)
		case t.replayed && (g.key == "" || t.op == get):
			violation("a call without a key was given the answer of another")
		case t.verdict == failed && t.op != get:
			violation("a %s is said to have failed without an effect: %s", t.op, t.reason)
		case t.op == get: // has no effect
		case t.verdict == done, t.verdict == lost:
			sure++
		case t.verdict == unknown, t.verdict == gone:
			maybe++
		}
		if t.op != get {
			again += min(t.deaths, max(t.attempts-1, 0))
		}
	}
	if g.key != "" {
		if effects > 1 {
			violation("%d effects for one key", effects)
		}
		sure = min(sure, 1)
		maybe = min(maybe, 1-sure)
		wrong = append(wrong, g.checkReplays()...)
	}
	if effects < sure {
		violation("%d effects, and %d were told", effects, sure)
	}
	if g.key == "" && effects > sure+maybe && effects <= sure+maybe+again {
		// The header was still under way, or not yet sent, when the server died: what the fuse cannot do.
		g.unprotected = effects - sure - maybe
	} else if effects > sure+maybe && (g.key == "" || effects == 1) {
		violation("%d effects, of calls that at most %d times say they may have had one", effects, sure+maybe)
	}
	if listed := slices.Contains(r.Codes, code); listed != (effects == 0) {
		violation("after %d effects the code is listed: %t, so that nobody can tell what an unknown call came to", effects, listed)
	}
	return append(wrong, g.checkAnswers(r, effects)...)
}

// checkReplays: one key has one verdict and one answer, which one call at most is given first. What is freed (nothing
// was sent, the rate is limited) is no verdict on the key, nor is what concerns another request under it. A caller in a
// hurry may be told that the outcome is unknown while it is not yet.
func (g *group) checkReplays() []string {
	var wrong []string
	verdicts, answers, first := map[verdict]bool{}, map[string]bool{}, 0
	for _, t := range g.history {
		if t.op != get && t.verdict == notSent && t.reason == "NOT_SENT" && g.knownBefore(t) {
			wrong = append(wrong, "a call is said not to have been sent, whose key had come to something else")
		}
	}
	for _, t := range g.history {
		final := t.verdict == done || t.verdict == lost || t.verdict == unknown && !t.hurried ||
			t.verdict == refused && t.reason != keyReused && t.reason != rateLimited
		if t.op == get || !final {
			continue
		}
		verdicts[t.verdict] = true
		if t.verdict == done {
			answers[t.answer.SessionToken+strings.Join(t.answer.RecoveryCodes, " ")] = true
			if !t.replayed {
				first++
			}
		}
	}
	if len(verdicts) > 1 {
		wrong = append(wrong, fmt.Sprintf("one key has %d verdicts: %v", len(verdicts), verdicts))
	}
	if len(answers) > 1 || first > 1 {
		wrong = append(wrong, fmt.Sprintf("one key has %d answers, of which %d are no replays", len(answers), first))
	}
	return wrong
}

// checkAnswers holds the codes in the answers against what has happened. Any effect on a member takes the code.
func (g *group) checkAnswers(r record, effects int) []string {
	var wrong []string
	for _, t := range g.history {
		listed := slices.Contains(t.answer.RecoveryCodes, code)
		switch {
		case t.verdict != done:
		case t.op == recovery:
			if t.answer.SessionToken == "" {
				wrong = append(wrong, "a Recover succeeded without a session")
			}
		case t.op == rotate:
			if effects == 1 && !slices.Equal(t.answer.RecoveryCodes, r.Codes) {
				wrong = append(wrong, "a Rotate returned codes that are not the member's")
			}
		case !listed && effects == 0:
			wrong = append(wrong, "a Get does not list a code that nothing has taken")
		case listed && g.takenBefore(t.begun):
			wrong = append(wrong, "a Get lists a code of which an earlier call said that it is taken")
		}
	}
	return wrong
}

// knownBefore reports whether what the key of a call has come to was told before it began.
func (g *group) knownBefore(call told) bool {
	return slices.ContainsFunc(g.history, func(t told) bool {
		final := t.verdict == done || t.verdict == lost || t.verdict == unknown && !t.hurried
		return t.op == call.op && final && t.ended.Before(call.begun)
	})
}

// takenBefore reports whether a caller knew by then that the code is taken.
func (g *group) takenBefore(begun time.Time) bool {
	return slices.ContainsFunc(g.history, func(t told) bool {
		return t.op != get && (t.verdict == done || t.verdict == lost) && t.ended.Before(begun)
	})
}

// unresolved reports whether a caller is left with a Recover or Rotate of which it does not know what it came to, or
// whose answer it does not have.
func (g *group) unresolved() bool {
	return slices.ContainsFunc(g.history, func(t told) bool {
		return t.op != get && (t.verdict == unknown || t.verdict == gone || t.verdict == lost)
	})
}

// answersGet reports whether a Get about the member succeeds. About the others only the sandbox's state tells: what
// broke the Recover breaks the Get too.
func (g *group) answersGet() bool {
	return g.kind == "slow-0" || g.kind == "slow-50" || g.kind == "slow-200"
}

func (g *group) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s, key %q", g.member, g.key)
	history := slices.SortedFunc(slices.Values(g.history), func(a, b told) int { return a.begun.Compare(b.begun) })
	for _, t := range history {
		fmt.Fprintf(&s, "\n\t%s to %s: %s %s %s %s", t.begun.Format("05.000000"), t.ended.Format("05.000000"), t.op, t.verdict, t.reason, t.text)
		if t.replayed {
			s.WriteString(" (replayed)")
		}
	}
	return s.String()
}
