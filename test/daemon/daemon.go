// Package daemon builds recoverycodesd and runs it for tests as an operator would: a process with settings and a log.
// It knows the command's name, its settings and its log lines, and nothing of its insides.
package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// startLimit is far above what a start takes, for machines that are busy with other things.
const startLimit = 30 * time.Second

// stopLimit is above the longest that a daemon may take to stop: its drain and what the upstream may take.
const stopLimit = 60 * time.Second

var build = sync.OnceValues(func() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("daemon: no source path; was the test built with -trimpath?")
	}
	dir, err := os.MkdirTemp("", "recoverycodesd")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "recoverycodesd")
	// go run keeps what it has linked in Go's build cache, as go build does not: a run of all tests links once.
	args := []string{"run", "-exec=cp"}
	if raceEnabled {
		args = append(args, "-race")
	}
	command := exec.Command("go", append(args, "./server", binary)...)
	command.Dir = filepath.Join(filepath.Dir(file), "..", "..")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("daemon: go run: %w\n%s", err, out)
	}
	return binary, nil
})

// Binary returns the path of the built command. It is built once in a test process.
func Binary(t testing.TB) string {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// Remove deletes what Binary built. Call it at the end of TestMain.
func Remove() {
	if binary, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
}

// Daemon is a running server.
type Daemon struct {
	GRPC, HTTP, Admin string // addresses: host:port, or the path of a unix socket

	command *exec.Cmd
	exited  chan struct{} // closed when the process has been reaped

	mu     sync.Mutex
	log    bytes.Buffer
	forget bool

	reading sync.Mutex // held by whoever wants the log not to be read
}

// Start runs `recoverycodesd serve` on free ports of loopback with more arguments and an environment of its own, waits
// until it serves, and stops it when the test ends. What it writes to standard output is lost.
func Start(t testing.TB, env []string, args ...string) *Daemon {
	t.Helper()
	return StartWriting(t, nil, env, args...)
}

// StartWriting is Start with a file for standard output, which stays the caller's to close.
func StartWriting(t testing.TB, stdout *os.File, env []string, args ...string) *Daemon {
	t.Helper()
	return StartBuild(t, Binary(t), stdout, env, args...)
}

// StartBuild is StartWriting for another build of the command, such as one with something planted in it.
func StartBuild(t testing.TB, binary string, stdout *os.File, env []string, args ...string) *Daemon {
	t.Helper()
	d := &Daemon{command: exec.Command(binary, serving(args)...), exited: make(chan struct{})}
	d.command.Env = environment(env)
	if stdout != nil {
		d.command.Stdout = stdout
	}
	stderr, err := d.command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.command.Start(); err != nil {
		t.Fatal(err)
	}
	serving := make(chan struct{})
	go d.follow(stderr, serving)
	t.Cleanup(func() {
		_ = d.command.Process.Kill()
		<-d.exited
		raced(t, d.Log())
	})
	select {
	case <-serving:
	case <-d.exited:
		t.Fatalf("the daemon ended: %v\n%s", d.command.ProcessState, d.Log())
	case <-time.After(startLimit):
		t.Fatalf("the daemon does not serve:\n%s", d.Log())
	}
	return d
}

// Fail runs `recoverycodesd serve` as Start does, but with settings that it must refuse, and returns its exit code and
// what it has written.
func Fail(t testing.TB, env []string, args ...string) (code int, output string) {
	t.Helper()
	return Run(t, env, serving(args)...)
}

// Run runs the command with arguments to its end, and returns its exit code and what it has written to both outputs.
func Run(t testing.TB, env []string, args ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	command := exec.CommandContext(ctx, Binary(t), args...)
	command.Env = environment(env)
	text, err := command.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("the command did not end by itself: %v\n%s", err, text)
	}
	return command.ProcessState.ExitCode(), string(text)
}

// raced fails the test whose daemon has written that two of its goroutines were at one thing: most daemons are killed, and
// their exit code tells nothing.
func raced(t testing.TB, log string) {
	t.Helper()
	if _, report, found := strings.Cut(log, "WARNING: DATA RACE"); found {
		t.Errorf("the daemon has a data race:%s", report)
	}
}

// serving are the arguments of serve with free ports of loopback and no delay when it is stopped, unless args say otherwise.
func serving(args []string) []string {
	return slices.Concat([]string{
		"serve", "--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--drain-delay=0s",
	}, args)
}

// environment is env, and none where there is none: for a command that would be the environment of the test. The race
// detector would have each process wait for a second before it ends.
func environment(env []string) []string {
	out := append([]string{}, env...)
	if raceEnabled {
		out = append(out, "GORACE=atexit_sleep_ms=20")
	}
	return out
}

// follow keeps the log, reads the addresses out of it, and reaps the process at its end.
func (d *Daemon) follow(stderr io.Reader, serving chan<- struct{}) {
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		d.keep(lines.Bytes())
		var line struct{ Message, GRPC, HTTP, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "serving" {
			d.GRPC, d.HTTP, d.Admin = line.GRPC, line.HTTP, line.Admin
			close(serving)
		}
	}
	_ = d.command.Wait() // how it ended is read from the process's state
	close(d.exited)
}

// Unread has nobody read the log until the function that it returns is called, or the test ends.
func (d *Daemon) Unread(t testing.TB) (read func()) {
	d.reading.Lock()
	read = sync.OnceFunc(d.reading.Unlock)
	t.Cleanup(read)
	return read
}

// keep adds a line to the log. What is no line of the server's own, such as a report of the race detector, is kept always.
func (d *Daemon) keep(line []byte) {
	d.reading.Lock()
	defer d.reading.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.forget && bytes.HasPrefix(line, []byte("{")) {
		return
	}
	d.log.Write(line)
	d.log.WriteByte('\n')
}

// Forget has lines of the log be kept no longer from now on, for a daemon that runs long and says much.
func (d *Daemon) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget = true
}

// Log returns what the daemon has written so far.
func (d *Daemon) Log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// AwaitLog waits until the log holds text n times, since what the daemon writes takes a moment to be read, and reports
// whether it does.
func (d *Daemon) AwaitLog(text string, n int) bool {
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if strings.Count(d.Log(), text) >= n {
			break
		}
	}
	return strings.Count(d.Log(), text) == n
}

// Signal sends a signal to the process.
func (d *Daemon) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := d.command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// PID returns the id of the process.
func (d *Daemon) PID() int { return d.command.Process.Pid }

// Interrupt sends SIGTERM once more, whether or not the process is still there.
func (d *Daemon) Interrupt() { _ = d.command.Process.Signal(syscall.SIGTERM) }

// Wait waits for the process to end and returns its exit code.
func (d *Daemon) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-d.exited:
		return d.command.ProcessState.ExitCode()
	case <-time.After(stopLimit):
		t.Fatalf("the daemon does not end:\n%s", d.Log())
		return -1
	}
}

// Dial returns a plain connection to the gRPC door, without retries, closed when the test ends.
func (d *Daemon) Dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	return d.DialWith(t, insecure.NewCredentials())
}

// DialWith is Dial with TLS, or with whatever else the peer has to speak.
func (d *Daemon) DialWith(t testing.TB, peer credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	target := "passthrough:///" + d.GRPC
	if strings.HasPrefix(d.GRPC, "/") {
		target = "unix:" + d.GRPC
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(peer), grpc.WithDisableServiceConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
