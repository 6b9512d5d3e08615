package once_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"recoverycodes.internal/server/internal/once"
	"recoverycodes.internal/test/daemon"
)

// newRedis returns a store on a server, with a secret that all stores of a test have and a lease that no wait outlasts,
// unless change says otherwise.
func newRedis(t *testing.T, url string, change ...func(*once.RedisConfig)) *once.Redis {
	t.Helper()
	cfg := once.RedisConfig{URL: url, Secrets: [][]byte{[]byte("a secret of " + t.Name())}, TTL: time.Minute, Lease: time.Minute}
	for _, change := range change {
		change(&cfg)
	}
	r, err := once.NewRedis(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func shortLease(cfg *once.RedisConfig) { cfg.Lease = 600 * time.Millisecond }

func shortTTL(cfg *once.RedisConfig) { cfg.TTL = 300 * time.Millisecond }

// eventually waits until what is asked gives the answer that is wanted.
func eventually(t *testing.T, want answer, ask func() answer) {
	t.Helper()
	var got answer
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = ask(); got.record == want.record && got.replayed == want.replayed && errors.Is(got.err, want.err) {
			return
		}
	}
	t.Errorf("it stays at %v, want %v", got, want)
}

// never makes a call that must not run.
func never(t *testing.T, s store, c once.Call) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	record, replayed, err := s.Do(ctx, c, func() ([]byte, bool) {
		t.Error("there was another run")
		return nil, false
	})
	return answer{string(record), replayed, err}
}

func TestRedis(t *testing.T) {
	url := daemon.StartRedis(t).URL()
	t.Run("after the first", func(t *testing.T) {
		for _, tt := range afterTheFirst {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
				defer cancel()
				if tt.after != expired {
					s := newRedis(t, url)
					tt.first(s)
					if got := do(ctx, s, tt.call, "second", true); got != tt.want {
						t.Errorf("got %v, want %v", got, tt.want)
					}
					return
				}
				s := newRedis(t, url, shortTTL)
				start := time.Now()
				tt.first(s)
				eventually(t, tt.want, func() answer { return do(ctx, s, tt.call, "second", true) })
				if after := time.Since(start); after < 290*time.Millisecond {
					t.Errorf("the record was gone after %v", after)
				}
			})
		}
	})
	t.Run("a record is its reader's own", func(t *testing.T) { testARecordIsItsReadersOwn(t, newRedis(t, url)) })
	t.Run("panics", func(t *testing.T) { testPanics(t, newRedis(t, url)) })
	t.Run("many at once", func(t *testing.T) { testManyAtOnce(t, 20, newRedis(t, url), newRedis(t, url)) })
}

