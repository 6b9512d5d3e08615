package model

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"recoverycodes.internal/test/daemon"
)

// history makes calls that follow one another.
func history(calls ...told) []told {
	now := time.Unix(0, 0)
	for i := range calls {
		calls[i].begun, calls[i].ended = now.Add(time.Duration(2*i)), now.Add(time.Duration(2*i+1))
	}
	return calls
}

// TestCheckFindsViolations gives the checker histories that were made up: it has to find what is wrong with each and
// nothing in those that are right.
func TestCheckFindsViolations(t *testing.T) {
	var (
		minted    = []string{"a", "b"}
		untouched = record{Codes: []string{code}}
		recovered = record{Effects: daemon.Counts{Recover: 1}}
		rotated   = record{Effects: daemon.Counts{Rotate: 1}, Codes: minted}
		thrice    = record{Effects: daemon.Counts{Rotate: 3}, Codes: minted}
		twice     = record{Effects: daemon.Counts{Rotate: 2}, Codes: minted}

		recoverDone = told{op: recovery, verdict: done, answer: answer{SessionToken: "s"}}
		rotateDone  = told{op: rotate, verdict: done, answer: answer{RecoveryCodes: minted}}
		nothingLeft = told{op: recovery, verdict: notSent}
		rotateLost  = told{op: rotate, verdict: lost, header: true}
		rotateMaybe = told{op: rotate, verdict: unknown, header: true}
		shakenTwice = told{op: rotate, verdict: done, deaths: 1, attempts: 2, header: true, answer: answer{RecoveryCodes: minted}}
		walkedAway  = told{op: rotate, verdict: gone, hurried: true}
	)
	replay := func(t told) told { t.replayed = true; return t }
	sees := func(codes ...string) told {
		return told{op: get, verdict: done, answer: answer{RecoveryCodes: codes}}
	}
	for _, c := range []struct {
		name    string
		key     string
		record  record
		history []told
		want    string // in one of the violations; "" for none at all
	}{
		{"a call", "", recovered, history(sees(code), recoverDone, sees()), ""},
		{"a call and its replays", "k", recovered, history(walkedAway, replay(recoverDone), nothingLeft, replay(recoverDone)), ""},
		{"nothing happened", "k", untouched, history(nothingLeft, walkedAway, told{op: get, verdict: failed}), ""},
		{"two calls without a key", "", twice, history(told{op: rotate, verdict: done}, rotateMaybe), ""},
		{"a lost answer", "k", rotated, history(rotateLost, replay(rotateLost)), ""},
		{"another request under the key", "k", recovered, history(recoverDone, told{op: rotate, verdict: refused, reason: keyReused}), ""},
		{"unknown to one in a hurry alone", "k", rotated, history(told{op: rotate, verdict: unknown, hurried: true}, rotateDone), ""},

		{"a server that died before the answer began", "", twice, history(shakenTwice), ""},
		{"a server that died, with a key", "k", rotated, history(told{op: rotate, verdict: gone, deaths: 1}, replay(rotateDone)), ""},

		{"a server that died, and a key with two effects", "k", twice, history(shakenTwice), "2 effects for one key"},
		{"a server that died, and two more effects", "", thrice, history(shakenTwice), "3 effects, of calls that at most 1 times"},
		{"no header ahead", "", rotated, history(told{op: rotate, verdict: unknown}), "no header went ahead"},
		{"not sent, after it was done", "k", rotated, history(rotateDone, told{op: rotate, verdict: notSent, reason: "NOT_SENT"}), "had come to something else"},
		{"not sent, after it was unknown", "k", rotated, history(rotateMaybe, told{op: rotate, verdict: notSent, reason: "NOT_SENT"}), "had come to something else"},
		{"sent again after the answer had begun", "", twice, history(told{op: rotate, verdict: unknown, begunAgain: true}), "after its answer had begun"},
		{"two effects for one key", "k", twice, history(rotateDone, replay(rotateDone)), "2 effects for one key"},
		{"two effects of different methods for one key", "k",
			record{Effects: daemon.Counts{Recover: 1, Rotate: 1}, Codes: minted}, history(recoverDone, rotateMaybe), "2 effects for one key"},
		{"two effects of one call", "", twice, history(rotateMaybe), "2 effects, of calls that at most 1 times"},
		{"a success that did not happen", "", untouched, history(recoverDone), "0 effects, and 1 were told"},
		{"a success that did not happen, with a key", "k", untouched, history(replay(recoverDone)), "0 effects, and 1 were told"},
		{"one of two successes", "", rotated, history(rotateDone, rotateDone), "1 effects, and 2 were told"},
		{"not sent, and it happened", "", recovered, history(nothingLeft), "1 effects, of calls that at most 0 times"},
		{"not sent, and it happened, with a key", "k", recovered, history(nothingLeft), "1 effects, of calls that at most 0 times"},
		{"refused, and it happened", "", rotated, history(told{op: rotate, verdict: refused}), "1 effects, of calls that at most 0 times"},
		{"a lost answer of nothing", "", untouched, history(rotateLost), "0 effects, and 1 were told"},
		{"an unknown that the state does not resolve", "", record{Effects: daemon.Counts{Rotate: 1}, Codes: []string{code}}, history(rotateMaybe), "nobody can tell"},
		{"a code taken by nothing", "", record{}, history(nothingLeft), "nobody can tell"},
		{"two first answers", "k", rotated, history(rotateDone, rotateDone), "2 are no replays"},
		{"two answers", "k", recovered, history(recoverDone, replay(told{op: recovery, verdict: done, answer: answer{SessionToken: "other"}})), "one key has 2 answers"},
		{"two verdicts", "k", rotated, history(rotateMaybe, replay(rotateDone)), "one key has 2 verdicts"},
		{"a replay without a key", "", recovered, history(replay(recoverDone)), "without a key"},
		{"nobody told a caller who waited", "", untouched, history(told{op: rotate, verdict: gone}), "was told nothing"},
		{"a Rotate that failed", "", untouched, history(told{op: rotate, verdict: failed}), "without an effect"},
		{"an answer without its session", "", recovered, history(told{op: recovery, verdict: done}), "without a session"},
		{"the codes of somebody else", "", rotated, history(told{op: rotate, verdict: done, answer: answer{RecoveryCodes: []string{"c"}}}), "not the member's"},
		{"Get is behind", "", recovered, history(recoverDone, sees(code)), "that it is taken"},
		{"Get is ahead", "", untouched, history(sees()), "nothing has taken"},
		{"a reason out of the blue", "", untouched, history(told{op: rotate, verdict: verdictOf("INTERNAL")}), "nothing here earns"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &group{member: "m", key: c.key, history: c.history}
			found := g.check(c.record)
			if c.want == "" && len(found) > 0 || c.want != "" && !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, c.want) }) {
				t.Errorf("found %q, want %q in\n%v", found, c.want, g)
			}
		})
	}
}

