package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noEnvironment(string) string { return "" }

// TestServeStartsCleanAndStopsClean runs the whole program in this process, calls it through every door, and ends it.
// TestMain then looks for goroutines that were left behind.
func TestServeStartsCleanAndStopsClean(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log, stderr := io.Pipe()
	result := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"serve", "--sandbox", "--grpc-listen=127.0.0.1:0", "--http-listen=127.0.0.1:0",
			"--admin-listen=127.0.0.1:0"}, noEnvironment, io.Discard, stderr)
		_ = stderr.Close()
		result <- err
	}()
	lines := json.NewDecoder(log)
	var line struct{ Message, GRPC, HTTP, Admin string }
	for line.Message != "serving" {
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
	}
	rest := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(io.MultiReader(lines.Buffered(), log))
		rest <- string(text)
	}()

	for _, address := range []string{line.HTTP + "/v1/b2b/recovery_codes/example-org/member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f", line.Admin + "/readyz"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", address, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	conn, err := grpc.NewClient(line.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recoverycodesv1.NewRecoveryCodesServiceClient(conn).Get(t.Context(), &recoverycodesv1.GetRequest{
		OrganizationId: "example-org", MemberId: "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f",
	}); err != nil {
		t.Error(err)
	}
	_ = conn.Close()

	cancel()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if text := <-rest; !strings.Contains(text, `"message":"stopped"`) {
		t.Errorf("not the whole way down:\n%s", text)
	}
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
