package batching_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"recoverycodes.internal/server/internal/batching"
)

// exact answers with as many bytes as net/http's buffer has, header and all, all of them the letter that the path is.
func exact(w http.ResponseWriter, r *http.Request) {
	const rest = "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\nContent-Type: a/b\r\n\r\n"
	n := 4096 - len(rest)
	w.Header()["Date"] = nil
	w.Header().Set("Content-Type", "a/b")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	_, _ = io.WriteString(w, strings.Repeat(r.URL.Path[1:2], n))
}

// exactServer serves handler to connections, each of which is what wrap makes of it, and returns one.
func exactServer(t *testing.T, handler http.HandlerFunc, limit time.Duration, wrap func(net.Conn) net.Conn) (server *http.Server, state *atomic.Int64, c net.Conn) {
	t.Helper()
	crowd(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	state = new(atomic.Int64)
	server = &http.Server{
		Handler: handler, WriteTimeout: limit, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute,
		ConnState: func(_ net.Conn, s http.ConnState) { state.Store(int64(s)) },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(batching.HTTP(wrapping{inner, wrap})) }()
	c, err = net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	if err := errors.Join(c.(*net.TCPConn).SetReadBuffer(4096), c.SetDeadline(time.Now().Add(20*time.Second))); err != nil {
		t.Fatal(err)
	}
	return server, state, c
}

// A caller who asks and does not read is given up by the write timeout, and what they read after all is of the answers
// that they asked for, in order.
func TestStalledReader(t *testing.T) {
	const asked, limit = 500, 200 * time.Millisecond
	_, state, c := exactServer(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(2 * time.Millisecond) // until net/http has read a byte of what comes next
		exact(w, r)
	}, limit, func(c net.Conn) net.Conn {
		_ = c.(*net.TCPConn).SetWriteBuffer(4096)
		return c
	})
	go func() {
		for i := range asked {
			if _, err := fmt.Fprintf(c, "GET /%c HTTP/1.1\r\nHost: test\r\n\r\n", 'a'+i%26); err != nil {
				return
			}
		}
	}()
	for end := time.Now().Add(10 * time.Second); http.ConnState(state.Load()) != http.StateClosed; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the connection is %v after 10 s, although answers may take %v", http.ConnState(state.Load()), limit)
		}
	}
	from := bufio.NewReader(c)
	for i := range asked {
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			return // cut off, as it had to be
		}
		text, err := io.ReadAll(resp.Body)
		if other := bytes.Trim(text, string(rune('a'+i%26))); len(other) > 0 {
			t.Fatalf("answer %d has bytes of another: %.40q", i, other)
		}
		if err != nil {
			return
		}
	}
	t.Error("all answers arrived: the connection was not stalled")
}

// A server that is shut down when an answer is complete and not yet written lets it go first.
func TestShutdownAfterAnAnswer(t *testing.T) {
	handled := make(chan struct{}, 1)
	server, _, c := exactServer(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond) // until net/http has read the byte below
		exact(w, r)
		handled <- struct{}{}
	}, time.Minute, func(c net.Conn) net.Conn { return slow{c} })
	for _, sent := range []string{"GET /a HTTP/1.1\r\nHost: test\r\n\r\n", "G"} {
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // so that it is not read with what came before
	}
	<-handled
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		down <- server.Shutdown(ctx)
	}()
	got, err := io.ReadAll(c)
	if len(got) != 4096 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	_ = c.Close()
	if err := <-down; err != nil {
		t.Error(err)
	}
}

type wrapping struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (l wrapping) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.wrap(c), nil
}

// slow is a connection whose writes begin late, as those of a goroutine that has to wait for its processor.
type slow struct{ net.Conn }

func (c slow) Write(b []byte) (int, error) {
	time.Sleep(100 * time.Millisecond)
	return c.Conn.Write(b)
}
