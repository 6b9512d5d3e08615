package parity

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// sharing are the arguments of servers that share a store.
func sharing(t *testing.T, url string, secrets ...string) []string {
	t.Helper()
	if len(secrets) == 0 {
		secrets = []string{strings.Repeat("secret", 6)}
	}
	path := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(path, []byte(strings.Join(secrets, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--insecure-allow-any-caller", "--once-redis-url=" + url, "--store-secret-file=" + path}
}

// rotateWith makes a Rotate with a key, or without, and returns what it came to and whether it is a replay.
func rotateWith(t *testing.T, d *daemon.Daemon, member, key string) (verdict, bool) {
	t.Helper()
	ctx := t.Context()
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", key)
	}
	var header metadata.MD
	request := &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: member}
	err := d.Dial(t).Invoke(ctx, "/"+service+"/Rotate", request, &recoverycodesv1.RotateResponse{}, grpc.Header(&header))
	return verdictOf(t, err), len(header.Get("idempotency-replayed")) == 1
}

// TestReplicasShareKeys sends a key to one server and then to another, and once more to a third that has the next
// secret in use already.
func TestReplicasShareKeys(t *testing.T) {
	redis := daemon.StartRedis(t)
	sandbox := daemon.StartSandbox(t, false)
	before, after := strings.Repeat("before", 6), strings.Repeat("after-", 6)
	for i, args := range [][]string{
		sharing(t, redis.URL(), before), sharing(t, redis.URL(), before, after), sharing(t, redis.URL(), after, before),
	} {
		d := daemon.Start(t, sandbox.Env, args...)
		if v, replayed := rotateWith(t, d, member, "key-1"); v.code != codes.OK || replayed != (i > 0) {
			t.Errorf("server %d: %+v, a replay: %t", i, v, replayed)
		}
	}
	if n := sandbox.Member(t, member).Effects.Rotate; n != 1 {
		t.Errorf("%d effects", n)
	}
}

// TestAStoreThatIsDown refuses what has a key and nothing else, from the start or in the middle.
func TestAStoreThatIsDown(t *testing.T) {
	redis := daemon.StartRedis(t)
	redis.Stop()
	sandbox := daemon.StartSandbox(t, false)
	d := daemon.Start(t, sandbox.Env, sharing(t, redis.URL())...)
	if !strings.Contains(d.Log(), "calls with an idempotency key are refused until the store answers, and wrong codes") {
		t.Errorf("it does not say so:\n%s", d.Log())
	}
	down := func() {
		t.Helper()
		if v, _ := rotateWith(t, d, member, "key-1"); v.reason != "NOT_SENT" || !v.details.retry {
			t.Errorf("with a key: %+v", v)
		}
		if v, _ := rotateWith(t, d, member, ""); v.code != codes.OK {
			t.Errorf("without: %+v", v)
		}
	}
	down()
	redis.Restart(t)
	if v, replayed := rotateWith(t, d, member, "key-1"); v.code != codes.OK || replayed {
		t.Errorf("back again: %+v, a replay: %t", v, replayed)
	}
	redis.Stop()
	down()
	if n := sandbox.Member(t, member).Effects.Rotate; n != 3 {
		t.Errorf("%d effects", n)
	}
	d.Signal(t, stopSignal)
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestAStoreThatForgets is refused at the start.
func TestAStoreThatForgets(t *testing.T) {
	redis := daemon.StartRedis(t, "--maxmemory-policy", "allkeys-lru")
	for name, c := range map[string]struct{ url, says string }{
		"a policy that evicts": {redis.URL(), "maxmemory-policy allkeys-lru"},
		"no URL of a Redis":    {"http://user:MARKED@localhost", "--once-redis-url: "},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.Command(daemon.Binary(t), append([]string{"serve", "--sandbox", "--grpc-listen=127.0.0.1:0",
				"--http-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}, sharing(t, c.url)...)...)
			out, err := command.CombinedOutput()
			if err == nil || command.ProcessState.ExitCode() != 2 {
				t.Errorf("%v", err)
			}
			if !strings.Contains(string(out), c.says) || strings.Contains(string(out), "MARKED") {
				t.Errorf("it says:\n%s", out)
			}
		})
	}
}