func TestRedisAWaiterGivesUp(t *testing.T) {
	url := daemon.StartRedis(t).URL()
	one, two := newRedis(t, url), newRedis(t, url)
	_, _, err := one.Do(t.Context(), first, func() ([]byte, bool) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for range 2 { // the second time it has no time at all
			if got := never(t, given(ctx, two), first); !errors.Is(got.err, once.ErrWaiting) || !errors.Is(got.err, context.DeadlineExceeded) {
				t.Errorf("got %v, want ErrWaiting for the deadline", got)
			}
		}
		return []byte("first"), true
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, want := never(t, given(ctx, two), first), (answer{record: "first", replayed: true}); got != want {
		t.Errorf("with no time left and nothing to wait for: got %v, want %v", got, want)
	}
}

// given is a store that is asked in a context of its own.
func given(ctx context.Context, s store) store { return inContext{ctx, s} }

type inContext struct {
	ctx   context.Context
	store store
}

func (s inContext) Do(_ context.Context, c once.Call, run func() ([]byte, bool)) ([]byte, bool, error) {
	return s.store.Do(s.ctx, c, run)
}

// TestRedisARunIsLost: a run outlasts its lease, as one does whose process is no more. Nobody runs again; and if it
// does end, its record is there.
func TestRedisARunIsLost(t *testing.T) {
	url := daemon.StartRedis(t).URL()
	one, two := newRedis(t, url, shortLease), newRedis(t, url, shortLease)
	start := time.Now()
	if _, _, err := one.Do(t.Context(), first, func() ([]byte, bool) {
		for range 3 {
			if got := never(t, two, first); got != (answer{err: once.ErrUnknown}) {
				t.Errorf("got %v, want ErrUnknown", got)
			}
		}
		if after := time.Since(start); after < 600*time.Millisecond {
			t.Errorf("the lease was over after %v", after)
		}
		if got := never(t, two, other); got != (answer{err: once.ErrReused}) {
			t.Errorf("another request: got %v, want ErrReused", got)
		}
		return []byte("first"), true
	}); err != nil {
		t.Fatal(err)
	}
	if got, want := never(t, two, first), (answer{record: "first", replayed: true}); got != want {
		t.Errorf("after its end: got %v, want %v", got, want)
	}
}

// TestRedisAReplicaDies: its store is gone in the middle of a run. The key is unknown until a record would have
// expired, and only then free.
func TestRedisAReplicaDies(t *testing.T) {
	url := daemon.StartRedis(t).URL()
	one, two := newRedis(t, url, shortLease, shortTTL), newRedis(t, url, shortLease, shortTTL)
	start := time.Now()
	if _, _, err := one.Do(t.Context(), first, func() ([]byte, bool) {
		if err := one.Close(); err != nil {
			t.Error(err)
		}
		return []byte("first"), true
	}); err != nil {
		t.Fatal(err)
	}
	if got := never(t, two, first); got != (answer{err: once.ErrUnknown}) {
		t.Errorf("got %v, want ErrUnknown", got)
	}
	eventually(t, answer{record: "second"}, func() answer { return do(t.Context(), two, first, "second", true) })
	if after := time.Since(start); after < 900*time.Millisecond {
		t.Errorf("it ran again after %v, before the lease and the time of a record had passed", after)
	}
}

func TestRedisDown(t *testing.T) {
	server := daemon.StartRedis(t)
	s := newRedis(t, server.URL())
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	do(t.Context(), s, first, "first", true) // so that there is a connection to lose
	server.Stop()
	for range 3 {
		if got := never(t, s, first); !errors.Is(got.err, once.ErrDown) || errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("got %v, want ErrDown", got)
		}
	}
	if err := s.Check(t.Context()); !errors.Is(err, once.ErrDown) {
		t.Errorf("Check: %v, want ErrDown", err)
	}
	server.Restart(t)
	eventually(t, answer{record: "second"}, func() answer { return do(t.Context(), s, other, "second", true) })
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRedisGoesDownWhileOneWaits: that nothing was run would be true of the waiter, but there is another call.
func TestRedisGoesDownWhileOneWaits(t *testing.T) {
	server := daemon.StartRedis(t)
	one, two := newRedis(t, server.URL()), newRedis(t, server.URL(), func(cfg *once.RedisConfig) { cfg.Secrets = append(cfg.Secrets, []byte("b")) })
	_, _, _ = one.Do(t.Context(), first, func() ([]byte, bool) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		waiter := make(chan answer)
		go func() { waiter <- never(t, given(ctx, two), first) }()
		awaitCommands(t, server, 2)
		server.Stop()
		select {
		case got := <-waiter:
			t.Errorf("it waits no longer: %v", got)
		case <-time.After(100 * time.Millisecond):
			cancel(nil)
			if got := <-waiter; !errors.Is(got.err, once.ErrWaiting) || !errors.Is(got.err, context.Canceled) {
				t.Errorf("got %v, want ErrWaiting", got)
			}
		}
		server.Restart(t)
		return nil, false
	})
}

// awaitCommands waits until the server has run so many scripts since it started.
func awaitCommands(t *testing.T, server *daemon.Redis, n int) {
	t.Helper()
	client := server.Client(t)
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if info, err := client.Info(t.Context(), "commandstats").Result(); err == nil && calls(info, "cmdstat_hmget:calls=") >= n {
			return
		}
	}
	t.Fatal("the scripts were not run")
}

func calls(info, of string) (n int) {
	if _, after, ok := strings.Cut(info, of); ok {
		_, _ = fmt.Sscan(strings.ReplaceAll(after[:min(len(after), 12)], ",", " "), &n)
	}
	return n
}

