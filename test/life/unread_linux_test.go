package life

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"recoverycodes.internal/test/daemon"
)

// TestNobodyReadsTheLog fills the pipe that standard error is. Nobody waits for it: neither calls, nor what the server has to say
// of an answer, nor audit lines without which no call is made, nor the way down.
func TestNobodyReadsTheLog(t *testing.T) {
	const rotation = `{"organization_id":"` + organization + `","member_id":"` + member + `"}`
	audit := filepath.Join(t.TempDir(), "audit")
	strange := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			answering(w, r)
			return
		}
		_, _ = w.Write([]byte(`{"recovery_codes":["new-code-1"],"status_code":200,"member_that_is_new":true}`)) // which is logged
	}
	d := daemon.Start(t, behind(t, strange), "--audit-file="+audit, "--audit-fail-closed")
	conn := d.Dial(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	read := d.Unread(t)
	calls := 0
	const pipe, line = 64 << 10, 200 // bytes, a line at least
	for range 2 * pipe / line {
		calls++
		if err := invoke(ctx, conn, "Get"); err != nil {
			t.Fatalf("call %d: %v", calls, err)
		}
	}
	for range 2 {
		calls += 2
		if err := invoke(ctx, conn, "Rotate"); err != nil {
			t.Errorf("Rotate by gRPC: %v", err)
		}
		if status, text, err := try(ctx, http.MethodPost, d.HTTP+pathRotate, rotation); err != nil || status != http.StatusOK {
			t.Errorf("Rotate by REST: %d %s %v", status, text, err)
		}
	}
	if lost, ok := seriesWith(t, d)["recoverycodes_log_dropped_total"]; !ok || lost != "0" {
		t.Errorf("%q lines are lost, and there is room for all", lost)
	}
	d.Signal(t, syscall.SIGTERM)
	await(t, "the end of a server whose log is not read", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.PID()))
		return err == nil && bytes.Contains(stat, []byte(") Z ")) // nobody has asked for its exit code yet
	})
	read()
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	text, err := os.ReadFile(audit)
	if got := bytes.Count(text, []byte{'\n'}); err != nil || got != calls {
		t.Errorf("%d audit lines of %d calls, %v", got, calls, err)
	}
}

// TestNobodyReadsTheLastWords starts servers that cannot serve, with a standard error that is a full pipe.
func TestNobodyReadsTheLastWords(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for name, tt := range map[string]struct {
		arg  string
		code int
	}{
		"a wrong setting": {"--log-level=loud", 2},
		"a port is taken": {"--grpc-listen=" + taken.Addr().String(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = r.Close(), w.Close() })
			size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			command := exec.CommandContext(ctx, daemon.Binary(t), "serve", "--sandbox", "--drain-delay=0s",
				"--http-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", tt.arg)
			command.Env, command.Stderr = []string{}, w
			_ = command.Run()
			if code := command.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
		})
	}
}
