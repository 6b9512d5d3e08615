package mesh

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"recoverycodes.internal/test/daemon"
)

// TestEgress has a proxy between the server and Stytch that adds TLS, as an egress sidecar does. Told to send again what
// fails, it makes several effects of one Rotate, of which the server can see nothing: it has sent one request. Of a
// Recover, the second finds the code spent, and so the caller is told that a code was wrong which was right. Told not
// to, it makes one effect, and the caller is told that its outcome is unknown.
func TestEgress(t *testing.T) {
	sandbox := daemon.StartSandbox(t, true)
	upstream, err := url.Parse(sandbox.URL)
	if err != nil {
		t.Fatal(err)
	}
	ca := ""
	for _, variable := range sandbox.Env {
		if path, ok := strings.CutPrefix(variable, "STYTCH_CA_FILE="); ok {
			ca = path
		}
	}
	for _, program := range []program{egressHAProxy, egressNginx} {
		for _, repeat := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, told to repeat %t", program.name, repeat), func(t *testing.T) {
				t.Parallel()
				out := wireTo(t, "tcp", upstream.Host)
				p := program.run(t, setup{Doors: []doorway{{Name: "stytch"}}, Repeat: repeat, Upstream: out.address, CA: ca})
				behind := *sandbox
				behind.Env = append(sandbox.Env[:2:2], "STYTCH_BASE_URL=http://"+wireTo(t, "tcp", p.socket("stytch")).address)
				call := dialGRPC(t, newReplica(t, &behind, patient...).grpc, nil)
				for _, kind := range []string{"reset-after-effect", "status-500-after-effect", "html-502-after-effect", "slow-1000"} {
					for _, method := range []string{"Rotate", "Recover"} {
						id := faulty(kind, fmt.Sprintf("%s-%s-%t", program.name, method, repeat))
						answered := make(chan answer, 1)
						go func() { answered <- call(t.Context(), method, id) }()
						if kind == "slow-1000" { // whose connection breaks, once
							await(t, id, func() bool { return arrived(t, sandbox, id) == 1 })
							out.cut()
						}
						a, times := <-answered, arrived(t, sandbox, id)
						effects := sandbox.Member(t, id).Effects
						want := answer{reason: "OUTCOME_UNKNOWN"}
						if repeat && kind == "slow-1000" {
							want = answer{ok: true}
							if method == "Recover" {
								want = answer{reason: "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE"}
							}
						}
						if a.ok != want.ok || a.reason != want.reason {
							t.Errorf("%s of %s: %+v", method, id, a)
						}
						if times > 1 != repeat || method == "Rotate" && effects.Rotate != times || method == "Recover" && effects.Recover != 1 {
							t.Errorf("%s of %s: arrived %d times, %+v", method, id, times, effects)
						}
					}
				}
			})
		}
	}
}