// TestRedisIsKilledInTheMiddle: between a claim and its end, with a file of all that was written. The run's caller has its
// answer all the same.
func TestRedisIsKilledInTheMiddle(t *testing.T) {
	aof := []string{"--appendonly", "yes", "--appendfsync", "always"}
	for _, tt := range []struct {
		name    string
		args    []string
		restart func(*testing.T, *once.Redis, *daemon.Redis) // what happens after the answer
		want    answer
	}{
		{"settled after the restart", aof, func(t *testing.T, _ *once.Redis, server *daemon.Redis) {
			server.Restart(t)
		}, answer{record: "first", replayed: true}},
		{"with its replica", aof, func(t *testing.T, one *once.Redis, server *daemon.Redis) {
			// The one who closes waits for Redis as long as there is a lease.
			if err := one.Close(); err != nil {
				t.Error(err)
			}
			server.Restart(t)
		}, answer{err: once.ErrUnknown}},
		{"and has lost the claim", nil, func(t *testing.T, one *once.Redis, server *daemon.Redis) {
			server.Restart(t)
			// Until the end is written, the key would be free: there is no promise that outlives the data.
			if err := one.Close(); err != nil {
				t.Error(err)
			}
		}, answer{record: "first", replayed: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lease := func(cfg *once.RedisConfig) { cfg.Lease = 2 * time.Second }
			server := daemon.StartRedis(t, tt.args...)
			one, two := newRedis(t, server.URL(), lease), newRedis(t, server.URL(), lease)
			got, _, err := one.Do(t.Context(), first, func() ([]byte, bool) {
				server.Stop()
				return []byte("first"), true
			})
			if err != nil || string(got) != "first" {
				t.Fatalf("got %q, %v, want the answer of the run", got, err)
			}
			tt.restart(t, one, server)
			eventually(t, tt.want, func() answer { return never(t, two, first) })
		})
	}
}

