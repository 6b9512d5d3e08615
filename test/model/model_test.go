// Package model plays random histories to running servers and holds what callers were told against what the sandbox has
// done. It knows the contract, the documented outcomes and the sandbox's record, and nothing of the server's insides.
//
// A run is a plan that follows from a seed: many callers at once, who share keys on purpose, call members that break
// in all ways, go away, and try again. The order in which their calls meet is the machine's, so a seed that has failed
// need not fail each time. Play it until it does:
//
//	go test ./test/model -run TestModel -model.seed=SEED -model.time=1m
package model

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"recoverycodes.internal/test/daemon"
)

var (
	length = flag.Duration("model.time", 5*time.Second, "how long to begin new runs")
	seed   = flag.Uint64("model.seed", 0, "play this seed alone, again and again; 0 draws one for each run")
	// Keys are kept in each server's memory: with more servers than one a key has more effects than one.
	number = flag.Int("model.servers", 1, "how many servers stand before the sandbox")
)

func TestMain(m *testing.M) {
	m.Run()
	daemon.Remove()
}

// TestModel plays plans until the time is up, and wants every outcome to have been reached.
func TestModel(t *testing.T) {
	counts := map[verdict]int{}
	end := time.Now().Add(*length)
	for runs := 1; ; runs++ {
		this := *seed
		if this == 0 {
			this = 1 + rand.Uint64N(1<<32)
		}
		t.Run(fmt.Sprint("seed=", this), func(t *testing.T) {
			for _, wrong := range run(t, newPlan(this, groups), *number, counts) {
				t.Error(wrong)
			}
			if t.Failed() {
				t.Logf("to play it again: go test ./test/model -run TestModel -model.seed=%d", this)
			}
		})
		if t.Failed() || time.Now().After(end) {
			t.Logf("%d runs: %v", runs, counts)
			break
		}
	}
	for _, want := range []verdict{done, refused, notSent, unknown, lost, gone, failed, replayed} {
		if counts[want] == 0 {
			t.Errorf("nobody was told %q", want)
		}
	}
}

// replayed is counted beside the verdicts: an answer with any of them that was given before.
const replayed verdict = "replayed"

// run plays a plan to a sandbox and servers of its own and returns what is wrong, group by group.
func run(t *testing.T, p plan, number int, counts map[verdict]int) []string {
	t.Helper()
	sandbox := daemon.StartSandbox(t, false)
	servers := make([]*server, number)
	for i := range servers {
		servers[i] = newServer(t, sandbox)
	}
	p.play(t.Context(), servers)
	for _, s := range servers {
		s.stop(t) // so that what callers did not wait for is over
	}
	before, err := records(t.Context(), sandbox)
	if err != nil {
		t.Fatal(err)
	}
	var wrong []string
	fresh := newServer(t, sandbox)
	for _, g := range p {
		r, known := before[g.member]
		if !known { // no call about the member has arrived
			r.Codes = []string{code}
		}
		found := g.check(r)
		if g.unresolved() && g.answersGet() {
			found = append(found, g.resolve(t.Context(), fresh, r)...)
		}
		for _, violation := range found {
			wrong = append(wrong, fmt.Sprintf("%s\n%v", violation, g))
		}
		for _, told := range g.history {
			counts[told.verdict]++
			if told.replayed {
				counts[replayed]++
			}
		}
	}
	after, err := records(t.Context(), sandbox)
	if err != nil {
		t.Fatal(err)
	}
	for member, r := range before {
		if after[member].Effects != r.Effects {
			wrong = append(wrong, fmt.Sprintf("%s: %+v became %+v when everything was over", member, r.Effects, after[member].Effects))
		}
	}
	return wrong
}

// resolve takes the way out of an unknown outcome: Get has to tell what happened.
func (g *group) resolve(ctx context.Context, s *server, r record) []string {
	told := s.ask(ctx, grpcDoor, get, g.member, "")
	taken := r.Effects.Recover+r.Effects.Rotate > 0
	switch {
	case told.verdict != done:
		return []string{fmt.Sprintf("Get does not tell what an unknown call came to: %s", told.text)}
	case taken && !slices.Equal(told.answer.RecoveryCodes, r.Codes):
		return []string{"Get lists other codes than the member has"}
	case taken == slices.Contains(told.answer.RecoveryCodes, code):
		return []string{"Get does not show that the code was taken, or shows it of one that was not"}
	}
	return nil
}
