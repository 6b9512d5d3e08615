package sandbox

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// wire is what a fault can do to the connection that carries an exchange.
// Nothing may be written to the exchange before or after.
type wire interface {
	// reset breaks the exchange off as a failing server would.
	reset()
	// refuse says of the exchange that it was never begun.
	refuse()
	// goAway says so too, and ends the connection.
	goAway()
	// answerAndSwallow delivers the reply, and from then on the connection
	// takes whatever comes and never answers.
	answerAndSwallow(reply)
}

func wireOf(w http.ResponseWriter, r *http.Request) wire {
	if stream, ok := w.(*h2Stream); ok {
		return stream
	}
	return h1Wire{w, r}
}

// h1Wire is the wire of an HTTP/1.1 exchange. In a server that lets no
// handler have the connection, such as the HTTP/2 server of net/http, it does
// the next best thing: it aborts the exchange, or just answers.
type h1Wire struct {
	w http.ResponseWriter
	r *http.Request
}

// reset sends a TCP reset.
func (h h1Wire) reset() {
	conn := h.hijack()
	under := conn
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		under = over.NetConn() // TLS would take leave first
	}
	if tcp, ok := under.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = under.Close()
}

// refuse closes the connection in good order and without an answer, the only
// thing in HTTP/1.1 that clients take for "not begun".
func (h h1Wire) refuse() { _ = h.hijack().Close() }

func (h h1Wire) goAway() { h.refuse() }

func (h h1Wire) answerAndSwallow(r reply) {
	conn, _, err := http.NewResponseController(h.w).Hijack()
	if err != nil {
		r.write(h.w)
		return
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(h.r.Context(), func() { _ = conn.Close() })()
	head := http.Response{StatusCode: r.status, ProtoMajor: 1, ProtoMinor: 1, Header: r.header(), ContentLength: int64(len(r.body))}
	head.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	head.Body = io.NopCloser(bytes.NewReader(r.body))
	if head.Write(conn) == nil {
		_, _ = io.Copy(io.Discard, conn)
	}
}

func (h h1Wire) hijack() net.Conn {
	conn, _, err := http.NewResponseController(h.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return conn
}
