// Command recoverycodesd serves Stytch's B2B recovery-code operations over gRPC and REST, and holds the one Stytch
// credential so that no caller needs to.
//
// This package is what belongs to the process: arguments, signals, exit codes, memory. server/internal/daemon is the server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"google.golang.org/grpc/grpclog"

	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/daemon"
	"recoverycodes.internal/server/internal/reload"
)

// complaintLimit is how long the last words may take.
const complaintLimit = 500 * time.Millisecond

func main() {
	// gRPC and the gateway library log through one logger of the process, in lines of their own form and with callers'
	// addresses in them.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	// So does OpenTelemetry's, and shows the variable that it could not read: a header can hold a credential.
	otel.SetLogger(logr.Discard())
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	// So does the standard logger, where HTTP/2 writes whole requests and credentials when GODEBUG asks for it.
	log.SetOutput(io.Discard)
	tuneMemory(os.Getenv)
	// The audit log may be on standard output: who reads it may go away, and that must not end the process.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// SIGHUP comes from a terminal that is closed, often twice, and by habit from those who rotate logs. It stops the server
	// in order too, unless nohup has it ignored; nothing here has to be told to read its files again.
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		first := <-signals
		signal.Reset(os.Interrupt, syscall.SIGTERM) // the default is back: a second one ends the process at once
		if first == os.Interrupt {
			stop(daemon.ErrInterrupted)
		} else {
			stop(nil)
		}
	}()
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	if err != nil {
		complain(err)
	}
	os.Exit(exitCode(err))
}

// complain writes why the process ends to standard error. Nobody may be reading that, and the process must end all the same.
func complain(err error) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = fmt.Fprintln(os.Stderr, "recoverycodesd:", err)
	}()
	select {
	case <-written:
	case <-time.After(complaintLimit):
	}
}

// What the garbage collector goes by, where the environment does not say otherwise. Calls leave a dozen KB each and next to
// nothing that stays, so collecting at twice the live heap would be most of the time over little; the limit
// keeps four times as much from mattering when answers are large or many.
const (
	gcPercent   = 400
	memoryLimit = 512 << 20
)

func tuneMemory(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

// exitCode is 2 after a mistake in the settings, as a shell expects.
func exitCode(err error) int {
	var usage daemon.UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return 2
	default:
		return 1
	}
}

const usage = `recoverycodesd serves Stytch's B2B recovery codes over gRPC and REST.

  recoverycodesd serve     serve; --sandbox needs no Stytch account
  recoverycodesd sandbox   serve an emulated Stytch alone, for tests
  recoverycodesd check-policy FILE
                           say what is wrong with a policy, and exit with 1 if something is
  recoverycodesd new-secret
                           make a secret for a caller, and the hash of it for the policy
  recoverycodesd version   print the version

serve and sandbox have --help.
`

// run is the whole program but for the signals and the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch command {
	case "check-policy", "new-secret", "version": // serve and sandbox have a help of their own
		if len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
			command = "help"
		} else if len(args) > 0 && command != "check-policy" {
			return daemon.UsageError{Err: errors.New(command + ": wants no argument")}
		}
	}
	switch command {
	case "serve":
		cfg, err := config.ParseServe(args, getenv)
		if err != nil {
			return misused(err, stdout, "serve", config.ServeSettings())
		}
		return daemon.Serve(ctx, cfg, daemon.Options{Stdout: stdout, Stderr: stderr})
	case "sandbox":
		cfg, err := config.ParseSandbox(args, getenv)
		if err != nil {
			return misused(err, stdout, "sandbox", config.SandboxSettings())
		}
		return daemon.ServeSandbox(ctx, cfg, stderr)
	case "check-policy":
		if len(args) != 1 {
			return daemon.UsageError{Err: errors.New("check-policy: want the path of one policy")}
		}
		return checkPolicy(args[0], stdout)
	case "new-secret":
		secret, hash := access.NewSecret()
		_, err := fmt.Fprintf(stdout, "secret         %s\nsecret_sha256  %s\n", secret, hash)
		return err
	case "version":
		_, err := fmt.Fprintln(stdout, daemon.Version())
		return err
	case "help", "-h", "-help", "--help":
		_, err := io.WriteString(stdout, usage)
		return err
	case "":
		return daemon.UsageError{Err: errors.New("no command; try --help")}
	default:
		return daemon.UsageError{Err: fmt.Errorf("no command %q; try --help", command)}
	}
}

// checkPolicy reads a policy as serve would.
func checkPolicy(path string, stdout io.Writer) error {
	content, err := reload.Read(path)
	if err != nil {
		return err
	}
	if _, err := access.NewGuard(content, access.Options{}); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, "the policy is in order")
	return err
}

// misused answers a request for help with the table of settings, and reports anything else as a mistake of usage.
func misused(err error, stdout io.Writer, command string, settings []config.Setting) error {
	if !errors.Is(err, flag.ErrHelp) {
		return daemon.UsageError{Err: err}
	}
	if _, err := fmt.Fprintf(stdout, "recoverycodesd %s: a flag wins over its environment variable.\n\n", command); err != nil {
		return err
	}
	return config.Help(stdout, settings)
}
