package sandbox

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What HTTP/2 begins with until the client says otherwise.
const (
	initialWindow = 65535
	maxFrameSize  = 16384 // every client takes frames of this size
)

// h2Writer is the sending half of a connection. Errors of writing are not
// looked at: the reading half notices that the connection is gone.
type h2Writer struct {
	conn *tls.Conn

	mu            sync.Mutex // guards all below, and the flow control of streams
	credited      sync.Cond  // a window has grown, or a stream has gone
	framer        *http2.Framer
	encoder       *hpack.Encoder
	fields        bytes.Buffer // what encoder writes to
	window        int64        // of the connection
	initialWindow int64        // of each stream
	silent        bool         // nothing is written any more
}

func (o *h2Writer) init(conn *tls.Conn) {
	o.conn = conn
	o.credited.L = &o.mu
	o.framer = http2.NewFramer(conn, nil)
	o.encoder = hpack.NewEncoder(&o.fields)
	o.window, o.initialWindow = initialWindow, initialWindow
}

// frame writes by way of f, unless the connection has fallen silent.
func (o *h2Writer) frame(f func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.silent {
		_ = f()
	}
}

func (o *h2Writer) settings(settings ...http2.Setting) {
	o.frame(func() error { return o.framer.WriteSettings(settings...) })
}

func (o *h2Writer) pong(data [8]byte) {
	o.frame(func() error { return o.framer.WritePing(true, data) })
}

func (o *h2Writer) reset(id uint32, code http2.ErrCode) {
	o.frame(func() error { return o.framer.WriteRSTStream(id, code) })
}

// breakOff resets a stream that the client has not reset itself.
func (o *h2Writer) breakOff(s *h2Stream, code http2.ErrCode) {
	o.frame(func() error {
		if s.gone {
			return nil
		}
		return o.framer.WriteRSTStream(s.id, code)
	})
}

func (o *h2Writer) goAway(last uint32, code http2.ErrCode) {
	o.frame(func() error { return o.framer.WriteGoAway(last, code, nil) })
}

// replenish gives the client back what it has sent, on the connection and on
// the stream if that is still open.
func (o *h2Writer) replenish(n uint32, s *h2Stream) {
	if n == 0 {
		return
	}
	o.frame(func() error { return o.framer.WriteWindowUpdate(0, n) })
	if s != nil {
		o.frame(func() error { return o.framer.WriteWindowUpdate(s.id, n) })
	}
}

// peerSettings takes over what the client sets and acknowledges it.
func (o *h2Writer) peerSettings(f *http2.SettingsFrame, open []*h2Stream) error {
	if f.IsAck() {
		return nil
	}
	o.mu.Lock()
	err := f.ForeachSetting(func(setting http2.Setting) error {
		if err := setting.Valid(); err != nil {
			return err
		}
		switch setting.ID {
		case http2.SettingInitialWindowSize:
			for _, s := range open {
				s.window += int64(setting.Val) - o.initialWindow
			}
			o.initialWindow = int64(setting.Val)
		case http2.SettingHeaderTableSize:
			o.encoder.SetMaxDynamicTableSizeLimit(setting.Val)
		default:
		}
		return nil
	})
	o.credited.Broadcast()
	o.mu.Unlock()
	if err == nil {
		o.frame(o.framer.WriteSettingsAck)
	}
	return err
}

// credit enlarges the window of a stream, or with nil that of the connection.
func (o *h2Writer) credit(s *h2Stream, n int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s == nil {
		o.window += n
	} else {
		s.window += n
	}
	o.credited.Broadcast()
}

func (o *h2Writer) open(s *h2Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.window = o.initialWindow
}

// discard lets all further writes of the stream come to nothing.
func (o *h2Writer) discard(s *h2Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.gone = true
	o.credited.Broadcast()
}

func (o *h2Writer) isSilent() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.silent
}

// abandon makes the connection silent for good.
func (o *h2Writer) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.silent = true
	o.credited.Broadcast()
}

// headers begins the answer of a stream, and ends it if end is set.
func (o *h2Writer) headers(s *h2Stream, status int, header http.Header, end bool) {
	o.frame(func() error {
		if s.gone {
			return nil
		}
		o.fields.Reset()
		write := func(name, value string) { _ = o.encoder.WriteField(hpack.HeaderField{Name: name, Value: value}) }
		write(":status", strconv.Itoa(status))
		for name, values := range header {
			for _, value := range values {
				write(strings.ToLower(name), value)
			}
		}
		return o.framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: s.id, BlockFragment: o.fields.Bytes(), EndHeaders: true, EndStream: end})
	})
}

// data sends the body of an answer and ends the stream, as fast as the client
// takes it.
func (o *h2Writer) data(s *h2Stream, body []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(body) > 0 {
		for o.window <= 0 || s.window <= 0 {
			if s.gone || o.silent {
				return
			}
			o.credited.Wait()
		}
		if s.gone || o.silent {
			return
		}
		n := min(int64(len(body)), o.window, s.window, maxFrameSize)
		o.window -= n
		s.window -= n
		if o.framer.WriteData(s.id, n == int64(len(body)), body[:n]) != nil {
			return
		}
		body = body[n:]
	}
}
