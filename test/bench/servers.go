package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// addresses are where a server listens, and where it writes its audit lines. A server uses what it has.
type addresses struct{ grpc, http, admin, profiler, audit string }

// launch is how a server is started.
type launch struct {
	program   string // the name of a built command, or a path
	args, env []string
}

// callerToken is what every call carries, whoever is called, and policy what the real server is told of it.
const (
	callerToken = "bench-token-of-no-value"
	policy      = `callers:
  - name: bench
    match: { secret_sha256: "SHA256" }
    methods: [Get, Recover]
    organizations: ["` + organizationID + `"]
    rate: { per_second: 1000000, burst: 1000000 }
`
)

// wholeChain starts the real server as production does, with everything on. Together with callerToken and policy it is
// the one place that knows what the chain needs to be told.
func wholeChain(r *rig, at addresses, up *upstream, more ...string) (launch, error) {
	hash := sha256.Sum256([]byte(callerToken))
	policyFile := filepath.Join(r.dir, "policy.yaml")
	err := os.WriteFile(policyFile, []byte(strings.ReplaceAll(policy, "SHA256", hex.EncodeToString(hash[:]))), 0o600)
	if err != nil {
		return launch{}, err
	}
	l := launch{
		program: "recoverycodesd",
		args: append([]string{
			"serve", "--grpc-listen=" + at.grpc, "--http-listen=" + at.http, "--admin-listen=" + at.admin,
			"--stytch-base-url=" + up.url, "--policy=" + policyFile, "--audit-file=" + at.audit,
			"--attempts-caller-share=100", // the Recovers of one caller, all at once, are no attack here
		}, more...),
		env: []string{"STYTCH_PROJECT_ID=project-test-bench", "STYTCH_SECRET=secret-test-bench"},
	}
	if up.certificate != nil {
		file := filepath.Join(r.dir, "ca.pem")
		l.args = append(l.args, "--stytch-ca-file="+file)
		// Both TLS upstreams show the same certificate.
		return l, os.WriteFile(file, up.certificate, 0o600)
	}
	return l, nil
}

// goSettings is the environment of every other Go server: its collector is set as the real server sets its own.
var goSettings = []string{"GOGC=400", "GOMEMLIMIT=512MiB"}

// The servers there are. The names are for this program; the tables have their own.
const (
	ours      = "ours"
	oursKeyed = "ours keyed"
	oursTLS1  = "ours tls1"
	oursTLS2  = "ours tls2"
	bare      = "bare"
	proxy     = "proxy"
	allocates = "proxy allocates"
	nginx     = "nginx"
	facade    = "facade"
	floor     = "floor"
	encoded   = "floor encoded"
	nobody    = "nobody" // the upstream itself
)

// launchOf says how to start a server.
func (r *rig) launchOf(server string, at addresses) (launch, error) {
	up := r.upstreams.plain
	two := func(program string, more ...string) (launch, error) {
		args := append([]string{"-grpc=" + at.grpc, "-http=" + at.http, "-admin=" + at.admin, "-upstream=" + up.url}, more...)
		return launch{program: program, args: args, env: goSettings}, nil
	}
	one := func(program, address string, more ...string) (launch, error) {
		args := append([]string{"-listen=" + address, "-admin=" + at.admin, "-upstream=" + up.url}, more...)
		return launch{program: program, args: args, env: goSettings}, nil
	}
	switch server {
	case ours:
		return wholeChain(r, at, up)
	case profiled:
		l, err := wholeChain(r, at, up)
		l.program = profiled
		l.env = append(l.env, "BENCH_PROFILER="+at.profiler)
		return l, err
	case oursKeyed:
		// So many keys a second fill any store within minutes; a short life keeps this one at some ten thousand.
		return wholeChain(r, at, up, "--idempotency-ttl=1s", "--idempotency-max-keys=1000000")
	case oursTLS1:
		return wholeChain(r, at, r.upstreams.tls1)
	case oursTLS2:
		return wholeChain(r, at, r.upstreams.tls2)
	case bare:
		return two("bare")
	case facade:
		return two("facade")
	case proxy:
		return one("proxy", at.http)
	case allocates:
		return one("proxy", at.http, "-allocate-buffers")
	case floor, encoded:
		return launch{program: "floor", env: goSettings, args: []string{
			"-listen=" + at.grpc, "-admin=" + at.admin, "-upstream=" + up.url + path, fmt.Sprintf("-encoded=%v", server == encoded),
		}}, nil
	case nginx:
		return r.nginx(at)
	}
	return launch{}, fmt.Errorf("no server %q", server)
}

// nginxConfig is a reverse proxy with connections kept to both sides, and no log.
const nginxConfig = `daemon off; master_process off; worker_processes 1; pid DIR/nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path DIR/body; proxy_temp_path DIR/proxied; fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
	upstream stytch { server UPSTREAM; keepalive 1024; keepalive_requests 1000000000; }
	server {
		listen LISTEN; keepalive_requests 1000000000;
		location / {
			proxy_pass http://stytch; proxy_http_version 1.1; proxy_set_header Connection "";
			proxy_set_header Authorization "Basic cHJvamVjdC10ZXN0LWJlbmNoOnNlY3JldC10ZXN0LWJlbmNo";
			proxy_buffers 8 16k;
		}
	}
}
`

func (r *rig) nginx(at addresses) (launch, error) {
	text := strings.NewReplacer(
		"DIR", r.dir, "LISTEN", at.http, "UPSTREAM", strings.TrimPrefix(r.upstreams.plain.url, "http://"),
	).Replace(nginxConfig)
	file := filepath.Join(r.dir, "nginx.conf")
	return launch{program: r.nginxPath, args: []string{"-c", file, "-p", r.dir}}, os.WriteFile(file, []byte(text), 0o600)
}
