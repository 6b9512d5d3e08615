package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// rig is everything that stands still while rounds are run: the built commands, the upstreams, the servers.
type rig struct {
	dir        string // of binaries, logs and configuration files
	nginxPath  string // empty when there is no nginx
	serverCore int
	cores      []int // all that take part
	upstreams  *upstreams
	running    map[string]*process
}

// built are the commands that are built, by name.
var built = map[string]string{
	"recoverycodesd": "./server",
	"bare":           "./server/internal/bare",
	"proxy":          "./test/bench/proxy",
	"facade":         "./test/bench/facade",
	"floor":          "./test/bench/floor",
}

// newRig builds the commands as they would be shipped, and then takes the machine: this process stays on one core.
func newRig(ctx context.Context) (*rig, error) {
	generator, server, err := cores()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	r := &rig{dir: dir, serverCore: server, cores: []int{generator, server}, running: make(map[string]*process)}
	for name, source := range built {
		if err := build(ctx, filepath.Join(dir, name), source, "-trimpath", "-ldflags=-s -w"); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil && r.nginxPath == "" {
			r.nginxPath = path
		}
	}
	if err := pinSelf(generator); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if r.upstreams, err = startUpstreams(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func build(ctx context.Context, binary, source string, flags ...string) error {
	args := append(append([]string{"build", "-o", binary}, flags...), source)
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", source, err, out)
	}
	return nil
}

// stolen is what a hypervisor has taken of the cores so far, and 0 where that is not told.
func (r *rig) stolen() time.Duration {
	d, err := stolen(r.cores...)
	if err != nil {
		return 0
	}
	return d
}

// has reports whether a server can be started here.
func (r *rig) has(server string) bool { return server != nginx || r.nginxPath != "" }

func (r *rig) close() error {
	for _, p := range r.running {
		p.stop()
	}
	if r.upstreams != nil {
		for _, u := range r.upstreams.all() {
			u.end()
		}
	}
	return os.RemoveAll(r.dir)
}

// process is a running server.
type process struct {
	addresses

	command *exec.Cmd
	log     string // the file of its standard error
}

// server returns the running process of a server, and starts it if need be. It has none when the upstream itself is called.
func (r *rig) server(name string) (*process, error) {
	if name == nobody {
		return nil, nil
	}
	if p, ok := r.running[name]; ok {
		return p, nil
	}
	p, err := r.start(name)
	if err != nil {
		return nil, err
	}
	r.running[name] = p
	return p, p.await()
}

// start starts one more process of a server and does not wait until it serves.
func (r *rig) start(name string) (*process, error) {
	base := filepath.Join(r.dir, strings.ReplaceAll(name, " ", "-"))
	p := &process{}
	p.audit = base + ".audit"
	for _, address := range []*string{&p.grpc, &p.http, &p.admin, &p.profiler} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*address = listener.Addr().String()
		if err := listener.Close(); err != nil {
			return nil, err
		}
	}
	l, err := r.launchOf(name, p.addresses)
	if err != nil {
		return nil, err
	}
	program := l.program
	if !filepath.IsAbs(program) {
		program = filepath.Join(r.dir, program)
	}
	// A log that grows by appending can be cut to nothing while it is written.
	log, err := os.OpenFile(base+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p.log = log.Name()
	p.command = exec.Command(program, l.args...)
	p.command.Env = append([]string{}, l.env...)
	p.command.Stderr = log
	return p, startOn(r.serverCore, p.command)
}

// await returns when one of the server's doors takes connections.
func (p *process) await() error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, address := range []string{p.http, p.grpc} {
			if conn, err := net.Dial("tcp", address); err == nil {
				return conn.Close()
			}
		}
	}
	text, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s does not serve:\n%s", p.command.Path, text)
}

func (p *process) stop() {
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
}

// usage is what a process has used so far.
type usage struct {
	cpu         time.Duration
	allocations float64 // 0 for a server that cannot tell
	resident    int64
}

// usage reads what there is to read. Reading costs the process something too: before a round the CPU time is read last and
// after it first, so that it is not counted.
func (p *process) usage(cpuFirst bool) (u usage, err error) {
	if p == nil {
		return u, nil
	}
	pid := p.command.Process.Pid
	if cpuFirst {
		if u.cpu, err = cpuTime(pid); err != nil {
			return u, err
		}
	}
	if u.allocations, err = p.allocations(); err != nil {
		return u, err
	}
	if u.resident, err = resident(pid); err != nil {
		return u, err
	}
	if !cpuFirst {
		u.cpu, err = cpuTime(pid)
	}
	return u, err
}

// allocations asks the process for its count. A server that is not written in Go has none.
func (p *process) allocations() (float64, error) {
	if strings.HasSuffix(p.command.Path, "/nginx") {
		return 0, nil
	}
	resp, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "go_memstats_mallocs_total "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, errors.New("no count of allocations in /metrics")
}

// cutLogs empties the logs, which get a line per call.
func (p *process) cutLogs() error {
	if p == nil {
		return nil
	}
	err := os.Truncate(p.audit, 0)
	if errors.Is(err, os.ErrNotExist) { // only the real server has one
		err = nil
	}
	return errors.Join(err, os.Truncate(p.log, 0))
}
