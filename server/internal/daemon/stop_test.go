package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"recoverycodes.internal/server/internal/audit"
	"recoverycodes.internal/server/internal/interceptor"
)

// TestCloseWaitsForLines: a logger must not be used when the server has ended, and one that is stuck must not keep it.
func TestCloseWaitsForLines(t *testing.T) {
	for name, tt := range map[string]struct{ takes, want time.Duration }{
		"a moment": {closeLimit / 2, closeLimit / 2},
		"too long": {2 * closeLimit, closeLimit},
		"no time":  {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s server
				s.calls.After(func() func() {
					return func() { time.Sleep(tt.takes) }
				})
				start := time.Now()
				if err := s.close(t.Context()); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took != tt.want {
					t.Errorf("closed after %v, want %v", took, tt.want)
				}
				s.calls.Wait(t.Context())
			})
		})
	}
}

// TestCloseWaitsForAuditLines ends the audit log when a call that was answered has not handed over its line.
func TestCloseWaitsForAuditLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "audit")
		lines, err := audit.Open(file, nil, audit.Options{Places: 1})
		if err != nil {
			t.Fatal(err)
		}
		s := server{audit: &interceptor.Audit{Log: lines}}
		s.calls.After(func() func() {
			time.Sleep(closeLimit / 2)
			lines.Write(audit.Line{RequestID: "id-1"})
			return nil
		})
		if err := s.close(t.Context()); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), `"id-1"`) != 1 {
			t.Errorf("the audit log is %s, %v", text, err)
		}
	})
}
