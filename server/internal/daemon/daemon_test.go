package daemon_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/daemon"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noEnvironment(string) string { return "" }

// running is a server in this process.
type running struct {
	GRPC, HTTP, Admin string

	log    strings.Builder // to be read when the server has ended
	stop   context.CancelFunc
	result chan error
}

// start serves with the sandbox on free ports and by more settings, and returns when it does.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	cfg, err := config.ParseServe(append([]string{"--sandbox", "--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0",
		"--admin-listen=127.0.0.1:0", "--drain-delay=0s"}, args...), noEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{stop: cancel, result: make(chan error, 1)}
	serving := make(chan daemon.Addresses, 1)
	go func() {
		r.result <- daemon.Serve(ctx, cfg, daemon.Options{
			Stdout: io.Discard, Stderr: &r.log, Serving: func(at daemon.Addresses) { serving <- at },
		})
	}()
	select {
	case at := <-serving:
		r.GRPC, r.HTTP, r.Admin = at.GRPC.String(), at.HTTP.String(), at.Admin.String()
	case err := <-r.result:
		t.Fatalf("it does not serve: %v", err)
	}
	return r
}

// end stops the server and returns what it logged.
func (r *running) end(t *testing.T) string {
	t.Helper()
	r.stop()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
	return r.log.String()
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

// TestServeStartsCleanAndStopsClean calls the server through every door and ends it. TestMain then looks for goroutines
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
