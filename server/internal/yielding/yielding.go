// Package yielding has gRPC write the answers of several calls at once.
//
// The goroutine that writes to a connection runs as soon as the first answer for it is there. grpc-go lets others run
// before it writes less than 1000 bytes (internal/transport/controlbuf.go), since there may be more in a moment. Answers
// here are longer, and under load the next ones are in a moment too: of calls whose upstream answers have arrived
// together. Writing is most of what a call costs in the kernel.
//
// The package knows connections. It changes neither what is written nor its order, and waits for nothing: a goroutine
// that yields runs again when those that are ready have had their turn.
package yielding

import (
	"net"
	"runtime"
)

// Listener returns a listener that accepts what inner accepts, as connections whose writes let other goroutines run first.
func Listener(inner net.Listener) net.Listener { return listener{inner} }

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn{c}, nil
}

type conn struct{ net.Conn }

// Write implements net.Conn.
func (c conn) Write(b []byte) (int, error) {
	runtime.Gosched()
	return c.Conn.Write(b)
}
