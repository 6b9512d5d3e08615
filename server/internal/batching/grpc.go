package batching

import "net"

// GRPC returns a listener for a gRPC server, whose connections yield before each write.
//
// The goroutine that writes to a connection runs as soon as the first answer for it is there. grpc-go lets others run
// before it writes less than 1000 bytes (internal/transport/controlbuf.go), since there may be more in a moment. Answers
// here are longer, and under load the next ones are in a moment too.
func GRPC(inner net.Listener) net.Listener { return grpcListener{inner} }

type grpcListener struct{ net.Listener }

// Accept implements net.Listener.
func (l grpcListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Conn(c), nil
}

// Conn returns a connection that yields before each write. No lock may be held there that others want.
func Conn(inner net.Conn) net.Conn { return yielding{inner} }

type yielding struct{ net.Conn }

// Write implements net.Conn.
func (c yielding) Write(b []byte) (int, error) {
	Yield()
	return c.Conn.Write(b)
}
