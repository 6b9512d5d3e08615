// Package soak runs a server under load and faults for as long as it is told to, and holds that what it uses does not grow:
// goroutines, memory and file descriptors. It knows the server's metrics and nothing of its insides.
package soak

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

var length = flag.Duration("soak.time", 10*time.Second, "how long to keep the server busy")

func TestMain(m *testing.M) {
	m.Run()
	daemon.Remove()
}

const (
	organization = "organization-test-07971b06-ac8b-4cdb-9c15-63b17e653931"
	callers      = 16
	// samples are taken over the time, the first tenth of it aside, in which what grows once has grown.
	samples = 60
	// workers of the gRPC server are there from the start to the end.
	workers = 128
)

// kinds are the faults of the members that are called. The one that never answers is rare, since it holds its caller.
var kinds = []string{
	"slow-0", "slow-0", "slow-0", "slow-20", "reset-before-effect", "reset-after-effect", "status-500-after-effect", "status-401", "html-502",
	"truncated", "not-json", "huge", "rate-limited", "unknown-fields", "redirect",
}

// use is what a server uses at one time.
type use struct {
	goroutines, files, resident, heap float64
}

// measures are what must stay flat, by the names that docs/performance.md has for them.
var measures = []struct {
	name  string
	of    func(use) float64
	slack float64 // beside a tenth: what comes and goes with the load
}{
	{"goroutines", func(u use) float64 { return u.goroutines }, 20},
	{"file descriptors", func(u use) float64 { return u.files }, 20},
	{"resident MB", func(u use) float64 { return u.resident / 1e6 }, 16},
	{"heap MB", func(u use) float64 { return u.heap / 1e6 }, 16},
}

// TestUseIsFlat keeps callers of both doors busy, with deadlines and cancellations among them, and samples what the server
// uses, which sends spans to a collector that takes every other batch. The last third of the samples must not be above the
// second by more than what is noise. What it prints is a table for docs/performance.md.
func TestUseIsFlat(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	d := daemon.Start(t, append(sandbox.Env, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector(t)), "--insecure-allow-any-caller", "--upstream-timeout=2s", "--upstream-header-timeout=2s",
		"--upstream-breaker-failures=0", "--attempts-per-member=100", "--attempts-caller-share=100", "--connection-age=20s",
		"--idempotency-ttl=5s", "--audit-file="+filepath.Join(t.TempDir(), "audit"))

	quiet(t, d.Admin)
	d.Forget() // or the test would keep a line of each call that is an error, which is many

	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	var calls [callers]int
	fresh := sample(t, d.Admin)
	for i := range callers {
		busy.Go(func() {
			client := recoverycodesv1.NewRecoveryCodesServiceClient(d.Dial(t))
			web := &http.Client{Transport: &http.Transport{}}
			defer web.CloseIdleConnections()
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for ctx.Err() == nil {
				call(ctx, r, client, web, d.HTTP)
				calls[i]++
			}
		})
	}
	var seen []use
	begin := time.Now()
	time.Sleep(*length / 10)
	for range samples {
		seen = append(seen, sample(t, d.Admin))
		time.Sleep(*length * 9 / 10 / samples)
	}
	stop()
	busy.Wait()
	took, total := time.Since(begin), 0
	for _, n := range calls {
		total += n
	}
	if total < callers*10 {
		t.Errorf("only %d calls", total)
	}

	// When nobody calls, next to nothing is left of the calls.
	left := sample(t, d.Admin)
	for deadline := time.Now().Add(30 * time.Second); left.goroutines >= 50+workers; left = sample(t, d.Admin) {
		if time.Now().After(deadline) {
			t.Errorf("%.0f goroutines are left", left.goroutines)
			break
		}
		time.Sleep(100 * time.Millisecond)
	}

	third := len(seen) / 3
	first, second, last := seen[:third], seen[third:2*third], seen[2*third:]
	table := "| | idle, before | first third | second third | last third | at most | idle, after |\n|---|--:|--:|--:|--:|--:|--:|\n"
	for _, m := range measures {
		was, is := median(second, m.of), median(last, m.of)
		table += fmt.Sprintf("| %s | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n",
			m.name, m.of(fresh), median(first, m.of), was, is, most(seen, m.of), m.of(left))
		if is > was*1.1+m.slack {
			t.Errorf("%s grew from %.1f to %.1f", m.name, was, is)
		}
	}
	came := outcomes(t, d.Admin)
	for _, outcome := range []string{"done", "refused", "unknown", "answer_lost", "upstream_failure"} {
		if came[outcome] == 0 {
			t.Errorf("no call was %s: the faults do not happen", outcome)
		}
	}
	var list []string
	for _, outcome := range slices.Sorted(maps.Keys(came)) {
		list = append(list, fmt.Sprintf("%s %.0f", outcome, came[outcome]))
	}
	t.Logf("%d calls in %v came to: %s.\n\n%s", total, took.Round(time.Second), strings.Join(list, ", "), table)
}

