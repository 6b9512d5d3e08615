package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"recoverycodes.internal/client/internal/servicetest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// newTerminal returns a terminal: what is written to the keyboard is read from the terminal, what is written to the
// terminal, and its echo, comes up on the screen, which is whole once the terminal has been closed.
func newTerminal(t *testing.T) (tty, keyboard *os.File, screen <-chan string) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		if os.Getenv("RECOVERYCODES_CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	shown := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(keyboard) // ends with EIO when the terminal is closed
		shown <- string(text)
	}()
	return tty, keyboard, shown
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

func waitForPrompt(t *testing.T, tty *os.File) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); echoes(t, tty); {
		if time.Now().After(deadline) {
			t.Fatal("echo was not switched off")
		}
	}
}

func TestAtATerminal(t *testing.T) {
	seen := make(chan *recoverycodesv1.RecoverRequest, 1)
	svc := answering()
	answer := svc.OnRecover
	svc.OnRecover = func(ctx context.Context, req *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
		seen <- req
		return answer(ctx, req)
	}
	addr := servicetest.Start(t, svc).Addr
	tty, keyboard, screen := newTerminal(t)

	ended := make(chan int, 1)
	go func() {
		args := []string{"recover", "o", "m", "--server", addr, "--with", "intermediate-session-token"}
		ended <- run(t.Context(), args, func(string) string { return "" }, tty, tty, tty)
	}()
	// Both lines at once, once echo is off: the terminal keeps the second until it is asked for.
	waitForPrompt(t, tty)
	if _, err := keyboard.WriteString("code-one\ntoken-two\n"); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(<-ended); code != exitDone {
		t.Errorf("exit code %d, want %d", code, exitDone)
	}
	if got := <-seen; got.GetRecoveryCode() != "code-one" || got.GetIntermediateSessionToken() != "token-two" {
		t.Errorf("the service was sent %v, want what was typed", got)
	}
	if !echoes(t, tty) {
		t.Error("echo was not switched on again")
	}
	_ = tty.Close()
	shown := <-screen
	for _, secret := range []string{"code-one", "token-two"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is on the screen:\n%s", secret, shown)
		}
	}
	for _, want := range []string{"Recovery code: \r\n", "Intermediate session token: \r\n", "codes left     0\r\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the screen lacks %q:\n%s", want, shown)
		}
	}
}

func TestInterruptedAtThePrompt(t *testing.T) {
	svc := answering()
	addr := servicetest.Start(t, svc).Addr
	tty, keyboard, _ := newTerminal(t)
	ctx, interrupt := context.WithCancel(t.Context())

	ended := make(chan int, 1)
	go func() {
		args := []string{"recover", "o", "m", "--server", addr}
		ended <- run(ctx, args, func(string) string { return "" }, tty, tty, tty)
	}()
	waitForPrompt(t, tty)
	interrupt()
	if code := exitCode(<-ended); code != exitNotSent || svc.Runs("Recover") != 0 {
		t.Errorf("exit code %d after %d calls, want %d after none", code, svc.Runs("Recover"), exitNotSent)
	}
	if !echoes(t, tty) {
		t.Error("echo was not switched on again")
	}
	// The read that was given up ends with its line.
	if _, err := keyboard.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
}
