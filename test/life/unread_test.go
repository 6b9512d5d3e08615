package life

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

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
	d.Signal(t, syscall.SIGTERM)
	await(t, "the end of a server whose log is not read", func() bool {
		conn, err := net.Dial("tcp", d.Admin)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
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