// collector is the address of one for OpenTelemetry that refuses every other batch of spans.
func collector(t *testing.T) string {
	t.Helper()
	var batches atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if batches.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// call makes one random call through one of the doors, and does not mind what becomes of it.
func call(ctx context.Context, r *rand.Rand, client recoverycodesv1.RecoveryCodesServiceClient, web *http.Client, address string) {
	kind := kinds[r.IntN(len(kinds))]
	if r.IntN(500) == 0 {
		kind = "slow-30000"
	}
	member := fmt.Sprintf("member-test-fault-%s~%d", kind, r.IntN(50))
	switch r.IntN(4) {
	case 0: // goes away early
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(20))*time.Millisecond)
		defer cancel()
	case 1:
		ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", strconv.Itoa(r.IntN(10000)))
	}
	switch r.IntN(4) {
	case 0:
		_, _ = client.Get(ctx, &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member})
	case 1:
		_, _ = client.Recover(ctx, &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: member, RecoveryCode: "wrong"})
	case 2:
		_, _ = client.Rotate(ctx, &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: member})
	default:
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v1/b2b/recovery_codes/"+organization+"/"+member, nil)
		if err != nil {
			return
		}
		if resp, err := web.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
}

// quiet has the server log errors alone.
func quiet(t *testing.T, admin string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+admin+"/log-level", strings.NewReader(`{"level":"error"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
}

// sample reads what the server uses out of its metrics.
func sample(t *testing.T, admin string) (u use) {
	t.Helper()
	into := map[string]*float64{
		"go_goroutines": &u.goroutines, "process_open_fds": &u.files, "process_resident_memory_bytes": &u.resident,
		"go_memstats_heap_inuse_bytes": &u.heap,
	}
	for name, value := range series(t, admin) {
		if field, ok := into[name]; ok {
			*field = value
			delete(into, name)
		}
	}
	if len(into) > 0 {
		t.Fatalf("the metrics lack %v", into)
	}
	return u
}

// outcomes are how many calls came to what.
func outcomes(t *testing.T, admin string) map[string]float64 {
	t.Helper()
	came := make(map[string]float64)
	for name, value := range series(t, admin) {
		if m := regexp.MustCompile(`^recoverycodes_outcomes_total{.*outcome="(\w+)"`).FindStringSubmatch(name); m != nil {
			came[m[1]] += value
		}
	}
	return came
}

// series are the server's metrics, by name and labels.
func series(t *testing.T, admin string) map[string]float64 {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	all := make(map[string]float64)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		text := lines.Text()
		at := strings.LastIndexByte(text, ' ')
		if at < 0 || strings.HasPrefix(text, "#") {
			continue
		}
		if all[text[:at]], err = strconv.ParseFloat(text[at+1:], 64); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func median(of []use, value func(use) float64) float64 {
	values := make([]float64, len(of))
	for i, u := range of {
		values[i] = value(u)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func most(of []use, value func(use) float64) (m float64) {
	for _, u := range of {
		m = max(m, value(u))
	}
	return m
}
