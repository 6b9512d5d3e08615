package recoverycodes

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/gateway"
	"recoverycodes.internal/server/internal/inproc"
	"recoverycodes.internal/server/internal/interceptor"
	"recoverycodes.internal/server/internal/sandbox"
	"recoverycodes.internal/server/internal/telemetry"
)

// haproxyConfig is a proxy in front of two replicas that is told to send again whatever it can: it keeps the request,
// and takes time-outs, cut connections and 5xx for reasons.
const haproxyConfig = `
global
    nbthread 1
defaults
    mode http
    option http-buffer-request
    option redispatch
    retries 3
    retry-on all-retryable-errors
    timeout connect 2s
    timeout client 20s
    timeout server 300ms
frontend calls
    bind fd@3%[3]s
    default_backend replicas
backend replicas
    server one %[1]s%[3]s
    server two %[2]s%[3]s
`

// TestFuseBehindHAProxy counts the effects of one Rotate behind that proxy, under each fault and under the proxy's own
// time-out, which is shorter than the upstream takes: one with the fuse. The negative control has more for the time-out;
// the other faults end in a gRPC status, which HAProxy does not look at.
func TestFuseBehindHAProxy(t *testing.T) {
	for _, fuse := range []bool{true, false} {
		replicas := newReplicas(t, 2, fuse)
		for kind, effects := range effectsThrough(t, startHAProxy(t, replicas[0].address, replicas[1].address, " proto h2"), replicas[0], grpc.WithDisableRetry()) {
			if fuse || kind == "slow-30000" {
				check(t, kind, fuse, effects.Rotate)
				if fuse {
					check(t, kind, fuse, effects.Recover)
				}
			}
		}
	}
}

// TestRESTBehindHAProxy shows what is not protected, and what closes it: a REST call whose 500 the proxy is told to repeat
// has several effects, and one with an idempotency key has one, while the proxy's servers share the keys.
func TestRESTBehindHAProxy(t *testing.T) {
	r := newReplicas(t, 1, true)[0]
	withStore(t, r.service, 10)
	observer := telemetry.NewObserver(zap.NewNop(), nil)
	chain := interceptor.Chain{Calls: &interceptor.InFlight{}, Observer: observer, Guard: access.Anyone(), Limit: time.Minute}
	corridor := inproc.New(chain.Unary()...)
	recoverycodesv1.RegisterRecoveryCodesServiceServer(corridor, r.service)
	door, err := gateway.Handler(corridor, chain.Calls, observer, chain.Guard)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(door)
	defer server.Close()
	address := server.Listener.Addr().String()
	proxy := startHAProxy(t, address, address, "")
	for _, key := range []string{"", "key-1"} {
		id := "member-test-fault-status-500-after-effect~" + key
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+proxy+"/v1/b2b/recovery_codes/rotate",
			strings.NewReader(`{"organization_id":"`+sandbox.OrganizationID+`","member_id":"`+id+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if key != "" {
			req.Header.Set(call.IdempotencyKey, key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		effects := r.sandbox.State().Members[id].Effects.Rotate
		if resp.StatusCode != http.StatusInternalServerError || (key == "") != (effects > 1) || effects == 0 {
			t.Errorf("key %q: status %d, %d effects", key, resp.StatusCode, effects)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// installed returns the path of a program that Debian has. Without it the test is skipped, but not in CI.
func installed(t *testing.T, name string) string {
	t.Helper()
	binary, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("RECOVERYCODES_CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("no %s", name)
	}
	return binary
}

// startHAProxy runs HAProxy in front of two addresses, on a listener that is handed to it, and returns its address.
// protocol is what is added to say that both sides speak something else than HTTP/1.1.
func startHAProxy(t *testing.T, one, two, protocol string) string {
	t.Helper()
	binary := installed(t, "haproxy")
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	writeConfig(t, config, fmt.Sprintf(haproxyConfig, one, two, protocol))
	listener := listen(t)
	inherited, err := listener.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(binary, "-db", "-q", "-f", config)
	command.ExtraFiles = []*os.File{inherited}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	// HAProxy has it now; a connection that this process accepted would never be answered.
	_, _ = listener.Close(), inherited.Close()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return address
}

// nginxConfig is a proxy that is told to send again whatever it can, calls with an effect included.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log /dev/null crit;
events {}
http {
    access_log off;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    upstream replicas {
        server %[3]s max_fails=0;
        server %[4]s max_fails=0;
    }
    server {
        listen %[2]s http2;
        location / {
            grpc_pass grpc://replicas;
            grpc_read_timeout 300ms;
            grpc_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504 http_429 non_idempotent;
            grpc_next_upstream_tries 4;
        }
    }
}
`

// TestNginxDoesNotRepeat is the run behind the sentence that nginx does not send these calls again: not even when it is
// told to, and not even without the fuse.
func TestNginxDoesNotRepeat(t *testing.T) {
	binary := installed(t, "nginx")
	for _, fuse := range []bool{true, false} {
		replicas := newReplicas(t, 2, fuse)
		dir := t.TempDir()
		// nginx can be handed no listener, so it is told a port that was free a moment ago.
		listener := listen(t)
		address := listener.Addr().String()
		_ = listener.Close()
		writeConfig(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(nginxConfig, dir, address, replicas[0].address, replicas[1].address))
		command := exec.Command(binary, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
		command.Stderr = os.Stderr
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		for kind, effects := range effectsThrough(t, address, replicas[0], grpc.WithDisableRetry()) {
			if effects.Rotate != 1 || effects.Recover != 1 {
				t.Errorf("%s, fuse %v: %+v", kind, fuse, effects)
			}
		}
		_ = command.Process.Kill()
		_ = command.Wait()
	}
}

func writeConfig(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
