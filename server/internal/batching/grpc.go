package batching

import (
	"net"

	"google.golang.org/grpc/credentials"
)

// GRPC returns the credentials of a gRPC server whose connections yield before each write.
//
// The goroutine that writes to a connection runs as soon as the first answer for it is there. grpc-go lets others run
// before it writes less than 1000 bytes (internal/transport/controlbuf.go), since there may be more in a moment. Answers
// here are longer, and under load the next ones are in a moment too.
//
// It is the credentials that are wrapped and not a listener, because gRPC sets options of the sockets that it accepts,
// and knows them by their type.
func GRPC(inner credentials.TransportCredentials) credentials.TransportCredentials {
	return grpcCredentials{inner}
}

type grpcCredentials struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (c grpcCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return conn, info, err
	}
	return Conn(conn), info, nil
}

// Clone implements credentials.TransportCredentials.
func (c grpcCredentials) Clone() credentials.TransportCredentials {
	return grpcCredentials{c.TransportCredentials.Clone()}
}

// Conn returns a connection that yields before each write. No lock may be held there that others want.
func Conn(inner net.Conn) net.Conn { return yielding{inner} }

type yielding struct{ net.Conn }

// Write implements net.Conn.
func (c yielding) Write(b []byte) (int, error) {
	Yield()
	return c.Conn.Write(b)
}
