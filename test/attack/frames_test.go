package attack

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is an HTTP/2 connection, frame by frame, for what no library sends. Its methods return errors: a server that
// cuts the connection is what many tests are about.
type frames struct {
	net.Conn
	*http2.Framer
	block   bytes.Buffer
	headers *hpack.Encoder
}

// connect opens a connection to a door and sends what begins HTTP/2.
func (x *target) connect(t testing.TB, address string) *frames {
	t.Helper()
	conn := x.raw(t, address)
	f := &frames{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	f.headers = hpack.NewEncoder(&f.block)
	f.ReadMetaHeaders = hpack.NewDecoder(64<<10, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// raw opens a connection to a door, of TLS if the doors speak that.
func (x *target) raw(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if x.trust == nil {
		return conn
	}
	config := x.trust.client()
	config.ServerName, config.NextProtos = "127.0.0.1", []string{"h2"}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return secure
}

// encode returns the header block of fields, names and values in turn. It must be sent, for the next to be understood.
func (f *frames) encode(fields ...string) []byte {
	f.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = f.headers.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // to a buffer
	}
	return bytes.Clone(f.block.Bytes())
}

// begin opens a stream with a header block in as many frames as it takes.
func (f *frames) begin(stream uint32, block []byte, end bool) error {
	const most = 16 << 10
	first, rest := block, []byte(nil)
	if len(block) > most {
		first, rest = block[:most], block[most:]
	}
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndStream: end, EndHeaders: len(rest) == 0})
	for err == nil && len(rest) > 0 {
		part := rest[:min(most, len(rest))]
		rest = rest[len(part):]
		err = f.WriteContinuation(stream, len(rest) == 0, part)
	}
	return err
}

// request is the header of a Get by gRPC, or by REST, and more.
func (x *target) request(address string, more ...string) []string {
	scheme := "http"
	if x.trust != nil {
		scheme = "https"
	}
	if address == x.GRPC {
		return append([]string{
			":method", "POST", ":scheme", scheme, ":authority", address, ":path", "/" + service + "/Get",
			"content-type", "application/grpc", "te", "trailers",
		}, more...)
	}
	return append([]string{":method", "GET", ":scheme", scheme, ":authority", address, ":path", pathOfMember}, more...)
}

const service = "stytch.b2b.recoverycodes.v1.RecoveryCodesService"

// isStreamError reports whether an error is about one stream, so that more can be read.
func isStreamError(err error) bool {
	var stream http2.StreamError
	return errors.As(err, &stream)
}
