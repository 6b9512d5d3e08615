package batching_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"recoverycodes.internal/server/internal/batching"
)

// serve serves bodies of the length that the path says, on a connection whose writes are counted.
func serve(t *testing.T, network, address string) (dial func() net.Conn, writes *atomic.Int64) {
	t.Helper()
	inner, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	writes = new(atomic.Int64)
	crowd(t)
	server := &http.Server{ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			n, err := strconv.Atoi(r.URL.Path[1:])
			if err != nil {
				t.Error(err)
			}
			time.Sleep(100 * time.Microsecond) // as an upstream takes: net/http looks for a caller who goes away meanwhile
			w.Header()["Date"] = nil
			w.Header().Set("Content-Length", strconv.Itoa(n))
			_, _ = w.Write(body(n))
		})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(batching.HTTP(countingListener{inner, writes})) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return func() net.Conn {
		c, err := net.Dial(network, inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}, writes
}

func body(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(n + i)
	}
	return b
}

// readAnswer fails the test unless the next answer on the connection is that of n.
func readAnswer(t *testing.T, from *bufio.Reader, n int) {
	t.Helper()
	resp, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatalf("the answer of %d bytes: %v", n, err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, body(n)) {
		t.Fatalf("the answer of %d bytes: %d bytes, %v", n, len(got), err)
	}
}

// Every length around net/http's buffer is among these, whatever the header takes, and every one is answered at once.
func TestAnswersAreOneWrite(t *testing.T) {
	dial, writes := serve(t, "tcp", "127.0.0.1:0")
	c := dial()
	from := bufio.NewReader(c)
	all := append(lengths(), 1, 5000, 7900)
	for _, n := range all {
		if _, err := fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: test\r\n\r\n", n); err != nil {
			t.Fatal(err)
		}
		readAnswer(t, from, n)
	}
	// A third of them are longer than the buffer. What is kept back when net/http begins to read leaves, see the handler.
	if most := len(all) + len(all)/10; int(writes.Load()) > most {
		t.Errorf("%d writes for %d answers, want at most %d", writes.Load(), len(all), most)
	}
	for _, n := range []int{8192, 20_000, 100_000} {
		if _, err := fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: test\r\n\r\n", n); err != nil {
			t.Fatal(err)
		}
		readAnswer(t, from, n)
	}
}

func lengths() []int {
	var all []int
	for n := 3970; n <= 4030; n++ { // with a header of 70 to 120 bytes
		all = append(all, n)
	}
	return all
}

// However a connection ends, and whatever is on it beside, answers arrive whole.
func TestAnswersArriveWhole(t *testing.T) {
	tests := []struct{ name, request string }{
		{"close", "GET /%d HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"},
		{"HTTP/1.0", "GET /%d HTTP/1.0\r\n\r\n"},
		{"a body that nobody reads", "POST /%d HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello"},
		{"a body that is too long to be passed", "POST /%d HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nhello"},
		{"a body that never comes", "POST /%d HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"},
		{"the next request is there", "GET /%[1]d HTTP/1.1\r\nHost: test\r\n\r\nGET /%[1]d HTTP/1.1\r\nHost: test\r\n\r\n"},
		{"the caller has no more to say", "GET /%d HTTP/1.1\r\nHost: test\r\n\r\n"},
	}
	for _, network := range []string{"tcp", "unix"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			dir, err := os.MkdirTemp("", "") // the path of a socket has 100 bytes
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.RemoveAll(dir) }()
			address = dir + "/socket"
		}
		dial, _ := serve(t, network, address)
		for _, tt := range tests {
			t.Run(network+" "+tt.name, func(t *testing.T) {
				for _, n := range append(lengths(), 0, 5000, 50_000) {
					c := dial()
					if _, err := fmt.Fprintf(c, tt.request, n); err != nil {
						t.Fatal(err)
					}
					if half, ok := c.(interface{ CloseWrite() error }); ok && strings.HasSuffix(tt.name, "no more to say") {
						if err := half.CloseWrite(); err != nil {
							t.Fatal(err)
						}
					}
					if strings.HasSuffix(tt.name, "never comes") {
						if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
							t.Fatal(err)
						}
					}
					from := bufio.NewReader(c)
					readAnswer(t, from, n)
					if strings.HasPrefix(tt.name, "the next") {
						readAnswer(t, from, n)
					}
					_ = c.Close()
				}
			})
		}
	}
}

// What was kept back leaves when the connection is read from, closed for writing, or its deadline is set, and the error of
// a write that was kept back is not lost.
func TestKeptBack(t *testing.T) {
	const buffer = 4096
	for name, leave := range map[string]func(net.Conn) error{
		"read":           func(c net.Conn) error { _, err := c.Read(nil); return err },
		"read deadline":  func(c net.Conn) error { return c.SetReadDeadline(time.Time{}) },
		"deadline":       func(c net.Conn) error { return c.SetDeadline(time.Time{}) },
		"write deadline": func(c net.Conn) error { return c.SetWriteDeadline(time.Time{}) },
		"close write":    func(c net.Conn) error { return c.(interface{ CloseWrite() error }).CloseWrite() },
		"write":          func(c net.Conn) error { _, err := c.Write(nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			var got []byte
			c := acceptHTTP(t, &fake{written: func(b []byte) { got = append(got, b...) }, all: true})
			if n, err := c.Write(body(buffer)); n != buffer || err != nil || len(got) != 0 {
				t.Fatalf("%d, %v, %d bytes written at once", n, err, len(got))
			}
			if err := leave(c); err != nil || !bytes.Equal(got, body(buffer)) {
				t.Errorf("%v, %d bytes written", err, len(got))
			}
		})
	}
	broken := errors.New("broken")
	inner := &fake{written: func([]byte) {}, n: 100, err: broken}
	c := acceptHTTP(t, inner)
	if _, err := c.Write(body(buffer)); err != nil {
		t.Fatal(err)
	}
	if _ = c.SetWriteDeadline(time.Time{}); !inner.closed {
		t.Error("a connection is used again on which an answer has left in part")
	}
	for _, last := range []int{1, buffer, 10_000} {
		c := acceptHTTP(t, &fake{written: func([]byte) {}, n: 100, err: broken})
		if _, err := c.Write(body(buffer)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Write(body(last)); n != 0 || !errors.Is(err, broken) {
			t.Errorf("the write after one that failed: %d, %v", n, err)
		}
	}
}

// A connection whose peer does not read is closed although a write is under way, which ends.
func TestCloseEndsAWrite(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inner.Close() }()
	peer, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	c, err := batching.HTTP(inner).Accept()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				ended <- err
				return
			}
		}
	}()
	time.Sleep(50 * time.Millisecond) // until it blocks; if it does not yet, there is less to see
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the write: %v", err)
	}
}

func acceptHTTP(t *testing.T, inner net.Conn) net.Conn {
	t.Helper()
	c, err := batching.HTTP(listener{conn: inner}).Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type countingListener struct {
	net.Listener
	writes *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c, l.writes}, nil
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

func (c countingConn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}
