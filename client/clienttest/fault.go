package clienttest

import (
	"fmt"
	"time"

	"recoverycodes.internal/server/servertest"
)

// A Fault is what goes wrong at Stytch with each call about a member. Those named here are what a caller of the service
// has to be ready for; every other KIND that docs/sandbox.md lists is one too, such as Fault("html-502").
//
// What a Recover or Rotate then comes to is said as client.Outcome. A Get has no effect and fails as UNAVAILABLE, after the
// service has sent it again, unless it is said otherwise.
type Fault string

const (
	// NoFault is none: the call succeeds.
	NoFault Fault = "slow-0"

	// LostBeforeEffect breaks the connection before anything was done: Unknown, since nobody can tell it from the next.
	LostBeforeEffect Fault = "reset-before-effect"

	// LostAfterEffect breaks the connection when everything was done: Unknown.
	LostAfterEffect Fault = "reset-after-effect"

	// AnswerLost does everything and sends half of the answer: Unknown, with the reason ANSWER_LOST.
	AnswerLost Fault = "truncated"

	// Failing answers 500 and does nothing: Unknown.
	Failing Fault = "status-500"

	// RateLimited answers 429 and does nothing: Refused, as RESOURCE_EXHAUSTED. A Get is too.
	RateLimited Fault = "rate-limited"

	// Misconfigured rejects the credentials of the service and does nothing: Refused, as INTERNAL. A Get is too.
	Misconfigured Fault = "bad-credentials"
)

// Slow does everything at once and holds the answer back for so long, ten minutes at most. A caller who does not wait for it
// has an Unknown outcome.
func Slow(d time.Duration) Fault { return Fault(fmt.Sprintf("slow-%d", d.Milliseconds())) }

// Member returns the id of a member to whom the fault happens, in the first organization of the seed. Each name makes
// another member, with ten codes and counts of its own: the name of the test is a good one.
func (f Fault) Member(name string) string { return servertest.FaultMember(string(f), name) }
