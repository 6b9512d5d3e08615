package model

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// An operation is one of the three RPCs.
type operation string

const (
	get      operation = "Get"
	recovery operation = "Recover"
	rotate   operation = "Rotate"
)

// A door is a way to the service. repeating is gRPC through a client that sends every failed call again, whatever its
// status, five times in all.
type door int

const (
	grpcDoor door = iota
	repeating
	rest
)

// A plan is what a run does. All of it follows from the seed; how the calls interleave is the machine's.
type plan []*group

// A group is all that is done about one member, so that the effects on the member are the effects of the group. With a
// key, every call of it bears the same one. Without, each call stands for itself.
type group struct {
	member  string
	kind    string // of the member's fault
	key     string // "" for none
	callers []caller

	history     []told // written while the group is played
	unprotected int    // effects that a call had once more because a server died before its answer began
}

// A caller makes one call and, while it fails in a way that allows it, makes it again.
type caller struct {
	op    operation
	door  door
	tries []try
}

// A try is one call that a caller makes.
type try struct {
	server   int           // modulo the number of servers
	pause    time.Duration // before the call
	patience time.Duration // after which the caller goes away; 0 for never
	deadline bool          // the caller goes by a deadline, which gRPC tells the server, and not by cancelling
}

const (
	// groups is how many groups a run has: a few seconds of calls.
	groups = 200
	// slots is how many calls a server has at the upstream at once. It is few, so that calls are refused unsent.
	slots = 12
	// crowd is how many callers come at once in one group of a run: more than there are slots.
	crowd = 3 * slots
)

// drawKind draws the fault of a member: in four of ten none, which is slow-0, or next to none, and seldom one that
// outlasts the server's patience with its upstream.
func drawKind(r *rand.Rand) string {
	switch n := r.IntN(100); {
	case n < 25:
		return "slow-0"
	case n < 40:
		return "slow-50"
	case n == 40:
		return "slow-2500"
	default:
		kinds := []string{
			"reset-before-effect", "reset-after-effect", "status-500-after-effect", "html-502", "truncated", "not-json",
			"rate-limited", "status-401",
		}
		return kinds[r.IntN(len(kinds))]
	}
}

func newPlan(seed uint64, groups int) plan {
	r := rand.New(rand.NewPCG(seed, 0))
	p := make(plan, groups)
	for i := range p {
		p[i] = newGroup(r, fmt.Sprintf("%d-%d", seed, i))
	}
	p[r.IntN(len(p))] = newCrowd(fmt.Sprintf("%d-crowd", seed))
	return p
}

func newGroup(r *rand.Rand, name string) *group {
	g := &group{kind: drawKind(r)}
	g.member = "member-test-fault-" + g.kind + "~" + name
	op, other := recovery, rotate
	if r.IntN(2) == 0 {
		op, other = other, op
	}
	callers := 1 + r.IntN(2)
	if r.IntN(5) < 3 {
		g.key = "key-" + name
		callers = 1 + r.IntN(5)
	}
	for range callers {
		c := caller{op: op, door: door(r.IntN(3)), tries: make([]try, 1+r.IntN(4))}
		switch n := r.IntN(10); {
		case n < 2:
			c.op = get
		case n == 2: // with a key, it is another request under the same key
			c.op = other
		}
		for i := range c.tries {
			t := &c.tries[i]
			t.server = r.IntN(1 << 10)
			t.pause = time.Duration(r.IntN(30)) * time.Millisecond
			if r.IntN(3) == 0 {
				// Half of them within the time of a call that is not slow.
				t.patience = time.Duration(1+r.IntN([]int{5_000, 100_000}[r.IntN(2)])) * time.Microsecond
				t.deadline = r.IntN(2) == 0
			}
		}
		g.callers = append(g.callers, c)
	}
	return g
}

// newCrowd is the group that no server has slots enough for.
func newCrowd(name string) *group {
	g := &group{kind: "slow-200", member: "member-test-fault-slow-200~" + name}
	for i := range crowd {
		g.callers = append(g.callers, caller{op: rotate, door: []door{grpcDoor, rest}[i%2], tries: make([]try, 1)})
	}
	return g
}