// TestSearchFindsWhatIsNotSealed gives the search a store that holds a record as the servers have it before it is sealed,
// at each distance from the beginning, and one in which a token stands as it is.
func TestSearchFindsWhatIsNotSealed(t *testing.T) {
	p := newPlan(1, 200)
	p[0].history = []told{{answer: answer{SessionToken: "mDAmfSmRTnxnPAdkvyS5hGzBXuzn"}}}
	filler := bytes.Repeat([]byte("."), 2000)
	if wrong := p.search(filler); len(wrong) != 0 {
		t.Errorf("found %q in nothing", wrong)
	}
	for offset := range 3 {
		body := strings.Repeat(" ", offset) + `{"session_token":"` + p[0].history[0].answer.SessionToken + `"}`
		for _, text := range []string{body, base64.StdEncoding.EncodeToString([]byte(body))} {
			if wrong := p.search(append(filler, text...)); !slices.Contains(wrong, "the store shows a session token") {
				t.Errorf("found %q in %s", wrong, text)
			}
		}
	}
}

// TestServersWithoutACommonStoreAreFound is the negative control of everything between the plan and the checker: keys are
// kept in each server's memory, so with two servers one key has two effects, and a run has to find it.
func TestServersWithoutACommonStoreAreFound(t *testing.T) {
	var p plan
	for _, g := range newPlan(1, 60) {
		if g.key != "" && g.kind != "slow-2500" {
			p = append(p, g)
		}
	}
	found := run(t, p, map[verdict]int{}, func(sandbox *daemon.Sandbox) *fleet { return newFleet(t, sandbox, 2) }, nil)
	if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, " effects for one key") }) {
		t.Errorf("found only %q", found)
	}
}

// TestASeedIsAPlan: what a seed plays does not depend on anything else.
func TestASeedIsAPlan(t *testing.T) {
	one, same, other := newPlan(1, 50), newPlan(1, 50), newPlan(2, 50)
	differ := 0
	for i := range one {
		if !equal(one[i], same[i]) {
			t.Errorf("group %d is %+v and %+v", i, one[i], same[i])
		}
		if !equal(one[i], other[i]) {
			differ++
		}
	}
	if differ == 0 {
		t.Error("another seed plays the same")
	}
}

// equal compares all but the names, which hold the seed.
func equal(a, b *group) bool {
	return a.kind == b.kind && slices.EqualFunc(a.callers, b.callers, func(a, b caller) bool {
		return a.op == b.op && a.door == b.door && slices.Equal(a.tries, b.tries)
	})
}
