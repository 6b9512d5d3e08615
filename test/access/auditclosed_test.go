package access

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"recoverycodes.internal/test/daemon"
)

const (
	cannotBeWritten = "the audit log cannot be written"
	writtenAgain    = "the audit log is written again"
)

// TestTheAuditFileIsMovedAway as log rotation does it: lines go on in a new file of the name, and none is lost or torn.
func TestTheAuditFileIsMovedAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	d := daemon.Start(t, nil, "--sandbox", "--policy="+file(t, "policy.yaml", one("")), "--audit-file="+path)
	p := connect(t, d)
	calls := 0
	get := func() bool { // until there is a line
		calls++
		p.byGRPC(t, request("Get", slug, member, ""), bearer("one")).is(t, "")
		info, err := os.Stat(path)
		return err == nil && info.Size() > 0
	}
	await(t, "the file", get)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	await(t, "the new file", get)
	end(t, d)
	before, after := linesOf(t, path+".1"), linesOf(t, path)
	if len(before) == 0 || len(after) == 0 || len(before)+len(after) != calls {
		t.Errorf("%d and %d lines of %d calls", len(before), len(after), calls)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the new file: %v, %v", info.Mode(), err)
	}
}

// broken is an audit log that cannot be written.
type broken struct {
	mend func()
	text func() []byte // what was written, when the server has ended
}

// TestNoAuditNoCall: with --audit-fail-closed, a log that cannot be written has all calls refused before anything is sent,
// and nothing else. When it can be written again, calls go on, and the lines of all that was refused are there.
func TestNoAuditNoCall(t *testing.T) {
	for name, breaks := range map[string]func(*testing.T, string) broken{
		"the disk is full": fullDisk, "nobody reads the pipe": unreadPipe,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "audit.log")
			log := breaks(t, path)
			sandbox := daemon.StartSandbox(t, false)
			d := daemon.Start(t, sandbox.Env, "--policy="+file(t, "policy.yaml", one("")), "--audit-file="+path, "--audit-fail-closed")
			p := connect(t, d)
			id, calls := fresh("audit"), 0
			await(t, cannotBeWritten, func() bool { // by calls that are refused anyway
				calls++
				p.byREST(t, request("Recover", slug, id, rightCode), nil).is(t, "CALLER_UNKNOWN")
				return strings.Contains(d.Log(), cannotBeWritten)
			})
			for _, method := range []string{"Get", "Recover", "Rotate"} {
				for _, call := range doors {
					calls++
					got := call(p, t, request(method, slug, id, rightCode), bearer("one"))
					got.as(t, "NOT_SENT", codes.Unavailable, http.StatusServiceUnavailable)
					if got.retry <= 0 {
						t.Error("no hint when to try again")
					}
				}
			}
			if _, ok := sandbox.Members(t)[id]; ok {
				t.Error("a call was sent")
			}
			p.isHealthy(t, d)

			log.mend()
			awaitLog(t, d, writtenAgain, 1)
			p.byGRPC(t, request("Recover", slug, id, rightCode), bearer("one")).is(t, "")
			p.byREST(t, request("Rotate", slug, id, ""), bearer("one")).is(t, "")
			end(t, d)
			lines := parseLines(t, log.text())
			if len(lines) != calls+2 || lines[calls].Outcome != "done" || lines[calls-1].Outcome != "not_sent" {
				t.Errorf("%d lines of %d calls", len(lines), calls+2)
			}
		})
	}
}

// TestNobodyReadsEitherLog has the audit log stall while standard error is a full pipe, where it would say so. Calls are refused,
// and made again when the audit log alone is read.
func TestNobodyReadsEitherLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	log := unreadPipe(t, path)
	d := daemon.Start(t, nil, "--sandbox", "--policy="+file(t, "policy.yaml", one("")), "--audit-file="+path, "--audit-fail-closed")
	p := connect(t, d)
	read, calls := d.Unread(t), 0
	const pipe, line = 64 << 10, 200 // bytes, a line at least
	for range 2 * pipe / line {
		calls++
		p.byREST(t, request("Recover", slug, member, rightCode), nil).is(t, "CALLER_UNKNOWN")
	}
	get := func() string {
		calls++
		return p.byGRPC(t, request("Get", slug, member, ""), bearer("one")).reason
	}
	await(t, "a refusal", func() bool { return get() == "NOT_SENT" })
	log.mend()
	await(t, "calls to be made again", func() bool { return get() == "" })
	read()
	end(t, d)
	if n := len(parseLines(t, log.text())); n != calls {
		t.Errorf("%d lines of %d calls", n, calls)
	}
}

