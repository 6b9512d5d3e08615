package daemon

import (
	"testing"
	"testing/synctest"
	"time"
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
				s.calls.After(func() { time.Sleep(tt.takes) })
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
