package access

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/test/daemon"
)

// limitReached is the gRPC code of this server's limits.
const limitReached = codes.ResourceExhausted

// tooMany holds an answer to a refusal by a limit, with a hint when to try again within a time.
func tooMany(t *testing.T, got answer, within time.Duration) {
	t.Helper()
	got.as(t, "NOT_SENT", limitReached, http.StatusTooManyRequests)
	if got.retry <= 0 || got.retry > within {
		t.Errorf("try again after %v", got.retry)
	}
}

const wrong = "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE"

// both makes the calls of a test by the doors in turn.
type both struct {
	*peer
	calls int
}

func (b *both) call(t *testing.T, method, member, code string, h headers) answer {
	t.Helper()
	b.calls++
	if b.calls%2 == 0 {
		return b.byGRPC(t, request(method, organization, member, code), h)
	}
	return b.byREST(t, request(method, organization, member, code), h)
}

func (b *both) recover(t *testing.T, member, code string) answer {
	t.Helper()
	return b.call(t, "Recover", member, code, bearer("one"))
}

// TestRates: a caller's rate is one for both doors and all methods, and nothing beyond it is sent. Others have their own.
func TestRates(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	d := daemon.Start(t, sandbox.Env, "--policy="+file(t, "policy.yaml", one("    rate: { per_second: 0.01, burst: 3 }\n")+
		"  - name: other\n    match: { secret_sha256: "+hashOf("other")+" }\n    methods: Get\n    organizations: \"*\"\n"))
	b := &both{peer: connect(t, d)}
	id := fresh("rate")
	for _, method := range []string{"Get", "Recover", "Rotate"} {
		b.call(t, method, id, rightCode, bearer("one")).is(t, "")
	}
	for range 2 {
		for _, method := range []string{"Get", "Recover", "Rotate"} {
			tooMany(t, b.call(t, method, id, "no-such-code", bearer("one")), 100*time.Second)
		}
	}
	for range 5 {
		b.call(t, "Get", id, "", bearer("other")).is(t, "")
	}
	if n := sandbox.Member(t, id).Calls; n != (daemon.Counts{Get: 6, Recover: 1, Rotate: 1}) {
		t.Errorf("arrived: %+v", n)
	}
}

// seed has a member with an external id, and another member.
const seed = `{"organizations":[{"organization_id":"` + organization + `","members":[
	{"member_id":"` + member + `","external_id":"hr|204"},{"member_id":"member-test-other"}]}]}`

// TestWrongCodesOfAMember: four through whichever doors, and no fifth, right or wrong. Right codes are none of them. Each
// of a member's two handles has four, however it is spelt, and Stytch's ten are not reached.
func TestWrongCodesOfAMember(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false, "--seed="+file(t, "seed.json", seed))
	b := &both{peer: connect(t, daemon.Start(t, sandbox.Env, "--policy="+file(t, "policy.yaml", one(""))))}
	for i := range 6 {
		if i == 2 {
			b.recover(t, member, rightCode).is(t, "")
		}
		got := b.recover(t, member, wrongCode)
		if i < 4 {
			got.is(t, wrong)
		} else {
			tooMany(t, got, 11*time.Minute)
		}
	}
	for range 2 {
		tooMany(t, b.recover(t, member, "mill-7pon-d2ru"), 11*time.Minute)
		tooMany(t, b.recover(t, strings.ToUpper(member), wrongCode), 11*time.Minute)
	}
	if n := sandbox.Member(t, member); n.Calls.Recover != 5 || n.Effects.Recover != 1 {
		t.Errorf("by the id: %+v", n)
	}
	for i := range 6 {
		got := b.recover(t, "hr|204", wrongCode)
		if i < 4 {
			got.is(t, wrong)
		} else {
			tooMany(t, got, 11*time.Minute)
		}
	}
	if n := sandbox.Member(t, member); n.Calls.Recover != 9 || n.IsLocked {
		t.Errorf("by both handles: %+v", n)
	}
	// What concerns no code goes on, and so does everybody else.
	b.call(t, "Get", member, "", bearer("one")).is(t, "")
	b.recover(t, "member-test-other", rightCode).is(t, "")
}

// TestReplaysAreNoAttempts: a wrong code that is sent again with its idempotency key is the same attempt.
func TestReplaysAreNoAttempts(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	b := &both{peer: connect(t, daemon.Start(t, sandbox.Env, "--policy="+file(t, "policy.yaml", one(""))))}
	id := fresh("replays")
	for i := range 6 {
		got := b.call(t, "Recover", id, wrongCode, bearer("one").and("idempotency-key", "key-1"))
		if got.is(t, wrong); i > 0 && got.http != 0 && !got.replayed {
			t.Errorf("call %d is no replay", i)
		}
	}
	for range 3 {
		b.recover(t, id, wrongCode).is(t, wrong)
	}
	// The budget is used up, and frees the key of a call that it stops.
	for range 2 {
		tooMany(t, b.call(t, "Recover", id, wrongCode, bearer("one").and("idempotency-key", "key-2")), 11*time.Minute)
	}
	if n := sandbox.Member(t, id).Calls.Recover; n != 4 {
		t.Errorf("%d attempts arrived", n)
	}
}

