package attempts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"recoverycodes.internal/server/internal/attempts"
	"recoverycodes.internal/test/daemon"
)

// connect returns a client as the store wants it. It is closed when the test ends.
func connect(t testing.TB, server *daemon.Redis) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	options.DialTimeout, options.DialerRetries, options.MaxRetries = time.Second, 1, -1
	options.ReadTimeout, options.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond
	options.ContextTimeoutEnabled, options.Protocol, options.DisableIdentity = true, 2, true
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func newRedis(t testing.TB, client *redis.Client, cfg attempts.RedisConfig) *attempts.Redis {
	t.Helper()
	r, err := attempts.NewRedis(client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var secrets = [][]byte{[]byte(strings.Repeat("s", 32))}

// TestReplicasCountTogether: what is left of a budget is the same whichever replica is asked.
func TestReplicasCountTogether(t *testing.T) {
	server := daemon.StartRedis(t)
	replicas := []budget{
		newRedis(t, connect(t, server), attempts.RedisConfig{Limits: limits, Secrets: secrets}),
		newRedis(t, connect(t, server), attempts.RedisConfig{Limits: limits, Secrets: secrets}),
	}
	for i := range limits.MemberLimit {
		try(t, replicas[i%2], attempts.Attempt{Caller: "a", Member: "m"}, attempts.Wrong)
	}
	for i, r := range replicas {
		if got := refused(t, r, attempts.Attempt{Caller: "b", Member: "m"}); got != attempts.Member {
			t.Errorf("replica %d: a fifth attempt is refused for %q", i, got)
		}
	}
	for i := range limits.CallerFailures - limits.MemberLimit {
		try(t, replicas[i%2], attempts.Attempt{Caller: "a", Member: fmt.Sprint("n", i)}, attempts.Wrong)
	}
	for i, r := range replicas {
		if got := refused(t, r, attempts.Attempt{Caller: "a", Member: "another"}); got != attempts.Caller {
			t.Errorf("replica %d: the caller's next attempt is refused for %q", i, got)
		}
	}
}

func TestReplicasAtOnce(t *testing.T) {
	server := daemon.StartRedis(t)
	got := atOnce(t, 50,
		newRedis(t, connect(t, server), attempts.RedisConfig{Limits: limits, Secrets: secrets}),
		newRedis(t, connect(t, server), attempts.RedisConfig{Limits: limits, Secrets: secrets}))
	if got != int64(limits.MemberLimit) {
		t.Errorf("%d of 100 attempts passed, want %d", got, limits.MemberLimit)
	}
}

// TestTheSecretChanges: while replicas go from one secret to the next, each counts what the others have counted.
func TestTheSecretChanges(t *testing.T) {
	server := daemon.StartRedis(t)
	client := connect(t, server)
	before, after := []byte("the secret before"), []byte("the secret after")
	with := func(secrets ...[]byte) budget {
		return newRedis(t, client, attempts.RedisConfig{Limits: limits, Secrets: secrets})
	}
	phases := []budget{with(before), with(before, after), with(after, before)}
	a := attempts.Attempt{Caller: "a", Member: "m"}
	give, err := phases[1].Reserve(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []budget{phases[0], phases[1], phases[2]} {
		try(t, b, a, attempts.Wrong)
	}
	for i, b := range phases[1:] {
		if got := refused(t, b, a); got != attempts.Member {
			t.Errorf("replica %d: a fifth attempt is refused for %q", i+1, got)
		}
	}
	give(attempts.Unjudged)
	try(t, phases[2], a, attempts.Wrong)
	for i, b := range []budget{phases[0], phases[2]} {
		try(t, b, attempts.Attempt{Caller: "a", Member: fmt.Sprint("n", i)}, attempts.Wrong)
	}
	for i, b := range phases[1:] {
		if got := refused(t, b, attempts.Attempt{Caller: "a", Member: "another"}); got != attempts.Caller {
			t.Errorf("replica %d: the caller's next attempt is refused for %q", i+1, got)
		}
	}
}

func TestRedisSecretsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name    string
		secrets [][]byte
	}{
		{"none", nil},
		{"an empty one", [][]byte{[]byte("s"), {}}},
		{"one twice", [][]byte{[]byte("s"), []byte("t"), []byte("s")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := attempts.NewRedis(nil, attempts.RedisConfig{Limits: limits, Secrets: tt.secrets}); err == nil {
				t.Error("taken")
			}
		})
	}
}

// TestRedisRetryAfter waits as long as it is told, on a window that is short enough for that. The sleeps are what is
// tested: nothing goes wrong when they take longer.
func TestRedisRetryAfter(t *testing.T) {
	client := connect(t, daemon.StartRedis(t))
	short := limits
	short.Window = time.Second
	const slice = 100 * time.Millisecond
	refusal := func(t *testing.T, b budget, a attempts.Attempt) *attempts.ExceededError {
		t.Helper()
		_, err := b.Reserve(t.Context(), a)
		var exceeded *attempts.ExceededError
		if !errors.As(err, &exceeded) {
			t.Fatalf("got %v, want a refusal", err)
		}
		return exceeded
	}
	for _, tt := range []struct {
		name   string
		came   func(i int) attempts.Attempt
		wrong  int
		coarse time.Duration
	}{
		{"a member", sameMember, short.MemberLimit, 0},
		{"a caller", sameCaller, short.CallerFailures, slice},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newRedis(t, client, attempts.RedisConfig{Limits: short, Secrets: [][]byte{[]byte(tt.name)}})
			before := time.Now()
			try(t, b, tt.came(0), attempts.Wrong)
			after := time.Now()
			time.Sleep(2 * slice)
			for i := range tt.wrong - 1 {
				try(t, b, tt.came(i+1), attempts.Wrong)
			}
			asked := time.Now()
			got := refusal(t, b, tt.came(tt.wrong))
			// Redis counts in whole milliseconds.
			if atLeast := short.Window - time.Since(before) - time.Millisecond; got.RetryAfter < atLeast {
				t.Errorf("retry after %v, and the first wrong code counts for %v", got.RetryAfter, atLeast)
			}
			if atMost := short.Window + tt.coarse - asked.Sub(after) + 2*time.Millisecond; got.RetryAfter > atMost {
				t.Errorf("retry after %v, and the first wrong code counts for at most %v", got.RetryAfter, atMost)
			}
			time.Sleep(got.RetryAfter)
			if got := refused(t, b, tt.came(tt.wrong)); got != "" {
				t.Errorf("then: refused for %q", got)
			}
		})
	}
}

