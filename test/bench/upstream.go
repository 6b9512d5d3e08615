package main

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"

	"recoverycodes.internal/test/documents"
)

// upstream answers as Stytch would, always with the same bytes, and counts its connections. It runs in the generator's
// process, on its core, and does as little as it can, so that the server is what a round waits for.
type upstream struct {
	url         string // http:// is HTTP/1.1 without TLS
	certificate []byte // in PEM, nil without TLS
	dials       atomic.Int64

	answer atomic.Pointer[canned]
	done   canned // the answer to Recover

	// hold, when set, keeps every answer back until it is closed; waiting counts the calls held.
	hold    atomic.Pointer[chan struct{}]
	waiting atomic.Int64

	end func()
}

// canned is an answer: its body, and the whole of it as HTTP/1.1.
type canned struct{ body, message []byte }

func can(body []byte) canned {
	header := "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n" +
		"Vary: Accept-Encoding\r\nX-Request-Id: request-id-test-bench\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	return canned{body, append([]byte(header), body...)}
}

// serve sets the body of the answers to Get from now on.
func (u *upstream) serve(body []byte) {
	answer := can(body)
	u.answer.Store(&answer)
}

// startUpstream serves HTTP/1.1 in plain text.
func startUpstream() (*upstream, error) {
	u := &upstream{done: can(documents.Recover())}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u.url = "http://" + listener.Addr().String()
	u.end = func() { _ = listener.Close() }
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			u.dials.Add(1)
			go u.converse(conn)
		}
	}()
	return u, nil
}

// converse answers the requests of one connection until its other side closes it.
func (u *upstream) converse(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReaderSize(conn, 4<<10)
	for {
		request, err := readHead(in)
		if err != nil {
			return
		}
		answer := u.answer.Load()
		if request.first[0] == 'P' {
			answer = &u.done
		}
		if _, err := in.Discard(max(request.length, 0)); err != nil {
			return
		}
		u.wait()
		if _, err := conn.Write(answer.message); err != nil {
			return
		}
	}
}

func (u *upstream) wait() {
	if hold := u.hold.Load(); hold != nil {
		u.waiting.Add(1)
		<-*hold
		u.waiting.Add(-1)
	}
}

// startTLSUpstream serves over TLS, by Go's own server: it is dearer than converse, and what it costs is not measured.
func startTLSUpstream(http2 bool) *upstream {
	u := &upstream{done: can(documents.Recover())}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := u.answer.Load()
		if r.Method == http.MethodPost {
			answer = &u.done
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(answer.body)))
		_, _ = w.Write(answer.body)
	}))
	server.Listener = &counted{Listener: server.Listener, dials: &u.dials}
	server.EnableHTTP2 = http2
	server.StartTLS()
	u.url = server.URL
	u.end = server.Close
	u.certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return u
}

// counted counts what a listener accepts.
type counted struct {
	net.Listener
	dials *atomic.Int64
}

// Accept implements net.Listener.
func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.dials.Add(1)
	}
	return conn, err
}

// upstreams are the three kinds of upstream there are. They all answer the same.
type upstreams struct {
	plain, tls1, tls2 *upstream
	bodies            map[int][]byte // by size
}

func startUpstreams() (*upstreams, error) {
	plain, err := startUpstream()
	if err != nil {
		return nil, err
	}
	return &upstreams{plain, startTLSUpstream(false), startTLSUpstream(true), make(map[int][]byte)}, nil
}

func (u *upstreams) all() []*upstream { return []*upstream{u.plain, u.tls1, u.tls2} }

// serve makes every upstream answer Get with so many bytes.
func (u *upstreams) serve(size int) error {
	body, ok := u.bodies[size]
	if !ok {
		var err error
		if body, err = sized(size); err != nil {
			return fmt.Errorf("an answer of %d bytes: %w", size, err)
		}
		u.bodies[size] = body
	}
	for _, one := range u.all() {
		one.serve(body)
	}
	return nil
}

func (u *upstreams) dials() (n int64) {
	for _, one := range u.all() {
		n += one.dials.Load()
	}
	return n
}
