// Package daemon assembles the parts of the server, starts them, and stops them in order. It knows every part and its
// settings; it decides nothing of what a call comes to, and reads neither arguments nor the environment.
//
// What belongs to the whole process stays with its caller: signals, exit codes, the limits of the garbage collector, and
// where gRPC, OpenTelemetry and the standard logger write. Any number of servers can run in one process, and one that has
// stopped leaves nothing running.
package daemon

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
)

// UsageError is a mistake in the settings, such as a file that cannot be used.
type UsageError struct{ Err error }

// Error implements error.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e UsageError) Unwrap() error { return e.Err }

// ErrInterrupted is the cause of a context that ended because somebody at a terminal wants the server to stop: nobody
// needs the delay that balancers need.
var ErrInterrupted = errors.New("interrupted")

// Options are what a server has from its process.
type Options struct {
	// Stdout takes the audit log if the settings put it there, Stderr the log. Neither may be nil.
	Stdout, Stderr io.Writer

	// Serving is called once, when the server serves. It may be nil.
	Serving func(Addresses)

	// Sandbox is where the emulated Stytch answers that the settings ask for. It stays its owner's to end. Without one,
	// Serve runs one of its own, whose seed is that of the settings.
	Sandbox net.Addr
}

// Addresses are where the doors listen.
type Addresses struct{ GRPC, HTTP, Admin net.Addr }

// Version is what the build knows of itself.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
