package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"golang.org/x/net/http2"
)

// h2Stream is one exchange of an h2Conn: its request, and the writer and the
// wire of its answer. The answer is kept until the handler has returned.
type h2Stream struct {
	conn    *h2Conn
	id      uint32
	request *http.Request
	cancel  context.CancelFunc

	// Of the reading goroutine until the handler starts.
	body    []byte
	started bool

	// Of the handler.
	header http.Header
	status int
	answer []byte
	finish func() // sends the answer, or what a fault wants in its place

	// Guarded by h2Writer.mu.
	window int64
	gone   bool
}

func (s *h2Stream) serve() {
	s.finish = s.send
	s.request.Body = io.NopCloser(bytes.NewReader(s.body))
	if !s.handle() {
		s.reset()
	}
	s.finish()
}

// handle reports whether the handler has returned and not aborted.
func (s *h2Stream) handle() (returned bool) {
	defer func() {
		reason := recover()
		if err, _ := reason.(error); reason != nil && !errors.Is(err, http.ErrAbortHandler) {
			panic(reason)
		}
	}()
	s.conn.handler.ServeHTTP(s, s.request)
	return true
}

func (s *h2Stream) Header() http.Header { return s.header }

func (s *h2Stream) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
}

func (s *h2Stream) Write(b []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	s.answer = append(s.answer, b...)
	return len(b), nil
}

// send sends what has been written. An answer that is shorter than its
// Content-Length is sent all the same.
func (s *h2Stream) send() {
	s.WriteHeader(http.StatusOK)
	if s.request.Method == http.MethodHead {
		s.answer = nil
	}
	s.conn.out.headers(s, s.status, s.header, len(s.answer) == 0)
	s.conn.out.data(s, s.answer)
}

// reset breaks off this stream only; others of the connection go on.
func (s *h2Stream) reset() {
	s.finish = func() { s.conn.out.breakOff(s, http2.ErrCodeInternal) }
}

func (s *h2Stream) refuse() {
	s.finish = func() { s.conn.out.breakOff(s, http2.ErrCodeRefusedStream) }
}

// goAway names the stream before this one as the last that was begun, and
// takes leave of the connection. The client closes it: were it closed here,
// what is still on its way would turn the leave into a reset.
func (s *h2Stream) goAway() {
	s.finish = func() {
		s.conn.out.goAway(max(s.id, 2)-2, http2.ErrCodeNo)
		s.conn.out.abandon()
		_ = s.conn.conn.CloseWrite()
		s.conn.idle.Reset(idleTimeout)
	}
}

// answerAndSwallow takes no notice even of pings afterwards.
func (s *h2Stream) answerAndSwallow(r reply) {
	r.write(s)
	s.finish = func() {
		s.send()
		s.conn.out.abandon()
	}
}
