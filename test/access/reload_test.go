package access

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"recoverycodes.internal/test/daemon"
	"recoverycodes.internal/test/documents"
)

const soon = "--reload-interval=50ms"

// notReloaded counts the states of files of a kind that a server did not take over.
func notReloaded(t *testing.T, d *daemon.Daemon, what string, n int) {
	t.Helper()
	awaitLog(t, d, `"what":"`+what+`"`, n)
	if series := fmt.Sprintf("recoverycodes_reload_failures_total{what=%q} %d\n", what, n); !strings.Contains(fetch(t, d, "/metrics"), series) {
		t.Errorf("no %s", series)
	}
}

// TestThePolicyIsReplaced while the server serves: by another one, by garbage, by nothing, and by another one again. Only
// what is a policy counts, from then on, through both doors, and for connections that are open.
func TestThePolicyIsReplaced(t *testing.T) {
	policy := func(methods string) string { return strings.Replace(one(""), "[Get, Recover, Rotate]", methods, 1) }
	path := file(t, "policy.yaml", policy("Get"))
	d := daemon.Start(t, nil, "--sandbox", "--policy="+path, soon)
	p := connect(t, d)
	holds := func(get, rotate string) {
		t.Helper()
		for _, call := range doors {
			call(p, t, request("Get", slug, member, ""), bearer("one")).is(t, get)
			call(p, t, request("Rotate", slug, member, ""), bearer("one")).is(t, rotate)
		}
	}
	const refused, inForce = "OPERATION_NOT_ALLOWED", "the policy was read again and is in force"
	holds("", refused)
	put(t, path, policy("[Get, Rotate]"))
	awaitLog(t, d, inForce, 1)
	holds("", "")
	for i, wrong := range []string{
		"GARBAGE \x00 [",
		strings.Replace(policy("Get"), "methods", "metods", 1),
		policy("Get") + policy("Get"),
	} {
		put(t, path, wrong)
		notReloaded(t, d, "policy", i+1)
		holds("", "")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	notReloaded(t, d, "policy", 4)
	holds("", "")
	put(t, path, policy("Rotate"))
	awaitLog(t, d, inForce, 2)
	holds(refused, "")
	log := d.Log()
	if !strings.Contains(log, "line 4: callers[0]: unknown field metods") || strings.Contains(log, "GARBAGE") {
		t.Errorf("the log:\n%s", log)
	}
	if n := strings.Count(log, `"level":"error"`); n != 4 {
		t.Errorf("%d errors in the log", n)
	}
}

// TestRatesOutliveAPolicy: what was used of a rate stays used.
func TestRatesOutliveAPolicy(t *testing.T) {
	limited := one("    rate: { per_second: 0.001, burst: 1 }\n")
	path := file(t, "policy.yaml", limited)
	d := daemon.Start(t, nil, "--sandbox", "--policy="+path, soon)
	p := connect(t, d)
	get := request("Get", slug, member, "")
	p.byREST(t, get, bearer("one")).is(t, "")
	put(t, path, limited+"# read it again\n")
	awaitLog(t, d, "the policy was read again and is in force", 1)
	for _, call := range doors {
		call(p, t, get, bearer("one")).as(t, "NOT_SENT", limitReached, http.StatusTooManyRequests)
	}
}

// stytch is an upstream with a secret that can be changed.
type stytch struct {
	*httptest.Server
	secret            atomic.Pointer[string]
	accepted, refused atomic.Int32
}

func newStytch(t *testing.T, secret string) *stytch {
	t.Helper()
	s := &stytch{}
	s.secret.Store(&secret)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "project-test-1" || password != *s.secret.Load() {
			s.refused.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"status_code":401,"request_id":"r","error_type":"unauthorized_credentials","error_message":"m","error_url":"u"}`)
			return
		}
		s.accepted.Add(1)
		_, _ = w.Write(documents.Get())
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *stytch) serve(t *testing.T, secretFile string, args ...string) *daemon.Daemon {
	t.Helper()
	return daemon.Start(t, []string{
		"STYTCH_PROJECT_ID=project-test-1", "STYTCH_BASE_URL=" + s.URL, "STYTCH_SECRET_FILE=" + secretFile,
	}, append(args, "--insecure-allow-any-caller")...)
}

const readAgain = "the Stytch secret was read again and is in use"

// TestTheStytchSecretIsRotated where both secrets hold for a while: the new one is used before the old one ends, no call
// fails, and a file that is emptied by mistake changes nothing.
func TestTheStytchSecretIsRotated(t *testing.T) {
	upstream := newStytch(t, "SECRET-1")
	path := file(t, "secret", "SECRET-1\n")
	d := upstream.serve(t, path, soon)
	p := connect(t, d)
	get := request("Get", "o", "m", "")
	p.byGRPC(t, get, nil).is(t, "")
	put(t, path, "")
	notReloaded(t, d, "secret", 1)
	p.byREST(t, get, nil).is(t, "")

	put(t, path, "SECRET-2")
	awaitLog(t, d, readAgain, 1)
	next := "SECRET-2"
	upstream.secret.Store(&next)
	for _, call := range doors {
		call(p, t, get, nil).is(t, "")
	}
	if n, refused := upstream.accepted.Load(), upstream.refused.Load(); n != 4 || refused != 0 {
		t.Errorf("%d calls accepted, %d refused", n, refused)
	}
	if strings.Contains(d.Log(), "SECRET-") {
		t.Error("a secret is in the log")
	}
}

// TestARefusedSecretIsReadAgain where the old secret has ended: the first call that Stytch refuses has the file read,
// however long it is until the next look.
func TestARefusedSecretIsReadAgain(t *testing.T) {
	for door, call := range doors {
		t.Run(door, func(t *testing.T) {
			t.Parallel()
			upstream := newStytch(t, "SECRET-2")
			path := file(t, "secret", "SECRET-1")
			d := upstream.serve(t, path, "--reload-interval=1h")
			p := connect(t, d)
			get := request("Get", "o", "m", "")
			put(t, path, "SECRET-2")
			refused := call(p, t, get, nil)
			refused.is(t, "UPSTREAM_CREDENTIALS")
			if strings.Contains(refused.raw, "SECRET-") || strings.Contains(refused.raw, "project-test-1") {
				t.Errorf("the caller is told %s", refused.raw)
			}
			awaitLog(t, d, readAgain, 1)
			call(p, t, get, nil).is(t, "")
			if n := upstream.refused.Load(); n != 1 {
				t.Errorf("%d calls refused", n)
			}
		})
	}
}

// TestTheSandboxTakesOneSecret is the same against the emulated Stytch, which refuses another one.
func TestTheSandboxTakesOneSecret(t *testing.T) {
	sandbox := daemon.StartSandbox(t, true)
	path := file(t, "secret", "secret-test-old")
	var env []string
	for _, e := range sandbox.Env {
		if !strings.HasPrefix(e, "STYTCH_SECRET=") {
			env = append(env, e)
		}
	}
	d := daemon.Start(t, append(env, "STYTCH_SECRET_FILE="+path), "--insecure-allow-any-caller", "--reload-interval=1h")
	p := connect(t, d)
	rotate := request("Rotate", slug, member, "")
	p.byGRPC(t, rotate, nil).is(t, "UPSTREAM_CREDENTIALS")
	put(t, path, "secret-test-sandbox\n")
	p.byREST(t, rotate, nil).is(t, "UPSTREAM_CREDENTIALS")
	awaitLog(t, d, readAgain, 1)
	p.byREST(t, rotate, nil).is(t, "")
	if n := sandbox.Member(t, member).Effects.Rotate; n != 1 {
		t.Errorf("%d effects", n)
	}
}
