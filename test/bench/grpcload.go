package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maxConnections is over how many connections the callers of a gRPC load are spread.
const maxConnections = 8

// grpcLoad calls a unary RPC over HTTP/2, several callers to a connection, as a sidecar or a client library does. It writes
// frames around a message made beforehand and reads of the answers their length and status: grpc-go's client costs
// more than the servers that are measured with it. Header compression is used as grpc-go's client does, and the flow-control windows are
// as wide as those that it arrives at after a while.
type grpcLoad struct {
	connections []*grpcConnection
	callers     int
}

// grpcRequest is what every call of a load sends.
type grpcRequest struct {
	method  string              // "/package.Service/Method"
	message []byte              // encoded
	headers []hpack.HeaderField // besides those that gRPC demands

	// vary makes the message that of the next call, in place, and returns the call's idempotency key. It is nil for calls
	// that are all alike and have no key.
	vary func(message []byte) (key string)
}

func newGRPCLoad(address string, request grpcRequest, callers int) (*grpcLoad, error) {
	l := &grpcLoad{callers: callers}
	for range min(callers, maxConnections) {
		c, err := dialGRPC(address, request)
		if err != nil {
			l.close()
			return nil, err
		}
		l.connections = append(l.connections, c)
	}
	return l, nil
}

func (l *grpcLoad) close() {
	for _, c := range l.connections {
		_ = c.conn.Close()
		<-c.ended
	}
}

func (l *grpcLoad) saturate(d time.Duration) (int, error) {
	before := l.answers()
	wait, err := l.start(time.Now().Add(d))
	if err == nil {
		err = wait()
	}
	return l.answers() - before, err
}

func (l *grpcLoad) begin() (func() error, error) { return l.start(time.Time{}) }

// start has every caller make one call, and another after each answer until the time given.
func (l *grpcLoad) start(until time.Time) (func() error, error) {
	for i, c := range l.connections {
		callers := l.callers / len(l.connections)
		if i < l.callers%len(l.connections) {
			callers++
		}
		if err := c.begin(callers, until); err != nil {
			return nil, err
		}
	}
	return l.wait, nil
}

func (l *grpcLoad) wait() error {
	var errs []error
	for _, c := range l.connections {
		errs = append(errs, await(c.idle))
	}
	return errors.Join(errs...)
}

func (l *grpcLoad) answers() (n int) {
	for _, c := range l.connections {
		c.mu.Lock()
		n += c.answers
		c.mu.Unlock()
	}
	return n
}

func (l *grpcLoad) pace(rate int, d time.Duration) ([]time.Duration, error) {
	for _, c := range l.connections {
		c.keepTimes(int(d.Seconds() * float64(rate)))
	}
	next := 0
	err := due(rate, d, func(at time.Time) error {
		next++
		return l.connections[next%len(l.connections)].call(at)
	})
	for _, c := range l.connections {
		c.mu.Lock()
		c.finish()
		c.mu.Unlock()
	}
	err = errors.Join(err, l.wait())
	var times []time.Duration
	for _, c := range l.connections {
		times = append(times, c.keepTimes(0)...)
	}
	return times, err
}

// grpcConnection is one connection. Its reader starts the next calls, so that a saturated server sees them in batches, as it
// does from busy clients.
type grpcConnection struct {
	conn     net.Conn
	in       *bufio.Reader
	framer   *http2.Framer // reads from in and writes to out
	decoder  *hpack.Decoder
	status   string // grpc-status of the header block being read
	consumed uint32 // since the last update of the connection's window
	ended    chan struct{}
	idle     chan error // yields when the last call that was begun has ended

	mu      sync.Mutex
	request grpcRequest
	out     frames
	encoder *hpack.Encoder
	block   frames
	stream  uint32
	open    map[uint32]time.Time // when each open call was due
	until   time.Time
	closing bool // nothing is begun any more: idle is owed
	answers int
	times   []time.Duration
}

// frames is what has been encoded and not yet written.
type frames []byte

// Write implements io.Writer.
func (f *frames) Write(b []byte) (int, error) {
	*f = append(*f, b...)
	return len(b), nil
}

// window is how much the server may send ahead on a stream, and twice that on a connection.
const window = 1 << 24

