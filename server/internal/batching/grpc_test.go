package batching_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"

	"recoverycodes.internal/server/internal/batching"
)

// What is ready to run has run when a write reaches the connection.
func TestOthersRunBeforeAWriteOfGRPC(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that nothing else runs them
	const tries = 50
	inner := &fake{}
	conn := accept(t, inner)
	crowd(t)
	first := 0
	for range tries {
		var ran atomic.Bool
		inner.written = func([]byte) {
			if ran.Load() {
				first++
			}
		}
		done := make(chan struct{})
		go func() { ran.Store(true); close(done) }()
		if _, err := conn.Write(nil); err != nil {
			t.Fatal(err)
		}
		<-done
	}
	if first < tries/2 { // the scheduler promises no order
		t.Errorf("what was ready had run before %d of %d writes", first, tries)
	}
}

// With few calls under way nobody yields.
func TestFewDoNotYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer batching.Begin()()
	var ran atomic.Bool
	done := make(chan struct{})
	go func() { ran.Store(true); close(done) }()
	batching.Yield()
	if ran.Load() {
		t.Error("another goroutine has run")
	}
	<-done
}

// crowd has many calls under way until the test ends.
func crowd(t *testing.T) {
	t.Helper()
	for range 100 {
		t.Cleanup(batching.Begin())
	}
}

func TestWritesAreThoseOfTheConnection(t *testing.T) {
	var got string
	inner := &fake{written: func(b []byte) { got = string(b) }, n: 3, err: io.ErrShortWrite}
	if n, err := accept(t, inner).Write([]byte("four")); n != inner.n || !errors.Is(err, inner.err) || got != "four" {
		t.Errorf("Write: %d, %v and %q written, want %d, %v and all", n, err, got, inner.n, inner.err)
	}
}

func TestAcceptFails(t *testing.T) {
	want := errors.New("no connection")
	if conn, err := batching.HTTP(listener{err: want}).Accept(); conn != nil || !errors.Is(err, want) {
		t.Errorf("Accept: %v, %v, want %v alone", conn, err, want)
	}
}

func accept(t *testing.T, inner net.Conn) net.Conn {
	t.Helper()
	conn, _, err := batching.GRPC(insecure.NewCredentials()).Clone().ServerHandshake(inner)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

type listener struct {
	net.Listener
	conn net.Conn
	err  error
}

func (l listener) Accept() (net.Conn, error) { return l.conn, l.err }

// fake is a connection whose writes are told.
type fake struct {
	net.Conn
	written func([]byte)
	all     bool // say that all was written
	n       int  // how much to say else
	err     error
	closed  bool
}

func (c *fake) Write(b []byte) (int, error) {
	c.written(b)
	if c.all {
		return len(b), nil
	}
	return c.n, c.err
}

func (c *fake) Read([]byte) (int, error)         { return 0, nil }
func (c *fake) SetReadDeadline(time.Time) error  { return nil }
func (c *fake) SetWriteDeadline(time.Time) error { return nil }
func (c *fake) CloseWrite() error                { return nil }
func (c *fake) SetDeadline(time.Time) error      { return nil }
func (c *fake) Close() error {
	c.closed = true
	return nil
}
