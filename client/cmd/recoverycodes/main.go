// Command recoverycodes asks the recovery-codes service from a terminal or a script: which codes a member has, to mint
// new ones, to spend one. It knows the client package and the contract, and holds no rule of the service; what it adds
// is the terminal: secrets hidden, codes never taken from an argument, and an exit code that says whether a call may be
// repeated.
//
// Run it with --help for its commands, flags and exit codes.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// Who reads the answer may be gone. The default would end the process by the signal then, without the word that the
	// call took effect.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
