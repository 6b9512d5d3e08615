package attack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// slowPeers is how many of each kind hold a connection at once.
const slowPeers = 50

// TestSlowloris holds connections of each door at each point where a peer can be slow, sending a byte or a frame now and
// then. All are ended, and meanwhile others are served.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	secure, plain := start(t, options{tls: true}), start(t, options{})
	post := "POST /v1/b2b/recovery_codes/rotate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + plain.secret + "\r\n"
	tests := []struct {
		name   string
		target *target
		door   string
		start  func(t *testing.T) io.Writer // leaves the connection where it is to be slow
		drip   func(io.Writer) error
		ended  time.Duration // what the limit is, and a lot for a busy machine
	}{
		{"nothing is said, gRPC", plain, plain.GRPC, nil, nil, 10 * time.Second},
		{"nothing is said, REST", plain, plain.HTTP, nil, nil, 5 * time.Second},
		{"TLS byte by byte, gRPC", plain, secure.GRPC, nil, byteOf("\x16\x03\x01\x40\x00"), 10 * time.Second},
		{"TLS byte by byte, REST", plain, secure.HTTP, nil, byteOf("\x16\x03\x01\x40\x00"), 5 * time.Second},
		{"the beginning of HTTP/2 byte by byte", plain, plain.GRPC, nil, byteOf(http2.ClientPreface[:20]), 10 * time.Second},
		{"a header byte by byte", plain, plain.HTTP, nil, byteOf("GET / HTTP/1.1\r\nX: "), 5 * time.Second},
		{"a header frame by frame, gRPC", plain, plain.GRPC, plain.openHeader(plain.GRPC), continuation, 40 * time.Second},
		{"a header frame by frame, REST", secure, secure.HTTP, secure.openHeader(secure.HTTP), continuation, 40 * time.Second},
		{"a body byte by byte", plain, plain.HTTP, nil, byteOf(post + "Content-Length: 1000\r\n\r\n{"), 15 * time.Second},
		{"a body in chunks", plain, plain.HTTP, nil, byteOf(post + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"), 15 * time.Second},
	}
	// Each case is left alone until all are under way: they take as long as the longest of them.
	type held struct {
		name  string
		by    time.Time
		ended <-chan struct{}
	}
	var all []held
	for _, test := range tests {
		for range slowPeers {
			ended := test.target.slow(t, test.door, test.start, test.drip)
			all = append(all, held{test.name, time.Now().Add(test.ended + 15*time.Second), ended})
		}
	}
	plain.serves(t)
	secure.serves(t)
	slices.SortFunc(all, func(a, b held) int { return a.by.Compare(b.by) })
	for _, h := range all {
		select {
		case <-h.ended:
			continue
		default:
		}
		select {
		case <-h.ended:
		case <-time.After(time.Until(h.by)):
			t.Errorf("%s: a connection is still open", h.name)
		}
	}
}

// slow opens a connection and keeps sending, a little at a time. What it returns is closed when the server has ended the
// connection.
func (x *target) slow(t *testing.T, door string, begin func(*testing.T) io.Writer, drip func(io.Writer) error) <-chan struct{} {
	t.Helper()
	var conn net.Conn
	to := io.Writer(nil)
	if begin != nil {
		f, _ := begin(t).(*frames)
		conn, to = f, f
	} else {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", door)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		conn, to = c, &dripping{Conn: c}
	}
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		_, _ = io.Copy(io.Discard, conn) // until it ends, in whatever way
	}()
	go func() {
		for drip != nil {
			select {
			case <-cut:
				return
			case <-time.After(500 * time.Millisecond):
				if drip(to) != nil {
					return
				}
			}
		}
	}()
	return cut
}

// dripping remembers how much of a text has been sent.
type dripping struct {
	net.Conn
	sent int
}

// byteOf sends a text but for its end as fast as it goes, then a byte at a time, and for ever the letter a.
func byteOf(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		d, ok := w.(*dripping)
		if !ok {
			return errors.New("not a connection of this kind")
		}
		next := "a"
		if d.sent == 0 {
			next = text
		}
		d.sent += len(next)
		_, err := io.WriteString(d, next)
		return err
	}
}

// openHeader begins HTTP/2 and a header of which more frames are to come.
func (x *target) openHeader(address string) func(*testing.T) io.Writer {
	return func(t *testing.T) io.Writer {
		t.Helper()
		f := x.connect(t, address)
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.encode(x.request(address)...)}); err != nil {
			t.Fatal(err)
		}
		return f
	}
}

// continuation is one more header field of a byte or two.
func continuation(w io.Writer) error {
	f, ok := w.(*frames)
	if !ok {
		return errors.New("not a connection of this kind")
	}
	return f.WriteContinuation(1, false, f.encode("a", ""))
}

// TestSlowRequest sends requests over HTTP/2 that never arrive, by a caller who may: the call ends, and the connection is
// of use.
func TestSlowRequest(t *testing.T) {
	t.Parallel()
	x := start(t, options{tls: true})
	for door, address := range map[string]string{"gRPC": x.GRPC, "REST": x.HTTP} {
		t.Run(door, func(t *testing.T) {
			f := x.connect(t, address)
			fields := x.request(address, "authorization", "Bearer "+x.secret)
			if address == x.HTTP {
				fields = append([]string{":method", "POST", ":path", "/v1/b2b/recovery_codes/rotate"}, fields[2:]...)
				fields = without(fields, pathOfMember)
			}
			for i := range uint32(20) {
				if err := f.begin(1+2*i, f.encode(fields...), false); err != nil {
					t.Fatal(err)
				}
			}
			var writing sync.Mutex // a Framer is written to by one at a time
			go func() {
				drip := func() error {
					writing.Lock()
					defer writing.Unlock()
					return f.WriteData(1, false, []byte{0})
				}
				for drip() == nil {
					time.Sleep(500 * time.Millisecond)
				}
			}()
			x.serves(t)
			ended := make(map[uint32]bool)
			_ = f.SetReadDeadline(time.Now().Add(35 * time.Second)) // the REST door gives a request fifteen
			for len(ended) < 20 {
				frame, err := f.ReadFrame()
				if err != nil && !isStreamError(err) {
					t.Fatalf("%d of 20 calls have ended, then: %v", len(ended), err)
				}
				switch frame := frame.(type) {
				case *http2.MetaHeadersFrame:
					ended[frame.StreamID] = true
				case *http2.RSTStreamFrame:
					ended[frame.StreamID] = true
				case *http2.PingFrame:
					writing.Lock()
					_ = f.WritePing(true, frame.Data)
					writing.Unlock()
				}
			}
		})
	}
}

// without removes a header of a value.
func without(fields []string, value string) (left []string) {
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] != value {
			left = append(left, fields[i], fields[i+1])
		}
	}
	return left
}

// TestUnidentifiedBodyIsNotWaitedFor announces a body that never comes, without a credential: the refusal comes at once.
func TestUnidentifiedBodyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	x := start(t, options{})
	for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
		conn := x.raw(t, x.HTTP)
		began := time.Now()
		if _, err := fmt.Fprintf(conn, "POST /v1/b2b/recovery_codes/rotate HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n%s\r\n", expect); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		answer := bufio.NewReader(conn)
		resp, err := http.ReadResponse(answer, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if took := time.Since(began); resp.StatusCode != http.StatusUnauthorized || !bytes.Contains(text, []byte("caller_unknown")) || took > 4*time.Second {
			t.Errorf("after %v: status %d, %s", took, resp.StatusCode, text)
		}
		if _, err := answer.ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("the connection is not ended: %v", err)
		}
	}
}