// onlyKey returns the one key that is in Redis.
func onlyKey(t testing.TB, client *redis.Client) string {
	t.Helper()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %q, %v; want one", keys, err)
	}
	return keys[0]
}

// TestRedisClearsAMember: who is attempted again and again leaves no more behind than what counts.
func TestRedisClearsAMember(t *testing.T) {
	client := connect(t, daemon.StartRedis(t))
	b := newRedis(t, client, attempts.RedisConfig{Limits: limits, Secrets: secrets})
	a := attempts.Attempt{Caller: "a", Member: "m"}
	try(t, b, a, attempts.Unknown)
	key := onlyKey(t, client)
	// All that there is has been there for more than a window.
	ids, err := client.ZRange(t.Context(), key, 0, -1).Result()
	if err != nil || len(ids) != 1 {
		t.Fatalf("ids %q, %v; want one", ids, err)
	}
	old := -float64((limits.Window + time.Second).Milliseconds())
	if err := client.ZIncrBy(t.Context(), key, old, ids[0]).Err(); err != nil {
		t.Fatal(err)
	}
	for range limits.MemberLimit {
		try(t, b, a, attempts.Unknown)
	}
	if n, err := client.ZCard(t.Context(), key).Result(); err != nil || n != int64(limits.MemberLimit) {
		t.Errorf("it has %d attempts, %v; want %d", n, err, limits.MemberLimit)
	}
}

// TestRedisForgets: everything that the store has in Redis ends by itself, when it counts no more.
func TestRedisForgets(t *testing.T) {
	client := connect(t, daemon.StartRedis(t))
	b := newRedis(t, client, attempts.RedisConfig{Limits: limits, Secrets: secrets})
	for _, v := range []attempts.Verdict{attempts.Wrong, attempts.Right, attempts.Unknown} {
		try(t, b, attempts.Attempt{Caller: "a", Member: "m"}, v)
	}
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys %q, %v; want one for the member and one for the caller", keys, err)
	}
	for _, key := range keys {
		ttl, err := client.PTTL(t.Context(), key).Result()
		if err != nil || ttl <= limits.Window-time.Minute || ttl > limits.Window+slice {
			t.Errorf("%s lives for %v, %v; want a window, and a slice more at most", key, ttl, err)
		}
	}
}

