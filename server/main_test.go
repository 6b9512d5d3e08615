package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noEnvironment(string) string { return "" }

// running is the whole program in this process.
type running struct {
	GRPC, HTTP, Admin string

	stop   context.CancelFunc
	result chan error
	log    chan string // the rest of the log, when it has ended
}

// start runs `serve --sandbox` on free ports with more arguments, and returns when it serves.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{stop: cancel, result: make(chan error, 1), log: make(chan string, 1)}
	log, stderr := io.Pipe()
	go func() {
		err := run(ctx, append([]string{"serve", "--sandbox", "--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0",
			"--admin-listen=127.0.0.1:0", "--drain-delay=0s"}, args...), noEnvironment, io.Discard, stderr)
		_ = stderr.Close()
		r.result <- err
	}()
	lines := json.NewDecoder(log)
	var line struct{ Message, GRPC, HTTP, Admin string }
	for line.Message != "serving" {
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
	}
	r.GRPC, r.HTTP, r.Admin = line.GRPC, line.HTTP, line.Admin
	go func() {
		text, _ := io.ReadAll(io.MultiReader(lines.Buffered(), log))
		r.log <- string(text)
	}()
	return r
}

// end stops the program and returns what it logged since it served.
func (r *running) end(t *testing.T) string {
	t.Helper()
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
	return <-r.log
}

func (r *running) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(r.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// request makes a REST request and returns the status.
func request(t *testing.T, method, address, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

const member = "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f"

// TestServeStartsCleanAndStopsClean calls the program through every door and ends it. TestMain then looks for goroutines
// that were left behind.
func TestServeStartsCleanAndStopsClean(t *testing.T) {
	r := start(t)
	for _, address := range []string{r.HTTP + "/v1/b2b/recovery_codes/example-org/" + member, r.Admin + "/readyz"} {
		if status := request(t, http.MethodGet, address, ""); status != http.StatusOK {
			t.Errorf("%s: %d", address, status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	conn := r.dial(t)
	if _, err := recoverycodesv1.NewRecoveryCodesServiceClient(conn).Get(t.Context(), &recoverycodesv1.GetRequest{
		OrganizationId: "example-org", MemberId: member,
	}); err != nil {
		t.Error(err)
	}
	_ = conn.Close()
	if text := r.end(t); !strings.Contains(text, `"message":"stopped"`) {
		t.Errorf("not the whole way down:\n%s", text)
	}
}

// TestFaultsLeaveNothingBehind runs every fault of the sandbox through both doors, again and again, and looks whether
// goroutines and memory are back where they were after the first time.
func TestFaultsLeaveNothingBehind(t *testing.T) {
	r := start(t, "--upstream-timeout=200ms", "--upstream-least-time=1ms", "--upstream-breaker-failures=0")
	conn := r.dial(t)
	service := recoverycodesv1.NewRecoveryCodesServiceClient(conn)
	round := func() {
		for _, kind := range []string{
			"reset-before-effect", "reset-after-effect", "refused-stream-after-effect", "goaway-after-effect", "slow-30000",
			"status-401", "status-500-after-effect", "html-502", "truncated", "not-json", "huge", "redirect", "unknown-fields",
			"wrong-types", "bad-utf8", "deep", "rate-limited", "bad-credentials",
		} {
			id := "member-test-fault-" + kind
			// What comes of these calls is the matter of other tests.
			_, _ = service.Get(t.Context(), &recoverycodesv1.GetRequest{OrganizationId: "example-org", MemberId: id})
			_, _ = service.Rotate(t.Context(), &recoverycodesv1.RotateRequest{OrganizationId: "example-org", MemberId: id})
			request(t, http.MethodGet, r.HTTP+"/v1/b2b/recovery_codes/example-org/"+id, "")
			request(t, http.MethodPost, r.HTTP+"/v1/b2b/recovery_codes/rotate", `{"organization_id":"example-org","member_id":"`+id+`"}`)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	measure := func() (goroutines int, heap uint64) {
		runtime.GC()
		runtime.GC() // the second empties the pools
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		return runtime.NumGoroutine(), memory.HeapAlloc
	}
	round()
	goroutines, heap := measure()
	for range 4 {
		round()
	}
	// Connections that are being closed take a moment; what leaks stays.
	var nowGoroutines int
	var nowHeap uint64
	for range 50 {
		nowGoroutines, nowHeap = measure()
		if nowGoroutines <= goroutines+3 && nowHeap <= heap+4<<20 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if nowGoroutines > goroutines+3 || nowHeap > heap+4<<20 {
		t.Errorf("%d goroutines and %d KB, were %d and %d", nowGoroutines, nowHeap>>10, goroutines, heap>>10)
	}
	_ = conn.Close()
	r.end(t)
}

// TestATakenAddressIsFatal starts on an address that is in use: the error names the setting, and nothing keeps running.
func TestATakenAddressIsFatal(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	err = run(t.Context(), []string{"serve", "--sandbox", "--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0",
		"--admin-listen=" + taken.Addr().String()}, noEnvironment, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "--admin-listen") || exitCode(err) != 1 {
		t.Errorf("%v", err)
	}
}

func TestSandboxAlone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, stderr := io.Pipe()
	result := make(chan error, 1)
	go func() {
		result <- run(ctx, []string{"sandbox", "--listen=127.0.0.1:0"}, noEnvironment, io.Discard, stderr)
	}()
	greeting := make([]byte, 512)
	n, err := out.Read(greeting)
	if err != nil || !strings.Contains(string(greeting[:n]), "http://127.0.0.1:") {
		t.Errorf("%v %s", err, greeting[:n])
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
	_ = stderr.Close()
}

func TestExitCode(t *testing.T) {
	for err, want := range map[error]int{
		nil: 0, errors.New("x"): 1, usageError{errors.New("x")}: 2, errors.Join(usageError{flag.ErrHelp}): 2,
	} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: %d", err, got)
		}
	}
}
