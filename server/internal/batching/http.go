package batching

import (
	"net"
	"sync"
	"time"

	"recoverycodes.internal/server/internal/wiped"
)

const (
	// serverBuffer is what net/http's server collects of an answer before it writes (newConn in net/http/server.go). An
	// answer of 5 KB is two writes: the buffer when it is full, and the rest.
	serverBuffer = 4 << 10

	// together is how much is copied to be one write. It is the smallest buffer of the pool.
	together = 8 << 10
)

// HTTP returns a listener for an HTTP/1.1 server without TLS, whose connections yield before they write, and keep a write
// back that is as long as net/http's buffer: nearly always the rest of the answer follows at once, and both are one write.
//
// What is kept back when nothing follows, since an answer was exactly as long, goes out at the latest when net/http takes the
// deadline of its writes away, as it does after each answer and before it waits for another request, shuts down or closes
// (conn.serve in net/http/server.go). The deadline is still in force then. Handlers must neither stream nor take connections over, and HTTP/2 must not be spoken.
func HTTP(inner net.Listener) net.Listener { return httpListener{inner} }

type httpListener struct{ net.Listener }

// Accept implements net.Listener.
func (l httpListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &patient{Conn: c}, nil
}

// patient is a connection that keeps a write back.
type patient struct {
	net.Conn

	mu   sync.Mutex
	kept []byte // nil: nothing
}

// Write implements net.Conn. The error of a write that was kept back is that of the next.
func (c *patient) Write(b []byte) (int, error) {
	if c.keep(b) {
		return len(b), nil
	}
	Yield()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.kept == nil:
		return c.Conn.Write(b)
	case len(c.kept)+len(b) <= cap(c.kept):
		before := len(c.kept)
		c.kept = append(c.kept, b...)
		n, err := c.flush()
		return max(0, n-before), err
	}
	if _, err := c.flush(); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// keep reports whether a write is kept back.
func (c *patient) keep(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept != nil || len(b) != serverBuffer {
		return false
	}
	c.kept = append(wiped.Get(together)[:0], b...)
	return true
}

// flush writes what was kept back. The lock is held.
func (c *patient) flush() (int, error) {
	if c.kept == nil {
		return 0, nil
	}
	n, err := c.Conn.Write(c.kept)
	wiped.Put(c.kept)
	c.kept = nil
	return n, err
}

// release writes what was kept back. An answer that has not left as a whole must not be followed by another, and whoever
// wrote it has been told that it has left, so that the connection ends.
func (c *patient) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.flush(); err != nil {
		_ = c.Conn.Close()
	}
}

// Read implements net.Conn.
func (c *patient) Read(b []byte) (int, error) {
	c.release()
	return c.Conn.Read(b)
}

// SetReadDeadline implements net.Conn.
func (c *patient) SetReadDeadline(t time.Time) error {
	c.release()
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn. What was kept back has the deadline until now.
func (c *patient) SetWriteDeadline(t time.Time) error {
	c.release()
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *patient) SetDeadline(t time.Time) error {
	c.release()
	return c.Conn.SetDeadline(t)
}

// CloseWrite is what net/http does before it closes a connection on which something was left unread.
func (c *patient) CloseWrite() error {
	c.release()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements net.Conn. It does not wait for a write that is under way, and ends it. What is kept back even now is the
// beginning of an answer that was given up.
func (c *patient) Close() error {
	if c.mu.TryLock() {
		if c.kept != nil {
			wiped.Put(c.kept)
			c.kept = nil
		}
		c.mu.Unlock()
	}
	return c.Conn.Close()
}
