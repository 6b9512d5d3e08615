package life

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"recoverycodes.internal/test/daemon"
)

// TestNoFileDescriptors takes the process's file descriptors away: it says so, once and without an address, and serves
// again when it has some.
func TestNoFileDescriptors(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	var before unix.Rlimit
	if err := unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: before.Max}, nil); err != nil {
		t.Fatal(err)
	}
	waiting, err := net.Dial("tcp", d.HTTP) // the system takes it, the process cannot
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = waiting.Close() }()
	line := `"message":"connections cannot be accepted","door":"rest","cause":"too many open files"`
	await(t, "a line", func() bool { return strings.Contains(d.Log(), line) })
	if err := unix.Prlimit(d.PID(), unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(waiting, "GET "+pathGet+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(waiting); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 404") {
		t.Errorf("%v %s", err, text)
	}
	if n := strings.Count(d.Log(), line); n != 1 {
		t.Errorf("%d lines:\n%s", n, d.Log())
	}
	if failures := seriesWith(t, d)[`recoverycodes_accept_failures_total{door="rest"}`]; failures == "" || failures == "0" {
		t.Errorf("%s failures were counted", failures)
	}
}

// TestLogAtATerminal starts with standard error on a terminal, where people read, and on a pipe, where programs do.
func TestLogAtATerminal(t *testing.T) {
	for name, test := range map[string]struct {
		args    []string
		console bool
	}{"by itself": {nil, true}, "told otherwise": {[]string{"--log-format=json"}, false}} {
		t.Run(name, func(t *testing.T) {
			keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				if os.Getenv("RECOVERYCODES_CI") != "" {
					t.Fatal(err)
				}
				t.Skipf("no terminals here: %v", err)
			}
			defer func() { _ = keyboard.Close() }()
			if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
				t.Fatal(err)
			}
			n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
			if err != nil {
				t.Fatal(err)
			}
			terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				t.Fatal(err)
			}
			command := exec.Command(daemon.Binary(t), append([]string{"serve", "--sandbox", "--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0",
				"--admin-listen=127.0.0.1:0"}, test.args...)...)
			command.Env, command.Stderr = []string{}, terminal
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			_ = terminal.Close()
			defer func() { _ = command.Process.Kill() }()
			line, err := bufio.NewReader(keyboard).ReadString('\n')
			if err != nil || strings.HasPrefix(line, "{") == test.console || !strings.Contains(line, "an emulated Stytch answers") {
				t.Errorf("%q %v", line, err)
			}
			_ = command.Process.Signal(syscall.SIGINT)
			go func() { _, _ = io.Copy(io.Discard, keyboard) }()
			if err := command.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	if d := daemon.Start(t, nil, "--sandbox"); !strings.HasPrefix(d.Log(), "{") {
		t.Errorf("into a pipe it writes\n%s", d.Log())
	}
}
