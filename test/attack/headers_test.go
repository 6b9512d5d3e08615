package attack

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// headerMemory is what the server's memory may grow by when it is sent megabytes of header: far less than those, and
// more than a Go process grows by without a reason.
const headerMemory = 48 << 20

// verdict is what became of a request that must not be served: the status it was refused with, or "cut".
func (f *frames) verdict(t *testing.T) string {
	t.Helper()
	_ = f.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		frame, err := f.ReadFrame()
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status := ""
			for _, field := range frame.Fields {
				if field.Name == ":status" || field.Name == "grpc-status" {
					status = field.Value
				}
			}
			return status
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "cut"
		}
		if err != nil {
			return "cut"
		}
	}
}

// TestTooManyHeaders sends headers by their number and by their size, small on the wire and large in memory.
func TestTooManyHeaders(t *testing.T) {
	t.Parallel()
	x := start(t, options{tls: true})
	var many []string
	for i := range manyHeaders {
		many = append(many, fmt.Sprintf("x-%d", i), "v")
	}
	large := []string{"x-large", strings.Repeat("x", manyMetadata)}
	// One entry of the compression table that is named again and again, at a byte each: 64 MB out of 20 KB.
	bomb := slices.Repeat([]string{"x-bomb", strings.Repeat("x", 3<<10)}, 20_000)
	for name, more := range map[string][]string{"10,000 headers": many, "16 MB of metadata": large, "a compressed bomb": bomb} {
		for door, address := range map[string]string{"gRPC": x.GRPC, "REST over HTTP/2": x.HTTP} {
			t.Run(name+", "+door, func(t *testing.T) {
				before := x.memory(t)
				f := x.connect(t, address)
				credential := []string{"authorization", "Bearer " + x.secret} // it would be served but for the headers
				if err := f.begin(1, f.encode(x.request(address, append(credential, more...)...)...), true); err != nil {
					t.Log("it did not take all of it: ", err)
				}
				if got := f.verdict(t); got != "cut" && got != "431" {
					t.Errorf("status %s", got)
				}
				x.serves(t)
				x.grew(t, before, headerMemory)
			})
		}
	}
}

// TestTooManyHeadersOverHTTP1 is the same in plain text, line by line.
func TestTooManyHeadersOverHTTP1(t *testing.T) {
	t.Parallel()
	x := start(t, options{})
	var many strings.Builder
	for i := range manyHeaders {
		_, _ = fmt.Fprintf(&many, "x-%d: v\r\n", i)
	}
	for name, headers := range map[string]string{
		"10,000 headers":    many.String(),
		"16 MB of metadata": "x-large: " + strings.Repeat("x", manyMetadata) + "\r\n",
		"16 MB of folded":   "x-large: x\r\n" + strings.Repeat(" "+strings.Repeat("x", 1<<10)+"\r\n", manyMetadata>>10),
		"a long path":       "",
	} {
		t.Run(name, func(t *testing.T) {
			before := x.memory(t)
			path := pathOfMember
			if headers == "" {
				path += "?" + strings.Repeat("x", manyMetadata)
			}
			conn := x.raw(t, x.HTTP)
			go func() { // the server answers before it has read all of it, and reads no more
				_, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+x.secret+"\r\n"+headers+"\r\n")
			}()
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge && resp.StatusCode != http.StatusBadRequest {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
			x.serves(t)
			x.grew(t, before, headerMemory)
		})
	}
}

// TestUnidentifiedRequests claims what a connection can before it is known who calls: as many calls at once as there may
// be, each with the largest request that is taken, all but its last byte; and then more of both.
func TestUnidentifiedRequests(t *testing.T) {
	t.Parallel()
	const streams, request = 250, 256 << 10
	// Buffers of a garbage collector that has not looked yet, and of frames that are larger than what is in them.
	const generous = 2
	x := start(t, options{tls: true})
	for _, size := range []struct{ streams, request int }{{streams, request}, {2 * streams, 2 << 20}} {
		for _, path := range []string{"/" + service + "/Recover", "/grpc.health.v1.Health/Check"} {
			t.Run(fmt.Sprintf("%d of %d KB at %s", size.streams, size.request>>10, path), func(t *testing.T) {
				before := x.memory(t)
				f := x.connect(t, x.GRPC)
				go f.discard()
				for i := range uint32(size.streams) {
					fields := x.request(x.GRPC)
					fields[slices.Index(fields, ":path")+1] = path
					if err := f.begin(1+2*i, f.encode(fields...), false); err != nil {
						t.Fatal(err)
					}
				}
				message := make([]byte, size.request-1)
				binary.BigEndian.PutUint32(message[1:], uint32(size.request-5))
				f.flood(message, size.streams)
				x.serves(t)
				_ = f.Close()
				x.grew(t, before, generous*streams*request)
				if n := x.metric(t, `recoverycodes_calls_total{caller="",code="Unauthenticated",door="grpc",method="Recover"}`); n > 0 {
					t.Errorf("%v calls had arrived: the test does not hold them back", n)
				}
			})
		}
	}
	t.Run("REST", func(t *testing.T) {
		before := x.memory(t)
		f := x.connect(t, x.HTTP)
		go f.discard()
		fields := x.request(x.HTTP, "content-type", "application/json")
		fields[slices.Index(fields, ":method")+1], fields[slices.Index(fields, ":path")+1] = "POST", "/v1/b2b/recovery_codes/rotate"
		for i := range uint32(streams) {
			if err := f.begin(1+2*i, f.encode(fields...), false); err != nil {
				t.Fatal(err)
			}
		}
		x.serves(t)
		// Each was refused although none has arrived.
		eventually(t, 20*time.Second, "refused without their bodies", func() bool {
			return x.metric(t, `recoverycodes_calls_total{caller="",code="Unauthenticated",door="rest",method="Rotate"}`) == streams
		})
		x.grew(t, before, 32<<20)
	})
}

// discard reads what the server says until it has cut the connection.
func (f *frames) discard() {
	for {
		if _, err := f.ReadFrame(); err != nil && !isStreamError(err) {
			return
		}
	}
}

// flood sends a message on each of so many streams, in turns, until all of it has left or the server takes no more: it
// does not heed the server's windows, and so ends at the first that it exceeds.
func (f *frames) flood(message []byte, streams int) {
	_ = f.SetWriteDeadline(time.Now().Add(20 * time.Second))
	for at := 0; at < len(message); at += 16 << 10 {
		for i := range streams {
			if f.WriteData(uint32(1+2*i), false, message[at:min(at+16<<10, len(message))]) != nil {
				return
			}
			if at == 0 && i%10 == 9 {
				time.Sleep(time.Millisecond) // for the windows to be opened by who reads the length
			}
		}
	}
}
