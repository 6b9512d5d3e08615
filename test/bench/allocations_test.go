package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"recoverycodes.internal/test/daemon"
)

// The most that a call may allocate, anywhere in the server, with everything on. Counts are exact but for the collector's
// own and what grows once, so a change that adds some is seen here and not on a dashboard.
const (
	maxAllocations     = 180
	maxAllocationsREST = 220
)

// TestAllocationsPerCall counts over many calls, in a process of its own, built as it is shipped.
func TestAllocationsPerCall(t *testing.T) {
	up, _ := upstreamOf(t)
	dir := t.TempDir()
	hash := sha256.Sum256([]byte(callerToken))
	policyFile := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policyFile, []byte(strings.ReplaceAll(policy, "SHA256", hex.EncodeToString(hash[:]))), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "recoverycodesd") // never with the race detector, which allocates too
	build := exec.Command("go", "build", "-o", binary, "./server")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := daemon.StartBuild(t, binary, nil,
		[]string{"STYTCH_PROJECT_ID=project-test-bench", "STYTCH_SECRET=secret-test-bench", "STYTCH_BASE_URL=" + up.url},
		"--policy="+policyFile, "--audit-file="+filepath.Join(dir, "audit"))

	grpc, err := newGRPCLoad(d.GRPC, getRequest(), 16)
	if err != nil {
		t.Fatal(err)
	}
	defer grpc.close()
	rest, err := newHTTPLoad(d.HTTP, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer rest.close()
	for _, c := range []struct {
		door     string
		saturate func(time.Duration) (int, error)
		most     float64
	}{{"gRPC", grpc.saturate, maxAllocations}, {"REST", rest.saturate, maxAllocationsREST}} {
		if _, err := c.saturate(300 * time.Millisecond); err != nil { // what grows once has grown
			t.Fatal(err)
		}
		before := mallocs(t, d.Admin)
		calls, err := c.saturate(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		per := (mallocs(t, d.Admin) - before) / float64(calls)
		t.Logf("%s: %.1f allocations per call, over %d", c.door, per, calls)
		if calls < 100 || per > c.most {
			t.Errorf("%s: %.1f allocations per call over %d calls, want at most %v", c.door, per, calls, c.most)
		}
	}
}

// mallocs is how many objects a process has allocated so far.
func mallocs(t *testing.T, admin string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "go_memstats_mallocs_total "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the metrics do not tell")
	return 0
}
