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

// TestCloseWaitsForReports ends the audit log when a call that was answered has not handed over its line, once in time. A report
// that does not end leaves the audit log its time.
func TestCloseWaitsForReports(t *testing.T) {
	for name, tt := range map[string]struct{ takes, want time.Duration }{
		"a moment": {reportLimit / 2, reportLimit / 2},
		"too long": {2 * closeLimit, reportLimit},
		"no time":  {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "audit")
				lines, err := audit.Open(file, nil, audit.Options{Places: 10})
				if err != nil {
					t.Fatal(err)
				}
				lines.Write(audit.Line{RequestID: "id-1"})
				s := server{audit: &interceptor.Audit{Log: lines}}
				s.calls.After(func() {
					time.Sleep(tt.takes)
					lines.Write(audit.Line{RequestID: "id-2"})
				})
				start := time.Now()
				if err := s.close(t.Context()); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took != tt.want {
					t.Errorf("closed after %v, want %v", took, tt.want)
				}
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for id, want := range map[string]bool{"id-1": true, "id-2": tt.takes <= reportLimit} {
					if got := strings.Contains(string(text), id); got != want {
						t.Errorf("the audit log has the line of %s: %v, want %v", id, got, want)
					}
				}
				s.calls.Wait(t.Context())
			})
		})
	}
}