func (p *peer) isHealthy(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	health, err := healthpb.NewHealthClient(p.grpc).Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", health, err)
	}
	fetch(t, d, "/readyz")
}

// fullDisk lets a path be a file that cannot be written, and then one that can.
func fullDisk(t *testing.T, path string) broken {
	t.Helper()
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	return broken{
		mend: func() { put(t, path, "") },
		text: func() []byte {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			return text
		},
	}
}

// unreadPipe lets a path be a pipe that is full and not read, and then read.
func unreadPipe(t *testing.T, path string) broken {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	writer, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			_, err = syscall.Write(writer, make([]byte, size))
		}
	}
	if err := syscall.Close(writer); err != nil {
		t.Fatal(err)
	}
	read := make(chan []byte, 1)
	return broken{
		mend: func() {
			go func() {
				text, _ := io.ReadAll(reader) // to the end of the last writer, the server
				read <- bytes.TrimLeft(text, "\x00")
			}()
		},
		text: func() []byte { return <-read },
	}
}

// TestCallsGoOnWithoutAudit is the other choice: calls are made, and the lines that find no place are counted as lost.
func TestCallsGoOnWithoutAudit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	log := fullDisk(t, path)
	sandbox := daemon.StartSandbox(t, false)
	d := daemon.Start(t, sandbox.Env, "--policy="+file(t, "policy.yaml", one("")), "--audit-file="+path,
		"--upstream-max-in-flight=2")
	p := connect(t, d)
	id, calls := fresh("audit"), 0
	get := func() {
		calls++
		doors[[]string{"gRPC", "REST"}[calls%2]](p, t, request("Get", slug, id, ""), bearer("one")).is(t, "")
	}
	await(t, cannotBeWritten, func() bool {
		get()
		return strings.Contains(d.Log(), cannotBeWritten)
	})
	const places = 2*2 + 256 // and those of calls that are answered and not reported
	for calls < places+10 {
		get()
	}
	lost := calls - places
	if series := fmt.Sprintf("recoverycodes_audit_dropped_total %d\n", lost); !strings.Contains(fetch(t, d, "/metrics"), series) {
		t.Errorf("no %s", series)
	}
	if n := sandbox.Member(t, id).Calls.Get; n != calls {
		t.Errorf("%d of %d calls were made", n, calls)
	}
	log.mend()
	awaitLog(t, d, writtenAgain, 1)
	end(t, d)
	if n := len(parseLines(t, log.text())); n != places {
		t.Errorf("%d lines", n)
	}
}

// TestStandardOutputIsClosed by who read the audit log there: the process goes on, and with --audit-fail-closed makes no
// call.
func TestStandardOutputIsClosed(t *testing.T) {
	for _, closed := range []bool{false, true} {
		t.Run(fmt.Sprintf("fail closed %t", closed), func(t *testing.T) {
			t.Parallel()
			reader, writer, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			d := daemon.StartWriting(t, writer, nil, "--sandbox", fmt.Sprintf("--audit-fail-closed=%t", closed))
			_ = writer.Close() // the server has it
			p := connect(t, d)
			get := request("Get", slug, member, "")
			p.byREST(t, get, nil).is(t, "")
			text := make([]byte, 1<<10)
			n, err := reader.Read(text)
			if lines := parseLines(t, text[:n]); err != nil || len(lines) != 1 || lines[0].Caller != "anyone" {
				t.Fatalf("%v, %s", err, text[:n])
			}
			_ = reader.Close()
			await(t, cannotBeWritten, func() bool {
				p.byREST(t, get, nil)
				return strings.Contains(d.Log(), cannotBeWritten)
			})
			for _, call := range doors {
				if got := call(p, t, get, nil); closed {
					got.as(t, "NOT_SENT", codes.Unavailable, http.StatusServiceUnavailable)
				} else {
					got.is(t, "")
				}
			}
			p.isHealthy(t, d)
			d.Signal(t, syscall.SIGTERM)
			if code := d.Wait(t); code != 0 {
				t.Errorf("exit code %d:\n%s", code, d.Log())
			}
		})
	}
}
