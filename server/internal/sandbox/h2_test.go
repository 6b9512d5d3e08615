package sandbox_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"recoverycodes.internal/server/internal/sandbox"
)

// next reads frames until one is of type F.
func next[F http2.Frame](c *h2Client) F {
	c.t.Helper()
	for {
		frame, err := c.framer.ReadFrame()
		c.must(err)
		if f, ok := frame.(F); ok {
			return f
		}
	}
}

func TestHTTP2ManyAtOnce(t *testing.T) {
	p := start(t, sandbox.Options{TLS: true})
	var callers sync.WaitGroup
	for i := range 50 {
		callers.Go(func() {
			id := fmt.Sprintf("%sslow-%d~%d", fault, i%7, i)
			response, err := p.http.Do(p.about("recover", id))
			if err != nil {
				t.Error(err)
				return
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || response.ProtoMajor != 2 || response.StatusCode != http.StatusOK || !strings.Contains(string(body), id) {
				t.Errorf("%s: %v %s %d %.100s", id, err, response.Proto, response.StatusCode, body)
			}
		})
	}
	callers.Wait()
}

func TestHTTP2Ping(t *testing.T) {
	c := start(t, sandbox.Options{TLS: true}).h2()
	c.must(c.framer.WritePing(false, [8]byte{1, 2, 3}))
	if f := next[*http2.PingFrame](c); !f.IsAck() || f.Data != [8]byte{1, 2, 3} {
		t.Errorf("answer to the ping: %v", f)
	}
}

func TestHTTP2FlowControl(t *testing.T) {
	p := start(t, sandbox.Options{TLS: true})
	c := p.h2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	c.send(1, p.request("GET", getPath, ""))
	for range 3 {
		received := 0
		for received < 100 {
			received += len(next[*http2.DataFrame](c).Data())
		}
		if received > 100 {
			t.Fatalf("%d bytes came through a window of 100", received)
		}
		c.must(c.framer.WritePing(false, [8]byte{}))
		if f, ok := frameOf(c).(*http2.PingFrame); !ok {
			t.Fatalf("a closed window let %v through", f)
		}
		c.must(c.framer.WriteWindowUpdate(1, 100))
	}
	c.must(c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})) // counts for open streams, too
	for !next[*http2.DataFrame](c).StreamEnded() {
	}
}

func frameOf(c *h2Client) http2.Frame {
	c.t.Helper()
	frame, err := c.framer.ReadFrame()
	c.must(err)
	return frame
}

func TestHTTP2LargeBodies(t *testing.T) {
	p := start(t, sandbox.Options{TLS: true})
	padding := strings.Repeat("x", 1<<20-400)
	p.post(rotatePath, member("padding", padding)).wantOK(t)
	p.post(rotatePath, member("padding", padding+padding)).wantError(t, 400, "bad_request")
}

func TestHTTP2StreamLimit(t *testing.T) {
	p := start(t, sandbox.Options{TLS: true})
	c := p.h2()
	slow := p.about("get", fault+"slow-600000")
	id := uint32(1)
	for range 250 {
		c.send(id, slow)
		id += 2
	}
	c.send(id, slow)
	if f := next[*http2.RSTStreamFrame](c); f.StreamID != id || f.ErrCode != http2.ErrCodeRefusedStream {
		t.Errorf("beyond the limit came %v", f)
	}
	c.must(c.framer.WriteRSTStream(7, http2.ErrCodeCancel))
	c.send(id+2, p.request("GET", getPath, ""))
	if s := c.receive(id + 2); s.ended != "answer" || s.status != http.StatusOK {
		t.Errorf("after one stream had gone, the next ended with %q", s.ended)
	}
}

func TestHTTP2Misuse(t *testing.T) {
	p := start(t, sandbox.Options{TLS: true})
	refused := func(t *testing.T, c *h2Client) {
		t.Helper()
		if f := next[*http2.GoAwayFrame](c); f.ErrCode != http2.ErrCodeProtocol {
			t.Errorf("the connection ended with %v", f.ErrCode)
		}
		if _, err := c.framer.ReadFrame(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection goes on: %v", err)
		}
	}
	t.Run("even stream", func(t *testing.T) {
		c := p.h2()
		c.send(2, p.request("GET", getPath, ""))
		refused(t, c)
	})
	t.Run("stream used again", func(t *testing.T) {
		c := p.h2()
		c.send(5, p.request("GET", getPath, ""))
		c.receive(5)
		c.send(3, p.request("GET", getPath, ""))
		refused(t, c)
	})
	t.Run("data of a stream that was never opened", func(t *testing.T) {
		c := p.h2()
		c.must(c.framer.WriteData(9, true, []byte("{}")))
		refused(t, c)
	})
	t.Run("no preface", func(t *testing.T) {
		conn := p.dial("h2")
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
			t.Errorf("got %q and %v", b, err)
		}
	})
}

// TestHTTP2ClientLeaves: the handler of a stream that the client has reset
// ends, and does not wait for its time.
func TestHTTP2ClientLeaves(t *testing.T) {
	p := start(t, sandbox.Options{TLS: true})
	c := p.h2()
	c.send(1, p.about("get", fault+"slow-600000"))
	waitFor(t, "the handler to wait", func() bool { return goroutinesIn("sandbox.(*h2Stream).handle(") > 0 })
	c.must(c.framer.WriteRSTStream(1, http2.ErrCodeCancel))
	waitFor(t, "the handler to end", func() bool { return goroutinesIn("sandbox.(*h2Stream).handle(") == 0 })
}
