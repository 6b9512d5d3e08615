package once

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"recoverycodes.internal/test/daemon"
)

func newTestRedis(t *testing.T, url string) *Redis {
	t.Helper()
	r, err := NewRedis(RedisConfig{URL: url, Secrets: [][]byte{[]byte(testSecret)}, TTL: time.Minute, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// TestNothingInClearInRedis searches all that Redis has in memory and on disk, for calls that have ended, one that
// panicked and one under way, and tries to open what it finds as one who has guessed everything but the secret.
func TestNothingInClearInRedis(t *testing.T) {
	server := daemon.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", "no")
	r := newTestRedis(t, server.URL())
	const record = "the session token"
	if _, _, err := r.Do(t.Context(), sealedCall, func() ([]byte, bool) { return []byte(record), true }); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		broken := sealedCall
		broken.Key += "-panic"
		_, _, _ = r.Do(t.Context(), broken, func() ([]byte, bool) { panic(record) })
	}()
	underWay := sealedCall
	underWay.Key += "-under-way"
	var dump []byte
	if _, _, err := r.Do(t.Context(), underWay, func() ([]byte, bool) {
		dump = server.Dump(t)
		return nil, false
	}); err != nil {
		t.Fatal(err)
	}

	// The search must see what is there, or it proves nothing: a name is in memory, in the snapshot and in the log.
	var sealed []byte
	for _, key := range []string{"", "-panic", "-under-way"} {
		c := sealedCall
		c.Key += key
		cl, err := r.newClaim(c)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(dump, []byte(cl.names[0])); n < 3 || !bytes.Contains(dump, cl.fingerprints[0]) {
			t.Fatalf("the dump has the name of %q %d times, want 3 and the fingerprint", c.Key, n)
		}
		if key == "" {
			found, err := r.find(t.Context(), cl)
			if err != nil || !bytes.Contains(dump, found.sealed) {
				t.Fatalf("the dump misses the sealed record, or there is none: %v", err)
			}
			sealed = found.sealed
		}
	}
	for what, clear := range map[string]string{
		"caller": sealedCall.Caller, "key": sealedCall.Key, "request": string(sealedCall.Request), "record": record, "secret": testSecret,
	} {
		if bytes.Contains(dump, []byte(clear)) {
			t.Errorf("Redis holds the %s in clear", what)
		}
	}

	ours := mustSealer(t, testSecret)
	fingerprint := ours.fingerprint(sealedCall)
	if got, err := mustBox(t, ours, sealedCall, fingerprint).open(sealed); err != nil || string(got) != record {
		t.Fatalf("with the secret: %q, %v, want the record", got, err)
	}
	for _, secret := range []string{strings.ToUpper(testSecret), sealedCall.Key, sealedCall.Caller, keyPrefix} {
		if got, err := mustBox(t, mustSealer(t, secret), sealedCall, fingerprint).open(sealed); err == nil {
			t.Errorf("opened with %q for a secret: %q", secret, got)
		}
	}
}

// TestARedisThatWasTamperedWith: what does not open, or is no record at all, is not a reason for another run.
func TestARedisThatWasTamperedWith(t *testing.T) {
	server := daemon.StartRedis(t)
	r := newTestRedis(t, server.URL())
	client := server.Client(t)
	for _, tt := range []struct {
		name   string
		tamper func(ctx context.Context, name string) error
		want   error
	}{
		{"another record", func(ctx context.Context, name string) error {
			return client.HSet(ctx, name, "record", "another").Err()
		}, ErrUnknown},
		{"no record", func(ctx context.Context, name string) error { return client.HDel(ctx, name, "record").Err() }, ErrUnknown},
		{"a string", func(ctx context.Context, name string) error { return client.Set(ctx, name, "another", 0).Err() }, ErrDown},
	} {
		c := sealedCall
		c.Key += tt.name
		runs := 0
		run := func() ([]byte, bool) {
			runs++
			return []byte("the session"), true
		}
		if _, _, err := r.Do(t.Context(), c, run); err != nil {
			t.Fatal(err)
		}
		cl, err := r.newClaim(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := tt.tamper(t.Context(), cl.names[0]); err != nil {
			t.Fatal(err)
		}
		if record, _, err := r.Do(t.Context(), c, run); !errors.Is(err, tt.want) || record != nil || runs != 1 {
			t.Errorf("%s: got %q, %v and %d runs, want %v and one run", tt.name, record, err, runs, tt.want)
		}
	}
}

// TestAClaimIsRepeated: asked again with the same token, it is the same claim, with a lease that begins anew; once it is
// settled or released there is nothing to undo.
func TestAClaimIsRepeated(t *testing.T) {
	r := newTestRedis(t, daemon.StartRedis(t).URL())
	state := func(cl *claim) string {
		t.Helper()
		found, err := r.find(t.Context(), cl)
		if err != nil {
			t.Fatal(err)
		}
		return found.state
	}
	end := func(cl *claim, o outcome) bool {
		t.Helper()
		changed, err := r.conclude(t.Context(), cl, o, []byte("sealed"))
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	mine, err := r.newClaim(sealedCall)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := r.newClaim(sealedCall)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := state(mine); got != foundClaimed {
			t.Errorf("mine is %s, want claimed", got)
		}
		if got := state(theirs); got != foundRunning {
			t.Errorf("theirs is %s, want running", got)
		}
	}
	mine.unsure = true // as after a question whose answer was lost
	if found, err := r.claim(t.Context(), mine); err != nil || found.state != foundClaimed || mine.unsure {
		t.Errorf("mine is %s, %v and unsure: %t; a claim whose run begins must not be released", found.state, err, mine.unsure)
	}
	for _, o := range []outcome{freed, kept, unknown} {
		if end(theirs, o) {
			t.Errorf("theirs was settled with %d, and it is mine", o)
		}
	}
	if !end(mine, kept) || end(mine, freed) || end(mine, unknown) {
		t.Error("mine must be settled once")
	}
	if got := state(mine); got != foundKept {
		t.Errorf("a late question has %s, want kept", got)
	}
}

// TestAClaimLapses: it was given, but no run had begun when others were told that nobody knows what became of it.
func TestAClaimLapses(t *testing.T) {
	url := daemon.StartRedis(t).URL()
	r, other := newTestRedis(t, url), newTestRedis(t, url)
	r.lease = time.Millisecond
	cl, err := r.newClaim(sealedCall)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.find(t.Context(), cl); err != nil {
		t.Fatal(err)
	}
	run := func() ([]byte, bool) { return []byte("the session"), true }
	if _, _, err := other.Do(t.Context(), sealedCall, run); !errors.Is(err, ErrUnknown) {
		t.Fatalf("another gets %v, want ErrUnknown", err)
	}
	r.lease = time.Minute
	if found, err := r.claim(t.Context(), cl); !errors.Is(err, ErrDown) || !cl.unsure {
		t.Errorf("got %v, %v and unsure: %t, want ErrDown and that it is released", found, err, cl.unsure)
	}
	r.forget(cl)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, replayed, err := other.Do(t.Context(), sealedCall, run); err != nil || replayed {
		t.Errorf("after the release: replayed %t, %v, want a run", replayed, err)
	}
}

// TestServersThatAreRefused is about servers that a test cannot start.
func TestServersThatAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, change, to, want string }{
		{"good", "", "", ""},
		{"later", "redis_version", "10.1.0", ""},
		{"old", "redis_version", "6.2.14", "version 6.2.14"},
		{"no version", "redis_version", "", "version"},
		{"a cluster", "redis_mode", "cluster", "Cluster"},
		{"no policy", "maxmemory_policy", "", "maxmemory-policy"},
		{"a policy", "maxmemory_policy", "volatile-lru", "maxmemory-policy volatile-lru"},
		{"a policy that is no word", "maxmemory_policy", "an essay of its own", "maxmemory-policy something else"},
	} {
		info := map[string]string{"redis_version": "7.0.15", "redis_mode": "standalone", "maxmemory_policy": "noeviction", "role": "master"}
		if tt.change != "" {
			info[tt.change] = tt.to
		}
		err := judge(info)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}