// TestTheShareOfACaller: a caller most of whose codes are wrong is refused for everybody's members, and nobody else is. One
// whose codes are right as often goes on.
func TestTheShareOfACaller(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	var policy strings.Builder
	policy.WriteString("callers:\n")
	for _, name := range []string{"abuser", "honest"} {
		fmt.Fprintf(&policy, "  - name: %s\n    match: { secret_sha256: %s }\n    methods: [Get, Recover]\n    organizations: \"*\"\n", name, hashOf(name))
	}
	b := &both{peer: connect(t, daemon.Start(t, sandbox.Env, "--policy="+file(t, "policy.yaml", policy.String()),
		"--attempts-caller-failures=3"))}
	for i := range 3 {
		b.call(t, "Recover", fresh(fmt.Sprint("honest", i)), rightCode, bearer("honest")).is(t, "")
		b.call(t, "Recover", fresh(fmt.Sprint("abuser", i)), wrongCode, bearer("abuser")).is(t, wrong)
	}
	for i := range 3 {
		b.call(t, "Recover", fresh(fmt.Sprint("honest", i)), wrongCode, bearer("honest")).is(t, wrong)
		id := fresh(fmt.Sprint("refused", i))
		tooMany(t, b.call(t, "Recover", id, rightCode, bearer("abuser")), 11*time.Minute)
		if n := sandbox.Member(t, id).Calls.Recover; n != 0 {
			t.Errorf("%d attempts arrived", n)
		}
	}
	b.call(t, "Recover", fresh("honest"), rightCode, bearer("honest")).is(t, "")
	b.call(t, "Get", fresh("abuser"), "", bearer("abuser")).is(t, "")
}

// sharing are the arguments of servers that share a Redis.
func sharing(t *testing.T, redis *daemon.Redis, more ...string) []string {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "policy.yaml"), one(""))
	put(t, filepath.Join(dir, "secrets"), strings.Repeat("STORE-SECRET", 3))
	return append(more, "--policy="+filepath.Join(dir, "policy.yaml"), "--once-redis-url="+redis.URL(),
		"--store-secret-file="+filepath.Join(dir, "secrets"))
}

// TestReplicasCountTogether: four wrong codes through the doors of two servers, and no fifth at either, nor at one that
// starts later. Redis learns no names.
func TestReplicasCountTogether(t *testing.T) {
	redis := daemon.StartRedis(t)
	sandbox := daemon.StartSandbox(t, false)
	start := func() *both {
		return &both{peer: connect(t, daemon.Start(t, sandbox.Env, sharing(t, redis)...))}
	}
	replicas := []*both{start(), start()}
	id := fresh("replicas")
	for i := range 4 {
		replicas[i%2].recover(t, id, wrongCode).is(t, wrong)
	}
	replicas = append(replicas, start())
	for i := range 6 {
		tooMany(t, replicas[i%3].recover(t, id, []string{wrongCode, rightCode}[i/3]), 11*time.Minute)
	}
	replicas[0].recover(t, fresh("someone else"), rightCode).is(t, "")
	if n := sandbox.Member(t, id).Calls.Recover; n != 4 {
		t.Errorf("%d attempts arrived", n)
	}
	dump := string(redis.Dump(t))
	for _, name := range []string{id, "someone", wrongCode, "STORE-SECRET", organization} {
		if strings.Contains(dump, name) {
			t.Errorf("Redis holds %q", name)
		}
	}
}

// TestWithoutItsRedis a server counts alone, or with --attempts-fail-closed makes no attempt. What is no attempt goes on,
// and when Redis is back, so does everything.
func TestWithoutItsRedis(t *testing.T) {
	for _, closed := range []bool{false, true} {
		t.Run(fmt.Sprintf("fail closed %t", closed), func(t *testing.T) {
			t.Parallel()
			redis := daemon.StartRedis(t)
			sandbox := daemon.StartSandbox(t, false)
			d := daemon.Start(t, sandbox.Env, sharing(t, redis, fmt.Sprintf("--attempts-fail-closed=%t", closed))...)
			b := &both{peer: connect(t, d)}
			id := fresh("down")
			b.recover(t, id, wrongCode).is(t, wrong)
			redis.Stop()
			consequence := "alone"
			if closed {
				consequence = "refused"
			}
			for i := range 6 {
				switch got := b.recover(t, id, wrongCode); {
				case closed:
					got.as(t, "NOT_SENT", codes.Unavailable, http.StatusServiceUnavailable)
					if got.retry <= 0 {
						t.Error("no hint when to try again")
					}
				case i < 4: // its own count begins with the first that Redis was not asked about
					got.is(t, wrong)
				default:
					tooMany(t, got, 11*time.Minute)
				}
			}
			b.call(t, "Get", id, "", bearer("one")).is(t, "")
			b.call(t, "Rotate", fresh("other"), "", bearer("one")).is(t, "")
			if n, want := sandbox.Member(t, id).Calls.Recover, map[bool]int{false: 5, true: 1}[closed]; n != want {
				t.Errorf("%d attempts arrived, want %d", n, want)
			}
			if series := fmt.Sprintf("recoverycodes_attempts_store_failures_total{consequence=%q} 6\n", consequence); !strings.Contains(
				fetch(t, d, "/metrics"), series) {
				t.Errorf("no %s", series)
			}
			redis.Restart(t)
			b.recover(t, fresh("back again"), rightCode).is(t, "")
		})
	}
}
