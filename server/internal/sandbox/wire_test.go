package sandbox_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"recoverycodes.internal/server/internal/sandbox"
)

// patience bounds every wait for something that must come.
const patience = time.Minute

// seen is what a client that knows only frames and bytes saw of an exchange.
type seen struct {
	ended  string // "answer", or how else the exchange ended
	status int
	header http.Header
	body   []byte
}

// dial opens a connection and negotiates the protocol if there is TLS.
func (p *peer) dial(protocol string) net.Conn {
	p.t.Helper()
	conn, err := net.DialTimeout("tcp", p.addr, patience)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.trusted != nil {
		encrypted := tls.Client(conn, &tls.Config{RootCAs: p.trusted, ServerName: p.serverName, NextProtos: []string{protocol}})
		if err := encrypted.Handshake(); err != nil {
			p.t.Fatal(err)
		}
		if got := encrypted.ConnectionState().NegotiatedProtocol; got != protocol {
			p.t.Fatalf("negotiated %q, want %q", got, protocol)
		}
		conn = encrypted
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// overHTTP1 sends a request and reads all that comes back.
func (p *peer) overHTTP1(r *http.Request) seen {
	p.t.Helper()
	conn := p.dial("http/1.1")
	if err := r.Write(conn); err != nil {
		p.t.Fatal(err)
	}
	return readHTTP1(p.t, bufio.NewReader(conn), r)
}

func readHTTP1(t *testing.T, from *bufio.Reader, r *http.Request) seen {
	t.Helper()
	if _, err := from.Peek(1); err != nil {
		switch {
		case errors.Is(err, syscall.ECONNRESET):
			return seen{ended: "TCP reset"}
		case errors.Is(err, io.EOF):
			return seen{ended: "closed"}
		}
		t.Fatal(err)
	}
	response, err := http.ReadResponse(from, r)
	if err != nil {
		t.Fatal(err)
	}
	s := seen{ended: "answer", status: response.StatusCode, header: response.Header}
	s.body, err = io.ReadAll(response.Body)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		s.ended = "cut short"
	case err != nil:
		t.Fatal(err)
	}
	return s
}

// h2Client speaks HTTP/2 frame by frame.
type h2Client struct {
	t       *testing.T
	conn    net.Conn
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func (p *peer) h2(settings ...http2.Setting) *h2Client {
	p.t.Helper()
	c := &h2Client{t: p.t, conn: p.dial("h2")}
	c.framer = http2.NewFramer(c.conn, c.conn)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	_, err := io.WriteString(c.conn, http2.ClientPreface)
	c.must(err)
	c.must(c.framer.WriteSettings(settings...))
	c.must(c.framer.WriteWindowUpdate(0, 1<<30))
	return c
}

func (c *h2Client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *h2Client) send(id uint32, r *http.Request) {
	c.t.Helper()
	body, err := io.ReadAll(r.Body)
	c.must(err)
	c.block.Reset()
	fields := []string{":method", r.Method, ":scheme", "https", ":authority", r.URL.Host, ":path", r.URL.RequestURI(), "content-length", strconv.Itoa(len(body))}
	for name := range r.Header {
		fields = append(fields, strings.ToLower(name), r.Header.Get(name))
	}
	for i := 0; i < len(fields); i += 2 {
		c.must(c.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	c.must(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: len(body) == 0}))
	if len(body) > 0 {
		c.must(c.framer.WriteData(id, true, body))
	}
}

// receive reads until the stream has ended, one way or another.
func (c *h2Client) receive(id uint32) seen {
	c.t.Helper()
	s := seen{header: http.Header{}}
	for {
		frame, err := c.framer.ReadFrame()
		c.must(err)
		if f, ok := frame.(*http2.GoAwayFrame); ok {
			_, err := c.framer.ReadFrame()
			if !errors.Is(err, io.EOF) {
				c.t.Errorf("after GOAWAY came %v, want the end of the connection", err)
			}
			s.ended = "GOAWAY " + strconv.Itoa(int(f.LastStreamID)) + " " + f.ErrCode.String()
			return s
		}
		if frame.Header().StreamID != id {
			continue
		}
		ended := false
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			s.status, _ = strconv.Atoi(f.PseudoValue("status"))
			for _, field := range f.RegularFields() {
				s.header.Add(field.Name, field.Value)
			}
			ended = f.StreamEnded()
		case *http2.DataFrame:
			s.body = append(s.body, f.Data()...)
			ended = f.StreamEnded()
			if len(f.Data()) > 0 && !ended {
				c.must(c.framer.WriteWindowUpdate(id, uint32(len(f.Data()))))
			}
		case *http2.RSTStreamFrame:
			s.ended = f.ErrCode.String()
			return s
		}
		if ended {
			s.ended = "answer"
			if want := s.header.Get("Content-Length"); want != "" && want != strconv.Itoa(len(s.body)) {
				s.ended = "cut short"
			}
			return s
		}
	}
}

func (p *peer) overHTTP2(r *http.Request) seen {
	p.t.Helper()
	c := p.h2()
	c.send(1, r)
	return c.receive(1)
}

func newReader(conn net.Conn) *bufio.Reader { return bufio.NewReader(conn) }

// wantSilence checks that nothing is received, and that the connection stays.
func wantSilence(t *testing.T, conn net.Conn, lasting time.Duration, receive func() error) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(lasting)); err != nil {
		t.Fatal(err)
	}
	if err := receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is not silent: %v", err)
	}
}

// foreign serves a sandbox by its Handler, in a server of net/http.
func foreign(t *testing.T) *peer {
	t.Helper()
	s, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s.Handler())
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	return &peer{sandbox: s, t: t, addr: server.Listener.Addr().String(), url: server.URL, trusted: trusted, serverName: "example.com", http: server.Client()}
}

func leaf(t *testing.T, encoded []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(encoded)
	if block == nil {
		t.Fatal("not PEM")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// about makes a request of the operation about a member of the default seed.
func (p *peer) about(operation, memberID string) *http.Request {
	p.t.Helper()
	ids := `{"organization_id":"` + sandbox.OrganizationID + `","member_id":"` + memberID + `"`
	switch operation {
	case "get":
		return p.request("GET", "/v1/b2b/recovery_codes/"+sandbox.OrganizationID+"/"+memberID, "")
	case "rotate":
		return p.request("POST", rotatePath, ids+"}")
	default:
		return p.request("POST", recoverPath, ids+`,"recovery_code":"`+sandbox.RecoveryCodes()[0]+`"}`)
	}
}
