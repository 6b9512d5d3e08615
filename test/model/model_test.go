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
	"bytes"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"recoverycodes.internal/test/daemon"
)

var (
	length = flag.Duration("model.time", 5*time.Second, "how long to begin new runs")
	seed   = flag.Uint64("model.seed", 0, "play this seed alone, again and again; 0 draws one for each run")
)

func TestMain(m *testing.M) {
	m.Run()
	daemon.Remove()
}

// TestModel plays plans to one server, which keeps keys in its memory.
func TestModel(t *testing.T) {
	play(t, func(t *testing.T, seed uint64, counts map[verdict]int) []string {
		return run(t, newPlan(seed, groups), counts, func(sandbox *daemon.Sandbox) *fleet { return newFleet(t, sandbox, 1) }, nil)
	})
}

// TestModelOfReplicas plays plans to two servers that share a store and are killed and replaced all the time. Then it
// searches the store.
func TestModelOfReplicas(t *testing.T) {
	redis := daemon.StartRedis(t)
	play(t, func(t *testing.T, seed uint64, counts map[verdict]int) []string {
		p := newPlan(seed, groups)
		wrong := run(t, p, counts,
			func(sandbox *daemon.Sandbox) *fleet { return newFleet(t, sandbox, 2, replicas(t, redis)...) },
			func(f *fleet, played <-chan struct{}) {
				if f.die(seed, played) == 0 {
					t.Error("no server died")
				}
			})
		return append(wrong, p.search(redis.Dump(t))...)
	})
}

// play runs random seeds until the time is up and every outcome has been reached, for which a few runs have to be enough.
func play(t *testing.T, run func(*testing.T, uint64, map[verdict]int) []string) {
	t.Helper()
	const enough = 6
	counts := map[verdict]int{}
	missing := func(want verdict) bool { return counts[want] == 0 }
	end := time.Now().Add(*length)
	for runs := 1; ; runs++ {
		this := *seed
		if this == 0 {
			this = 1 + rand.Uint64N(1<<32)
		}
		t.Run(fmt.Sprint("seed=", this), func(t *testing.T) {
			for _, wrong := range run(t, this, counts) {
				t.Error(wrong)
			}
			if t.Failed() {
				t.Logf("to play it again: go test ./test/model -run '%s' -model.seed=%d", strings.SplitN(t.Name(), "/", 2)[0], this)
			}
		})
		if t.Failed() || time.Now().After(end) && (runs >= enough || !slices.ContainsFunc(outcomes, missing)) {
			t.Logf("%d runs: %v", runs, counts)
			break
		}
	}
	for _, want := range outcomes {
		if missing(want) {
			t.Errorf("nobody was told %q", want)
		}
	}
}

// outcomes are what callers have to have been told, each at least once.
var outcomes = []verdict{done, refused, notSent, unknown, lost, gone, failed, replayed}

// replayed is counted beside the verdicts: an answer with any of them that was given before.
const replayed verdict = "replayed"

// unprotected is counted beside them too: effects that a call without a key had once more, because it was sent again
// before its answer had begun. No server can help that.
const unprotected verdict = "unprotected"

// run plays a plan to a sandbox of its own and to the servers that start makes, while disturb, if there is one, has its
// way with them. It returns what is wrong, group by group.
func run(t *testing.T, p plan, counts map[verdict]int, start func(*daemon.Sandbox) *fleet, disturb func(*fleet, <-chan struct{})) []string {
	t.Helper()
	sandbox := daemon.StartSandbox(t, false)
	f := start(sandbox)
	played := make(chan struct{})
	go func() {
		defer close(played)
		p.play(t.Context(), f)
	}()
	if disturb != nil {
		disturb(f, played)
	}
	<-played
	f.stop() // so that what callers did not wait for is over
	before, err := settled(t.Context(), sandbox)
	if err != nil {
		t.Fatal(err)
	}
	var wrong []string
	fresh := f.newServer()
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
		counts[unprotected] += g.unprotected
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
	told := askGRPC(ctx, s.plain, get, g.member, "")
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

// search looks for what callers sent and got in what the store holds.
func (p plan) search(dump []byte) []string {
	var wrong []string
	searched := 0
	look := func(what, text string) {
		if text == "" {
			return
		}
		searched++
		for _, form := range forms(text) {
			if bytes.Contains(dump, form) {
				wrong = append(wrong, "the store shows "+what)
				return
			}
		}
	}
	look("a recovery code", code)
	look("an organization", organization)
	for _, g := range p {
		look("a key", g.key)
		look("a member", g.member)
		for _, t := range g.history {
			look("a session token", t.answer.SessionToken)
			for _, code := range t.answer.RecoveryCodes {
				look("a code that was minted", code)
			}
		}
	}
	if searched < 100 || len(dump) < 1000 {
		wrong = append(wrong, fmt.Sprintf("only %d texts were looked for in %d bytes", searched, len(dump)))
	}
	return wrong
}

// forms are how a text looks as it is and in base64, wherever in what was encoded it began.
func forms(text string) [][]byte {
	found := [][]byte{[]byte(text)}
	for skip := range 3 {
		if inner := text[min(skip, len(text)):]; len(inner) >= 9 {
			inner = inner[:len(inner)/3*3]
			found = append(found, []byte(base64.StdEncoding.EncodeToString([]byte(inner))))
		}
	}
	return found
}