// TestRedisDoesNotAnswer: the claim is given, and nobody hears of it. It is released when Redis is back.
func TestRedisDoesNotAnswer(t *testing.T) {
	server := daemon.StartRedis(t)
	one, two := newRedis(t, server.URL()), newRedis(t, server.URL())
	do(t.Context(), one, other, "first", false) // so that there is a connection to send the claim on
	server.Freeze(t)
	start := time.Now()
	if got := never(t, one, first); !errors.Is(got.err, once.ErrDown) {
		t.Errorf("got %v, want ErrDown", got)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	server.Thaw(t)
	if err := one.Close(); err != nil { // waits for the release
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	if got, want := do(ctx, two, first, "second", true), (answer{record: "second"}); got != want {
		t.Errorf("after it: got %v, want %v", got, want)
	}
}

// TestRedisIsSlow: a claim whose lease may be over before the run is gives no run, and is released.
func TestRedisIsSlow(t *testing.T) {
	server := daemon.StartRedis(t)
	slow := serve(t, func(conn net.Conn) {
		upstream, err := net.Dial("unix", strings.TrimPrefix(server.URL(), "unix://"))
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = upstream.Close() }()
		go func() {
			_, _ = io.Copy(upstream, conn)
			_ = upstream.Close()
		}()
		b := make([]byte, 100_000)
		for {
			n, err := upstream.Read(b)
			if err != nil {
				return
			}
			time.Sleep(200 * time.Millisecond)
			_, _ = conn.Write(b[:n])
		}
	})
	one, two := newRedis(t, "redis://"+slow, shortLease), newRedis(t, server.URL(), shortLease)
	if got := never(t, one, first); !errors.Is(got.err, once.ErrDown) {
		t.Errorf("got %v, want ErrDown", got)
	}
	if err := one.Close(); err != nil { // waits for the release
		t.Error(err)
	}
	if got, want := do(t.Context(), two, first, "second", true), (answer{record: "second"}); got != want {
		t.Errorf("after it: got %v, want %v", got, want)
	}
}

// TestRedisAnswersAreNotHeldBack: a run ends while Redis does not answer, and Close waits until it is settled.
func TestRedisAnswersAreNotHeldBack(t *testing.T) {
	server := daemon.StartRedis(t)
	one, two := newRedis(t, server.URL()), newRedis(t, server.URL())
	var ended time.Time
	if _, _, err := one.Do(t.Context(), first, func() ([]byte, bool) {
		server.Freeze(t)
		ended = time.Now()
		return []byte("first"), true
	}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(ended); took > 2*time.Second {
		t.Errorf("the answer was held back for %v", took)
	}
	server.Thaw(t)
	if err := one.Close(); err != nil {
		t.Error(err)
	}
	if got, want := do(t.Context(), two, first, "second", true), (answer{record: "first", replayed: true}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRedisThatEvicts(t *testing.T) {
	for _, policy := range []string{"allkeys-lru", "volatile-ttl"} {
		t.Run(policy, func(t *testing.T) {
			s := newRedis(t, daemon.StartRedis(t, "--maxmemory-policy", policy).URL())
			if err := s.Check(t.Context()); err == nil || errors.Is(err, once.ErrDown) || !strings.Contains(err.Error(), policy) {
				t.Errorf("Check: %v, want an error that names the policy", err)
			}
			if got := never(t, s, first); !errors.Is(got.err, once.ErrDown) || !strings.Contains(got.err.Error(), policy) {
				t.Errorf("got %v, want ErrDown and the policy", got)
			}
		})
	}
}

// TestRedisIsReplacedByOneThatEvicts: whatever a connection was lost for, the next one is checked.
func TestRedisIsReplacedByOneThatEvicts(t *testing.T) {
	server := daemon.StartRedis(t)
	s := newRedis(t, server.URL())
	do(t.Context(), s, first, "first", true)
	client := server.Client(t)
	if err := client.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-random").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	if got := never(t, s, first); !errors.Is(got.err, once.ErrDown) {
		t.Errorf("got %v, want ErrDown", got)
	}
}

func TestRedisThatIsAReplica(t *testing.T) {
	s := newRedis(t, daemon.StartRedis(t, "--replicaof", "127.0.0.1 1").URL())
	if err := s.Check(t.Context()); !errors.Is(err, once.ErrDown) || !strings.Contains(err.Error(), "is a replica") {
		t.Errorf("Check: %v, want ErrDown that says why", err)
	}
	if got := never(t, s, first); !errors.Is(got.err, once.ErrDown) {
		t.Errorf("got %v, want ErrDown", got)
	}
}

func TestRedisIsFull(t *testing.T) {
	server := daemon.StartRedis(t)
	s := newRedis(t, server.URL())
	client := server.Client(t)
	broken := call("a", "broken", "request")
	fill := func() {
		if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := s.Do(t.Context(), first, func() ([]byte, bool) {
		doBroken(s, broken, "broken")
		fill()
		return bytes.Repeat([]byte("x"), 10_000), true
	})
	if err != nil {
		t.Fatal(err)
	}
	// A full store refuses new keys only.
	if got := never(t, s, call("a", "new", "request")); got != (answer{err: once.ErrFull}) {
		t.Errorf("a new key: got %v, want ErrFull", got)
	}
	if got := never(t, s, first); len(got.record) != 10_000 || !got.replayed {
		t.Errorf("a key from before: got %v, want its record", got)
	}
	if got := never(t, s, broken); got != (answer{err: once.ErrUnknown}) {
		t.Errorf("a broken key: got %v, want ErrUnknown", got)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	if err := client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if got, want := do(t.Context(), s, call("a", "new", "request"), "second", true), (answer{record: "second"}); got != want {
		t.Errorf("with memory again: got %v, want %v", got, want)
	}
}

// TestRedisRotation has stores that are at different steps of the way from one secret to another.
func TestRedisRotation(t *testing.T) {
	url := daemon.StartRedis(t).URL()
	with := func(secrets ...string) *once.Redis {
		return newRedis(t, url, func(cfg *once.RedisConfig) {
			cfg.Secrets = nil
			for _, secret := range secrets {
				cfg.Secrets = append(cfg.Secrets, []byte(t.Name()+secret))
			}
		})
	}
	before, early, late, after := with("old"), with("old", "new"), with("new", "old"), with("new")
	for i, tt := range []struct{ first, second store }{
		{before, early}, {early, before}, {early, late}, {late, early}, {late, after}, {after, late},
	} {
		c := call("a", fmt.Sprint("k", i), "request")
		do(t.Context(), tt.first, c, "first", true)
		if got, want := never(t, tt.second, c), (answer{record: "first", replayed: true}); got != want {
			t.Errorf("%d: got %v, want %v", i, got, want)
		}
		c.Request = []byte("other")
		if got := never(t, tt.second, c); got != (answer{err: once.ErrReused}) {
			t.Errorf("%d, another request: got %v, want ErrReused", i, got)
		}
	}
	testManyAtOnce(t, 20, early, late)
}

// TestRedisDoesNotUndoAnother: a run that ends late leaves alone what another call has written by then.
func TestRedisDoesNotUndoAnother(t *testing.T) {
	server := daemon.StartRedis(t)
	one, two := newRedis(t, server.URL()), newRedis(t, server.URL())
	for _, keep := range []bool{true, false} {
		c := call("a", fmt.Sprint(keep), "request")
		run := func() ([]byte, bool) {
			// Redis loses everything, and another runs the call.
			if err := server.Client(t).FlushAll(t.Context()).Err(); err != nil {
				t.Error(err)
			}
			do(t.Context(), two, c, "second", true)
			return []byte("first"), keep
		}
		if _, _, err := one.Do(t.Context(), c, run); err != nil {
			t.Fatal(err)
		}
		if got, want := never(t, one, c), (answer{record: "second", replayed: true}); got != want {
			t.Errorf("keep %v: got %v, want %v", keep, got, want)
		}
	}
}

const password = "hunter2-pass"

func TestRedisURLs(t *testing.T) {
	for _, tt := range []struct{ name, url string }{
		{"none", ""},
		{"no scheme", "localhost:6379"},
		{"another scheme", "http://:" + password + "@localhost"},
		{"a slash in the password", "redis://:" + password + "/more@localhost"},
		{"a number sign in the password", "redis://:12#" + password + "@localhost"},
		{"a question mark in the password", "redis://:12?" + password + "@localhost"},
		{"a bad escape", "redis://:" + password + "%zz@localhost"},
		{"a database that is no number", "redis://localhost/" + password},
		{"an option", "redis://localhost?" + password + "=1"},
		{"no path", "unix://:" + password + "@"},
		{"a control character", "redis://:" + password + "\n@localhost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := once.NewRedis(once.RedisConfig{URL: tt.url, Secrets: [][]byte{[]byte("s")}, TTL: time.Minute, Lease: time.Minute})
			if err == nil || r != nil || !strings.Contains(err.Error(), "Redis URL") {
				t.Fatalf("got %v, %v, want an error about the URL", r, err)
			}
			if strings.Contains(err.Error(), password) {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestRedisConfigs(t *testing.T) {
	good := once.RedisConfig{URL: "redis://localhost", Secrets: [][]byte{[]byte("s")}, TTL: time.Minute, Lease: time.Minute}
	for name, change := range map[string]func(*once.RedisConfig){
		"no secret":       func(cfg *once.RedisConfig) { cfg.Secrets = nil },
		"an empty secret": func(cfg *once.RedisConfig) { cfg.Secrets = [][]byte{[]byte("s"), {}} },
		"no time":         func(cfg *once.RedisConfig) { cfg.TTL = 0 },
		"no lease":        func(cfg *once.RedisConfig) { cfg.Lease = 0 },
	} {
		cfg := good
		change(&cfg)
		if r, err := once.NewRedis(cfg); err == nil || r != nil {
			t.Errorf("%s: got %v, %v, want an error", name, r, err)
		}
	}
}

// TestRedisErrorsShowNoPassword: what a server says back may have it.
func TestRedisErrorsShowNoPassword(t *testing.T) {
	secured := daemon.StartRedis(t, "--requirepass", "another").URL()
	gone := daemon.StartRedis(t)
	gone.Stop()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	for _, tt := range []struct {
		name, url string
		down      bool // by Check; to a call it is always down
		says      string
	}{
		{"another password", strings.Replace(secured, "unix://", "unix://:"+password+"@", 1), false, "user and password"},
		{"no password", secured, false, "user and password"},
		{"nobody there", strings.Replace(gone.URL(), "unix://", "unix://:"+password+"@", 1), true, "dial"},
		{"an echo", "redis://:" + password + "@" + serve(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) }), true, "not Redis"},
		{"no TLS", "rediss://:" + password + "@" + serve(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "-ERR unknown command\r\n") }), true, "TLS"},
		{"a certificate of nobody", "rediss://:" + password + "@" + untrusted.Listener.Addr().String(), true, "certificate"},
		{"an echo of errors", "redis://:" + password + "@" + serve(t, func(conn net.Conn) {
			b := make([]byte, 1000)
			for {
				if _, err := conn.Read(b); err != nil {
					return
				}
				_, _ = conn.Write([]byte("-ERR unknown command 'HELLO', with args beginning with: '2' 'AUTH' '" + password + "'\r\n"))
			}
		}), false, "EVAL"},
		{"silence", "redis://:" + password + "@" + serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newRedis(t, tt.url)
			checked, got := s.Check(t.Context()), never(t, s, first)
			if checked == nil || errors.Is(checked, once.ErrDown) != tt.down || !strings.Contains(checked.Error(), tt.says) {
				t.Errorf("Check: %v, want %q and ErrDown: %v", checked, tt.says, tt.down)
			}
			if !errors.Is(got.err, once.ErrDown) {
				t.Errorf("got %v, want ErrDown", got)
			}
			if text := fmt.Sprint(checked, got); strings.Contains(text, password) {
				t.Errorf("the password is shown: %s", text)
			}
		})
	}
}

// serve answers connections until the test ends, and returns the address.
func serve(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				answer(conn)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return listener.Addr().String()
}