// TestRedisSlices: of a caller's old slices what is out of the window does not count and is cleared away, and a slice
// in the future, left by a clock that was set back, counts as now.
func TestRedisSlices(t *testing.T) {
	client := connect(t, daemon.StartRedis(t))
	b := newRedis(t, client, attempts.RedisConfig{Limits: limits, Secrets: secrets})
	a := attempts.Attempt{Caller: "a", Member: "m"}
	try(t, b, a, attempts.Right)
	key := onlyKey(t, client)
	now, err := client.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	newest := now.UnixMilli() / slice.Milliseconds()
	wrong := func(slice int64) string { return fmt.Sprint("wrong ", slice) }
	set := func(slice int64) {
		t.Helper()
		if err := client.HSet(t.Context(), key, wrong(slice), limits.CallerFailures).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set(newest - 11)
	try(t, b, a, attempts.Right)
	fields, err := client.HKeys(t.Context(), key).Result()
	if err != nil || slices.Contains(fields, wrong(newest-11)) {
		t.Errorf("%q, %v; want what is old cleared away", fields, err)
	}
	set(newest + 1_000_000)
	_, err = b.Reserve(t.Context(), a)
	var exceeded *attempts.ExceededError
	if !errors.As(err, &exceeded) || exceeded.Who != attempts.Caller || exceeded.RetryAfter > limits.Window+slice {
		t.Errorf("got %v, want the caller refused, for a window and a slice at most", err)
	}
}

// TestRedisDown is what attempts come to when the server has gone.
func TestRedisDown(t *testing.T) {
	for _, tt := range []struct {
		name     string
		failOpen bool
	}{{"closed", false}, {"open", true}} {
		t.Run(tt.name, func(t *testing.T) {
			server := daemon.StartRedis(t)
			var down consequences
			b := newRedis(t, connect(t, server), attempts.RedisConfig{
				Limits: limits, Secrets: secrets, FailOpen: tt.failOpen, OnDown: down.add,
			})
			a := attempts.Attempt{Caller: "a", Member: "m"}
			settle, err := b.Reserve(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			server.Stop()
			settle(attempts.Right)
			want := []attempts.Consequence{attempts.Unsettled}
			for range limits.MemberLimit {
				settle, err := b.Reserve(t.Context(), a)
				if tt.failOpen {
					if err != nil {
						t.Fatal(err)
					}
					settle(attempts.Wrong)
					want = append(want, attempts.Alone)
				} else {
					if !errors.Is(err, attempts.ErrDown) {
						t.Fatalf("got %v, want ErrDown", err)
					}
					want = append(want, attempts.Refused)
				}
			}
			if tt.failOpen {
				if got := refused(t, b, a); got != attempts.Member {
					t.Errorf("alone: a fifth attempt is refused for %q", got)
				}
				want = append(want, attempts.Alone)
			}
			if got := down.all(); !slices.Equal(got, want) {
				t.Errorf("told %v, want %v", got, want)
			}

			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := b.Reserve(ctx, a); !errors.Is(err, attempts.ErrDown) || !errors.Is(err, context.Canceled) {
				t.Errorf("for a caller who has gone: %v, want ErrDown for that", err)
			}
			server.Restart(t)
			try(t, b, a, attempts.Wrong)
			if got := down.all(); !slices.Equal(got, want) {
				t.Errorf("told %v, want no more than %v", got, want)
			}
		})
	}
}

// consequences are what a store has told.
type consequences struct {
	mu   sync.Mutex
	told []attempts.Consequence
}

func (c *consequences) add(told attempts.Consequence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, told)
}

func (c *consequences) all() []attempts.Consequence {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

// TestRedisSilent: a server that keeps its connections and says nothing holds no call for long.
func TestRedisSilent(t *testing.T) {
	server := daemon.StartRedis(t)
	options := *connect(t, server).Options()
	options.ReadTimeout = time.Minute // the client would wait for longer than the store does
	client := redis.NewClient(&options)
	defer func() { _ = client.Close() }()
	var down consequences
	b := newRedis(t, client, attempts.RedisConfig{Limits: limits, Secrets: secrets, OnDown: down.add})
	settle, err := b.Reserve(t.Context(), attempts.Attempt{Caller: "a", Member: "m"})
	if err != nil {
		t.Fatal(err)
	}
	server.Freeze(t)
	defer server.Thaw(t)
	start := time.Now()
	settle(attempts.Right)
	if _, err := b.Reserve(t.Context(), attempts.Attempt{Caller: "a", Member: "m"}); !errors.Is(err, attempts.ErrDown) {
		t.Errorf("got %v, want ErrDown", err)
	}
	if took := time.Since(start); took > 4*time.Second { // a quarter of a second and a second, on a busy machine
		t.Errorf("that took %v", took)
	}
	if got, want := down.all(), []attempts.Consequence{attempts.Unsettled, attempts.Refused}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// TestRedisFull: with no memory left nothing new is counted, so nothing new is let through; what is counted still
// refuses, and can be given back.
func TestRedisFull(t *testing.T) {
	client := connect(t, daemon.StartRedis(t))
	var down consequences
	b := newRedis(t, client, attempts.RedisConfig{Limits: limits, Secrets: secrets, OnDown: down.add})
	a := attempts.Attempt{Caller: "a", Member: "m"}
	var settle []func(attempts.Verdict)
	for range limits.MemberLimit {
		s, err := b.Reserve(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		settle = append(settle, s)
	}
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, b, a); got != attempts.Member {
		t.Errorf("the member is refused for %q", got)
	}
	_, err := b.Reserve(t.Context(), attempts.Attempt{Caller: "a", Member: "another"})
	if !errors.Is(err, attempts.ErrDown) {
		t.Errorf("another member: %v, want ErrDown", err)
	}
	if err := b.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	settle[0](attempts.Right)
	settle[1](attempts.Wrong)
	if got, want := down.all(), []attempts.Consequence{attempts.Refused}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v, for another member", got, want)
	}
	if err := client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if got := refused(t, b, a); got != "" {
		t.Errorf("after giving back: the member is refused for %q", got)
	}
}

// TestRedisCheck, with a user of whom all is asked that an operator would be told to allow.
func TestRedisCheck(t *testing.T) {
	allowed := []string{"reset", "on", ">password", "~recoverycodes:attempts:*", "+eval", "+evalsha", "+time",
		"+zadd", "+zrem", "+zremrangebyscore", "+zrangebyscore", "+hgetall", "+hkeys", "+hincrby", "+hdel", "+pexpire"}
	for _, tt := range []struct {
		name  string
		rules []string
		stop  bool
		want  string // in the error's text
	}{
		{"all that it needs", allowed, false, ""},
		{"one thing less", append(slices.Clone(allowed), "-hincrby"), false, "HINCRBY"},
		{"another key", append(slices.Clone(allowed), "resetkeys", "~another:*"), false, "recoverycodes:attempts:"},
		{"down", allowed, true, attempts.ErrDown.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := daemon.StartRedis(t)
			admin := connect(t, server)
			if err := admin.ACLSetUser(t.Context(), "store", tt.rules...).Err(); err != nil {
				t.Fatal(err)
			}
			options := *admin.Options()
			options.Username, options.Password = "store", "password"
			client := redis.NewClient(&options)
			defer func() { _ = client.Close() }()
			b := newRedis(t, client, attempts.RedisConfig{Limits: limits, Secrets: secrets})
			if tt.stop {
				server.Stop()
			}
			err := b.Check(t.Context())
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestRedisLearnsNoNames: what the server holds says neither who called nor for whom.
func TestRedisLearnsNoNames(t *testing.T) {
	server := daemon.StartRedis(t)
	b := newRedis(t, connect(t, server), attempts.RedisConfig{Limits: limits, Secrets: secrets})
	for _, v := range []attempts.Verdict{attempts.Wrong, attempts.Right, attempts.Unknown} {
		try(t, b, attempts.Attempt{Caller: "Caller-Canary", Member: "Member-Canary"}, v)
	}
	dump := server.Dump(t)
	if !bytes.Contains(dump, []byte("recoverycodes:attempts:")) {
		t.Error("the dump is not that of a server in use")
	}
	if bytes.Contains(bytes.ToLower(dump), []byte("canary")) {
		t.Error("a name is in the dump")
	}
	if bytes.Contains(dump, secrets[0]) {
		t.Error("the secret is in the dump")
	}
}
