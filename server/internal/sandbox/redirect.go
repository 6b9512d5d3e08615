package sandbox

import (
	"context"
	"io"
	"net"
	"net/http"
)

// redirectTargetPath is where redirects point when the sandbox is served by
// its Handler alone, and so has no second listener.
const redirectTargetPath = "/_sandbox/redirect-target/"

// maxRecordedBody bounds what is kept of the body of one redirected request.
const maxRecordedBody = 64 << 10

// redirect sends the caller to the second listener with the path it asked for.
func redirect(status int) fault {
	return func(x *exchange) {
		x.w.Header().Set("Location", redirectTarget(x.r))
		x.w.WriteHeader(status)
	}
}

// redirectTarget names the second listener by the host that the client knows
// the first one by.
func redirectTarget(r *http.Request) string {
	target, ok := r.Context().Value(redirectKey{}).(redirectListener)
	if !ok {
		return redirectTargetPath + r.URL.EscapedPath()[1:]
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return target.scheme + "://" + net.JoinHostPort(host, target.port) + r.URL.EscapedPath()
}

// redirectKey is the key of the redirectListener in the contexts of requests.
type redirectKey struct{}

type redirectListener struct{ scheme, port string }

func withRedirectListener(ctx context.Context, l net.Listener, encrypted bool) (context.Context, error) {
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, err
	}
	target := redirectListener{"http", port}
	if encrypted {
		target.scheme = "https"
	}
	return context.WithValue(ctx, redirectKey{}, target), nil
}

// recordRedirected keeps a request that followed a redirect, and answers it
// so that a client that follows sees no reason to stop.
func (s *Sandbox) recordRedirected(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxRecordedBody)) // what arrived counts, however it ended
	s.mu.Lock()
	record := &s.state.redirected
	record.Requests = append(record.Requests, RedirectedRequest{r.Method, r.RequestURI, r.Header.Clone(), string(body)})
	s.mu.Unlock()
	answerReply(document{}).write(w)
}

// recordingListener counts the connections made to the redirect target and
// the bytes they bring, whether or not these are requests.
type recordingListener struct {
	net.Listener
	sandbox *Sandbox
}

func (l recordingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.sandbox.countRedirected(1, 0)
	return recordingConn{conn, l.sandbox}, nil
}

type recordingConn struct {
	net.Conn
	sandbox *Sandbox
}

func (c recordingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.sandbox.countRedirected(0, n)
	return n, err
}

func (s *Sandbox) countRedirected(connections, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.redirected.Connections += connections
	s.state.redirected.Bytes += int64(bytes)
}
