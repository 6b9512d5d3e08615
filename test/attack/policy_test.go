package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"recoverycodes.internal/test/daemon"
)

// TestGarbagePolicy replaces the policy of a serving server by one garbage after the other. Each is refused and counted,
// and callers are served by the policy that was good, without one call lost. A good policy is taken over in the end.
func TestGarbagePolicy(t *testing.T) {
	t.Parallel()
	x := start(t, options{})
	path := x.path("policy.yaml")
	good := x.read(t, "policy.yaml")
	pasted := newSecret()
	garbage := []struct {
		name string
		put  func() error
	}{
		{"random bytes", func() error { return os.WriteFile(path, []byte(newSecret()+"\x00\xff\xfe"+newSecret()), 0o600) }},
		{"nothing", func() error { return os.WriteFile(path, nil, 0o600) }},
		{"cut in half", func() error { return os.WriteFile(path, []byte(good[:len(good)/2]), 0o600) }},
		{"no callers", func() error { return os.WriteFile(path, []byte("callers: []\n"), 0o600) }},
		{"a name that is not known", func() error { return os.WriteFile(path, []byte(good+"admins: [web]\n"), 0o600) }},
		{"a secret where its hash belongs", func() error {
			return os.WriteFile(path, []byte(strings.Replace(good, hash(x.secret), pasted, 1)), 0o600)
		}},
		{"a secret for a name", func() error {
			return os.WriteFile(path, []byte(strings.Replace(good, "name: web", "name: "+pasted, 1)), 0o600)
		}},
		{"a secret for the name of a field", func() error {
			return os.WriteFile(path, []byte(strings.Replace(good, "methods:", pasted+":", 1)), 0o600)
		}},
		{"aliases without end", func() error {
			return os.WriteFile(path, []byte("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\ncallers: *c\n"), 0o600)
		}},
		{"brackets without end", func() error { return os.WriteFile(path, []byte(strings.Repeat("[", 900_000)), 0o600) }},
		{"5 MB", func() error { return os.WriteFile(path, []byte(good+strings.Repeat("#\n", 5<<19)), 0o600) }},
		{"no file", func() error { return os.Remove(path) }},
		{"a directory", func() error { return os.Mkdir(path, 0o700) }},
	}

	var refused, served atomic.Int64
	stop := make(chan struct{})
	var callers sync.WaitGroup
	conn := x.dial(t)
	callers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, got := range []answer{
				getGRPC(t.Context(), conn, "authorization", "Bearer "+x.secret), x.getREST(t, "Authorization", "Bearer "+x.secret),
			} {
				if served.Add(1); !got.ok {
					refused.Add(1)
				}
			}
			time.Sleep(time.Millisecond)
		}
	})
	const failures = `recoverycodes_reload_failures_total{what="policy"}`
	for _, g := range garbage {
		before := x.metric(t, failures)
		if err := g.put(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, g.name+" is counted", func() bool { return x.metric(t, failures) > before })
	}
	close(stop)
	callers.Wait()
	if refused.Load() > 0 || served.Load() < 10 {
		t.Errorf("%d of %d calls were refused", refused.Load(), served.Load())
	}
	if strings.Contains(x.Log(), pasted) {
		t.Error("a secret that stood in the policy is in the log")
	}
	if !strings.Contains(x.Log(), "line 1") {
		t.Error("the log does not say where the garbage is")
	}

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	after := newSecret()
	x.write(t, "policy.yaml", policy(after, ""))
	eventually(t, 20*time.Second, "the new policy is in force", func() bool {
		return getGRPC(t.Context(), conn, "authorization", "Bearer "+after).ok
	})
	if got := getGRPC(t.Context(), conn, "authorization", "Bearer "+x.secret); got.reason != "CREDENTIAL_INVALID" {
		t.Errorf("the caller that is no longer listed: %+v", got)
	}
}

// TestPolicyOfAThousandCallers has as many as there may be, and one more.
func TestPolicyOfAThousandCallers(t *testing.T) {
	t.Parallel()
	secrets := make([]string, manyCallers-1) // and web
	var callers strings.Builder
	for i := range secrets {
		secrets[i] = newSecret()
		_, _ = fmt.Fprintf(&callers, "  - { name: c%d, match: { secret_sha256: %q, spiffe_id: \"spiffe://example.org/c%d\" }, methods: [Get], organizations: [%s], rate: { per_second: 1, burst: 2 } }\n",
			i, hash(secrets[i]), i, organization)
	}
	x := start(t, options{callers: callers.String()})
	before := x.memory(t)
	conn := x.dial(t)
	for _, i := range []int{0, len(secrets) / 2, len(secrets) - 1} {
		if got := getGRPC(t.Context(), conn, "authorization", "Bearer "+secrets[i]); !got.ok {
			t.Errorf("caller %d: %+v", i, got)
		}
		if got := x.getREST(t, "Authorization", "Bearer "+secrets[i]); !got.ok {
			t.Errorf("caller %d: %+v", i, got)
		}
		if got := getGRPC(t.Context(), conn, "authorization", "Bearer "+secrets[i]); got.reason != "NOT_SENT" {
			t.Errorf("caller %d, beyond its rate: %+v", i, got)
		}
	}
	if got := getGRPC(t.Context(), conn, "authorization", "Bearer "+newSecret()); got.reason != "CREDENTIAL_INVALID" {
		t.Errorf("a secret of nobody: %+v", got)
	}
	// All are compared, whether or not one is found, so this is what every call costs.
	const calls = 300
	began := time.Now()
	for range calls {
		if got := getGRPC(t.Context(), conn, "authorization", "Bearer "+x.secret); !got.ok {
			t.Fatalf("%+v", got)
		}
	}
	if each := time.Since(began) / calls; each > 50*time.Millisecond {
		t.Errorf("a call takes %v", each)
	}
	x.grew(t, before, 32<<20)

	one := filepath.Join(x.dir, "more.yaml")
	x.write(t, "more.yaml", policy(newSecret(), "")+callers.String()+strings.Replace(callers.String(), "c0", "d0", 2))
	if code, text := daemon.Run(t, nil, "check-policy", one); code != 1 || !strings.Contains(text, "more than 1000") {
		t.Errorf("exit code %d: %.300s", code, text)
	}
}
