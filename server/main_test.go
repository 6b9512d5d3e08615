package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"strings"
	"testing"

	"recoverycodes.internal/server/internal/daemon"
)

func noEnvironment(string) string { return "" }

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
		nil: 0, errors.New("x"): 1, daemon.UsageError{Err: errors.New("x")}: 2, errors.Join(daemon.UsageError{Err: flag.ErrHelp}): 2,
	} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: %d", err, got)
		}
	}
}
