package daemon

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// TestAdminAnswersAreSettled looks at what calls that were answered have left: once it takes a moment, and then it never ends.
func TestAdminAnswersAreSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s server
		counted := false
		seen := false
		look := func() time.Duration {
			start := time.Now()
			s.settled(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen = counted })).
				ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
			return time.Since(start)
		}
		s.calls.After(func() {
			time.Sleep(settleLimit / 2)
			counted = true
		})
		if look(); !seen {
			t.Error("a call that had been answered was not counted")
		}
		stuck := make(chan struct{})
		s.calls.After(func() { <-stuck })
		if took := look(); took != settleLimit {
			t.Errorf("took %v while lines cannot be written, want %v", took, settleLimit)
		}
		close(stuck)
		s.calls.Wait(t.Context())
	})
}
