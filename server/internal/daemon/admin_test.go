package daemon

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/telemetry"
)

// TestAdminWaitsForReports asks when calls that were answered are not counted yet: once that takes a moment, and then it
// never ends. What tells of calls waits for them, if whoever asks may know.
func TestAdminWaitsForReports(t *testing.T) {
	const token = "abcdefghijklmnopqrstuvwxyz123456"
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.ParseServe([]string{"--sandbox", "--admin-token-file=" + file}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := server{log: zap.NewNop()}
		s.observer = telemetry.NewObserver(s.log, nil)
		counted := false
		s.observer.Gauge("counted", "1 when the call is counted.", func() float64 {
			if counted {
				return 1
			}
			return 0
		})
		admin, err := s.adminDoor(cfg, zap.NewAtomicLevel(), http.NotFoundHandler())
		if err != nil {
			t.Fatal(err)
		}
		ask := func(method, path, token string) (string, time.Duration) {
			start := time.Now()
			r := httptest.NewRequest(method, path, strings.NewReader(`{"level":"info"}`))
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			admin.ServeHTTP(w, r)
			body, err := io.ReadAll(w.Body)
			if err != nil {
				t.Error(err)
			}
			return string(body), time.Since(start)
		}
		s.calls.After(func() {
			time.Sleep(reportLimit / 2)
			counted = true
		})
		if body, _ := ask(http.MethodGet, "/metrics", token); !strings.Contains(body, "\ncounted 1\n") {
			t.Error("a call that had been answered was not counted")
		}
		stuck := make(chan struct{})
		s.calls.After(func() { <-stuck })
		for _, tt := range []struct {
			method, path, token string
			want                time.Duration
		}{
			{http.MethodGet, "/", token, reportLimit},
			{http.MethodGet, "/docs", token, reportLimit},
			{http.MethodGet, "/docs/reference", token, reportLimit},
			{http.MethodGet, "/metrics", token, reportLimit},
			{http.MethodPut, "/log-level", token, reportLimit},
			{http.MethodGet, "/log-level", token, 0},
			{http.MethodGet, "/metrics", "another", 0},
			{http.MethodGet, "/livez", "", 0},
			{http.MethodGet, "/readyz", "", 0},
		} {
			if _, took := ask(tt.method, tt.path, tt.token); took != tt.want {
				t.Errorf("%s %s with the token %q took %v, want %v", tt.method, tt.path, tt.token, took, tt.want)
			}
		}
		close(stuck)
		s.calls.Wait(t.Context())
	})
}
