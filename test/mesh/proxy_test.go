package mesh

import (
	"bytes"
	"embed"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
)

//go:embed testdata
var configs embed.FS

// A program is a proxy that Debian has.
type program struct {
	name, config string
	args         []string // and then the path of its configuration
	repeatsREST  bool     // told to send a POST again, it does
}

var (
	haproxy = program{"haproxy", "haproxy.cfg", []string{"-db", "-q", "-f"}, true}
	nginx   = program{"nginx", "nginx.conf", []string{"-e", "stderr", "-c"}, true}
	caddy   = program{"caddy", "Caddyfile", []string{"run", "--adapter", "caddyfile", "--config"}, false} // without its body, to nobody's use

	programs = []program{haproxy, nginx, caddy}

	egressHAProxy = program{"haproxy", "egress-haproxy.cfg", haproxy.args, true}
	egressNginx   = program{"nginx", "egress-nginx.conf", nginx.args, true}
)

// A setup is what the configuration of a proxy is made from.
type setup struct {
	Dir   string // of its sockets: one named after each door
	Doors []doorway
	Admin []string // where replicas say whether they are ready; without them nobody looks

	Repeat bool   // tell it to send again whatever it can
	Strip  bool   // x-forwarded-client-cert from outside does not pass
	Keys   string // a directory of certificates: TLS, and x-forwarded-client-cert tells who is there

	Upstream, CA string // of an egress proxy, and what its certificate is verified by
}

// A doorway is one door of all replicas.
type doorway struct {
	Name    string
	HTTP2   bool
	Sockets []string
}

// before returns the doorways to servers with these sockets.
func before(replicas ...*replica) []doorway {
	grpc, rest := doorway{Name: "grpc", HTTP2: true}, doorway{Name: "rest"}
	for _, r := range replicas {
		grpc.Sockets, rest.Sockets = append(grpc.Sockets, r.grpc), append(rest.Sockets, r.rest)
	}
	return []doorway{grpc, rest}
}

// A proxy is a program that runs before the doors.
type proxy struct {
	setup

	program program
	command *exec.Cmd
}

// socket is where the proxy takes calls for a door.
func (p *proxy) socket(door string) string { return filepath.Join(p.Dir, door+".sock") }

// run starts the program and waits until it takes connections. Without the program the test is skipped, but not in CI.
func (p program) run(t *testing.T, s setup) *proxy {
	t.Helper()
	binary, err := exec.LookPath(p.name)
	if err != nil {
		if os.Getenv("RECOVERYCODES_CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("no %s", p.name)
	}
	if s.Dir == "" {
		s.Dir = socketDir(t)
	}
	running := &proxy{setup: s, program: p}
	running.configure(t)
	command := exec.Command(binary, append(p.args, running.path())...)
	command.Env = []string{"HOME=" + s.Dir}
	var log bytes.Buffer
	command.Stdout, command.Stderr = &log, &log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	running.command = command
	exited := make(chan struct{})
	go func() {
		_ = command.Wait() // killed
		close(exited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // with the workers of nginx
		<-exited
		if t.Failed() && log.Len() > 0 {
			t.Logf("%s: %s", p.name, log.String())
		}
	})
	for _, door := range s.Doors {
		await(t, p.name+" at its socket", func() bool {
			select {
			case <-exited:
				t.Fatalf("%s ended: %s", p.name, log.String())
			default:
			}
			conn, err := net.Dial("unix", running.socket(door.Name))
			if err != nil {
				return false
			}
			return conn.Close() == nil
		})
	}
	return running
}

func (p *proxy) path() string { return filepath.Join(p.Dir, p.program.config) }

// configure writes the configuration as the setup is now.
func (p *proxy) configure(t *testing.T) {
	t.Helper()
	text := new(strings.Builder)
	if err := template.Must(template.ParseFS(configs, "testdata/"+p.program.config)).Execute(text, p.setup); err != nil {
		t.Fatal(err)
	}
	write(t, p.path(), text.String())
}