func dialGRPC(address string, request grpcRequest) (*grpcConnection, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	c := &grpcConnection{
		conn: conn, in: bufio.NewReaderSize(conn, 64<<10), request: request,
		ended: make(chan struct{}), idle: make(chan error, 2),
		open: make(map[uint32]time.Time), stream: 1,
	}
	c.request.message = bytes.Clone(request.message) // vary writes into it
	c.request.headers = append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: request.method},
		{Name: ":authority", Value: address}, {Name: "content-type", Value: "application/grpc"},
		{Name: "user-agent", Value: "bench"}, {Name: "te", Value: "trailers"},
	}, request.headers...)
	c.framer = http2.NewFramer(&c.out, c.in)
	c.framer.SetReuseFrames()
	c.encoder = hpack.NewEncoder(&c.block)
	c.decoder = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == "grpc-status" {
			c.status = f.Value
		}
	})
	_, _ = io.WriteString(&c.out, http2.ClientPreface) // to memory
	err = errors.Join(
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}),
		c.framer.WriteWindowUpdate(0, 2*window),
		c.flush())
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go func() {
		defer close(c.ended)
		c.idle <- c.read() // the end of the connection, when somebody waits
	}()
	return c, nil
}

// begin starts calls, each of which is followed by another until the time given.
func (c *grpcConnection) begin(calls int, until time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.closing = until, false
	for range calls {
		if err := c.send(time.Now()); err != nil {
			return err
		}
	}
	c.finish()
	return c.flush()
}

// call starts one call.
func (c *grpcConnection) call(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.send(at); err != nil {
		return err
	}
	return c.flush()
}

// finish owes idle its answer once no call is open. The lock is held.
func (c *grpcConnection) finish() {
	c.closing = true
	c.settle()
}

func (c *grpcConnection) settle() {
	if c.closing && len(c.open) == 0 {
		c.closing = false
		c.idle <- nil
	}
}

// keepTimes returns the times kept, and keeps those of calls to come when there is room for any.
func (c *grpcConnection) keepTimes(room int) []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	times := c.times
	c.times, c.until = nil, time.Time{}
	if room > 0 {
		c.times = make([]time.Duration, 0, room)
	}
	return times
}

// send encodes a call. The lock is held, since the compressed headers count on their order.
func (c *grpcConnection) send(at time.Time) error {
	c.block = c.block[:0]
	for _, f := range c.request.headers {
		_ = c.encoder.WriteField(f) // to memory
	}
	if c.request.vary != nil {
		key := c.request.vary(c.request.message)
		_ = c.encoder.WriteField(hpack.HeaderField{Name: "idempotency-key", Value: key, Sensitive: true})
	}
	c.open[c.stream] = at
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.block, EndHeaders: true})
	if err == nil {
		err = c.framer.WriteData(c.stream, true, c.request.message)
	}
	c.stream += 2
	return err
}

func (c *grpcConnection) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

// read takes frames until the connection ends. What it has to say goes out when there is nothing left to read.
func (c *grpcConnection) read() error {
	for {
		if c.in.Buffered() == 0 {
			c.mu.Lock()
			err := c.flush()
			c.mu.Unlock()
			if err != nil {
				return err
			}
		}
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return err
		}
		c.mu.Lock()
		err = c.take(frame)
		c.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (c *grpcConnection) take(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.DataFrame:
		// Streams are short and their windows wide: only the connection's has to be opened again.
		if c.consumed += f.Length; c.consumed > window {
			c.consumed = 0
			return c.framer.WriteWindowUpdate(0, window)
		}
	case *http2.HeadersFrame:
		if !f.HeadersEnded() {
			return errors.New("a header block in several frames")
		}
		if _, err := c.decoder.Write(f.HeaderBlockFragment()); err != nil {
			return err
		}
		if f.StreamEnded() {
			return c.answered(f.StreamID)
		}
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return c.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *http2.RSTStreamFrame, *http2.GoAwayFrame:
		return fmt.Errorf("the server gave up: %v", f)
	}
	return nil
}

// answered ends a call and, if there is time, begins the next.
func (c *grpcConnection) answered(stream uint32) error {
	if c.status != "0" {
		return fmt.Errorf("grpc-status %q", c.status)
	}
	c.status = ""
	at := c.open[stream]
	delete(c.open, stream)
	c.answers++
	if c.times != nil {
		c.times = append(c.times, time.Since(at))
	}
	if !c.until.IsZero() && time.Now().Before(c.until) {
		return c.send(time.Now())
	}
	c.settle()
	return nil
}
