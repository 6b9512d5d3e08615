package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The HTTP/2 server of net/http keeps its frames to itself, and the faults of
// HTTP/2 are frames. So the sandbox has a server of its own, which does what
// the API needs and no more: a handler starts when its request is complete,
// an answer is sent when its handler has returned, and priorities, push and
// trailers are passed over.

// What the HTTP/2 server grants a client.
const (
	maxStreams    = 250
	maxHeaderList = 64 << 10
)

// h2Conn is one HTTP/2 connection. One goroutine reads it; handlers run in
// goroutines of their own and write to it.
type h2Conn struct {
	conn    *tls.Conn
	tls     tls.ConnectionState
	handler http.Handler
	out     h2Writer
	idle    *time.Timer // closes the connection
	running sync.WaitGroup

	mu      sync.Mutex
	streams map[uint32]*h2Stream // those not ended
	lastID  uint32               // the highest that the client has opened
}

// serveH2 answers on conn until that is closed, by either side. It returns
// when every handler has. The contexts of requests are derived from ctx.
func serveH2(ctx context.Context, conn *tls.Conn, handler http.Handler) {
	ctx, cancel := context.WithCancel(ctx)
	c := &h2Conn{conn: conn, tls: conn.ConnectionState(), handler: handler, streams: map[uint32]*h2Stream{}}
	c.idle = time.AfterFunc(idleTimeout, c.close)
	c.out.init(conn)
	c.read(ctx)
	cancel()
	c.idle.Stop()
	c.close() // lets go of handlers that are writing
	c.out.abandon()
	c.running.Wait()
}

func (c *h2Conn) close() { _ = c.conn.Close() }

// read handles frames until the connection ends or is misused.
func (c *h2Conn) read(ctx context.Context) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.conn, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	c.out.settings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaderList})
	framer := http2.NewFramer(io.Discard, c.conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.MaxHeaderListSize = maxHeaderList
	for {
		frame, err := framer.ReadFrame()
		if err == nil {
			err = c.handle(ctx, frame)
		}
		var stream http2.StreamError
		var misuse http2.ConnectionError
		switch {
		case err == nil:
		case errors.As(err, &stream):
			c.out.reset(stream.StreamID, stream.Code)
			c.forget(stream.StreamID)
		case errors.As(err, &misuse):
			c.out.goAway(c.lastID, http2.ErrCode(misuse))
			return
		default:
			return
		}
	}
}

func (c *h2Conn) handle(ctx context.Context, frame http2.Frame) error {
	if c.out.isSilent() {
		return nil
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		return c.out.peerSettings(f, c.openStreams())
	case *http2.PingFrame:
		if !f.IsAck() {
			c.out.pong(f.Data)
		}
	case *http2.WindowUpdateFrame:
		c.out.credit(c.stream(f.StreamID), int64(f.Increment))
	case *http2.MetaHeadersFrame:
		return c.headers(ctx, f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.RSTStreamFrame:
		c.forget(f.StreamID)
	}
	return nil
}

// stream returns an open stream, and nil for any other id.
func (c *h2Conn) stream(id uint32) *h2Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

func (c *h2Conn) openStreams() []*h2Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	open := make([]*h2Stream, 0, len(c.streams))
	for _, s := range c.streams {
		open = append(open, s)
	}
	return open
}

// forget ends a stream: its handler's context is done, and what it still
// writes is discarded.
func (c *h2Conn) forget(id uint32) {
	c.mu.Lock()
	s := c.streams[id]
	delete(c.streams, id)
	if len(c.streams) == 0 && !c.out.isSilent() {
		c.idle.Reset(idleTimeout)
	}
	c.mu.Unlock()
	if s != nil {
		s.cancel()
		c.out.discard(s)
	}
}

func (c *h2Conn) headers(ctx context.Context, f *http2.MetaHeadersFrame) error {
	if s := c.stream(f.StreamID); s != nil && f.StreamEnded() { // trailers
		c.start(s)
		return nil
	}
	if f.StreamID <= c.lastID || f.StreamID%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.lastID = f.StreamID
	ctx, cancel := context.WithCancel(ctx)
	request, err := c.request(ctx, f)
	if err != nil {
		cancel()
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol, Cause: err}
	}
	s := &h2Stream{conn: c, id: f.StreamID, request: request, cancel: cancel, header: http.Header{}}
	c.mu.Lock()
	if len(c.streams) >= maxStreams {
		c.mu.Unlock()
		cancel()
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeRefusedStream}
	}
	c.streams[s.id] = s
	c.idle.Stop()
	c.mu.Unlock()
	c.out.open(s)
	if f.StreamEnded() {
		c.start(s)
	}
	return nil
}

// request makes the request that a handler sees, but for its body.
func (c *h2Conn) request(ctx context.Context, f *http2.MetaHeadersFrame) (*http.Request, error) {
	if f.Truncated {
		return nil, errors.New("too many header fields")
	}
	target, err := url.ParseRequestURI(f.PseudoValue("path"))
	if err != nil {
		return nil, errors.New("unreadable path")
	}
	header := http.Header{}
	for _, field := range f.RegularFields() {
		header.Add(field.Name, field.Value)
	}
	request := &http.Request{
		Method:        f.PseudoValue("method"),
		URL:           target,
		Proto:         "HTTP/2.0",
		ProtoMajor:    2,
		Header:        header,
		Host:          f.PseudoValue("authority"),
		ContentLength: -1,
		RemoteAddr:    c.conn.RemoteAddr().String(),
		RequestURI:    f.PseudoValue("path"),
		TLS:           &c.tls,
	}
	if length, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil {
		request.ContentLength = length
	}
	return request.WithContext(ctx), nil
}

// data adds to the body of a request. The body is complete when it is as long
// as announced, too, so that a request counts as received when it is. Of a
// body that is too large, one byte too many is kept, and the handler says so.
func (c *h2Conn) data(f *http2.DataFrame) error {
	s := c.stream(f.StreamID)
	if s == nil && f.StreamID > c.lastID {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.out.replenish(f.Length, s)
	if s == nil || s.started {
		return nil
	}
	s.body = append(s.body, f.Data()...)
	switch {
	case len(s.body) > maxRequestBody:
		s.body = s.body[:maxRequestBody+1]
		c.start(s)
	case f.StreamEnded(), int64(len(s.body)) == s.request.ContentLength:
		c.start(s)
	}
	return nil
}

// start runs the handler of a stream whose request is complete.
func (c *h2Conn) start(s *h2Stream) {
	if s.started {
		return
	}
	s.started = true
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		defer c.forget(s.id)
		s.serve()
	}()
}
