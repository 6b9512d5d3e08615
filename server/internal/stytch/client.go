// Package stytch is a client of the three recovery-code operations of Stytch's B2B REST API. For each call it
// reports what was sent and what came back; it interprets neither.
//
// It knows HTTP and Stytch's paths, credentials and limits. It knows no gRPC, no status code and no protobuf, and
// imports nothing of this project. It never repeats Recover or Rotate, and never lets the transport do so.
package stytch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Config is what a Client needs to know. BaseURL, ProjectID and Secret are required, and so are the time limits.
type Config struct {
	BaseURL   *url.URL // scheme and host; a path is kept as a prefix
	ProjectID string
	Secret    string
	UserAgent string

	ConnectTimeout time.Duration // for a connection, and again for its TLS handshake
	HeaderTimeout  time.Duration // from the request's last byte to the response's header
	Timeout        time.Duration // for the whole exchange; Stytch's own limit is 30 s

	// MaxAnswerBytes bounds the body of a response.
	MaxAnswerBytes int64

	// Buffer returns the n bytes that the body of a response is read into, if its length is known. It may be nil.
	Buffer func(n int) []byte

	// Conn returns what stands for a connection to a base URL of scheme http. It may be nil. What is below TLS is not asked:
	// HTTP/2 writes to it while it holds a lock that every other request wants.
	Conn func(net.Conn) net.Conn

	// OnRequest is told of each request before it is made. It gets no header of it to change, and of its path the template.
	// What it returns is called with what came back; both may be nil.
	OnRequest func(ctx context.Context, method, route string) (ended func(Exchange))

	// RootCAs replaces the system's roots when not nil.
	RootCAs *x509.CertPool
}

const (
	pathPrefix = "/v1/b2b/recovery_codes/"

	// maxIdle is the number of idle connections kept. Go's default of two makes a loaded client dial for most calls.
	maxIdle = 512

	// readsIdle is below what common load balancers allow an idle connection (60 s), so that this side closes first.
	readsIdle = 45 * time.Second

	// effectsIdle is short because a connection that has been idle may be dead without either side knowing. A Get on
	// a dead connection is repeated by the transport; a Recover that dies there has an outcome nobody knows.
	effectsIdle = 3 * time.Second

	// An HTTP/2 connection on which nothing arrives is pinged after the first time and given up after the second. For
	// effects this is quick, for the same reason.
	readsPing, effectsPing = 15 * time.Second, effectsIdle
	pingTimeout            = 2 * time.Second
)

// Client calls Stytch. It is safe for concurrent use.
type Client struct {
	cfg  Config
	base string // of every path, escaped
	// header is Stytch's own headers and no other. It is shared by all requests, which a transport must not change.
	header atomic.Pointer[http.Header]

	// Get and the two operations with an effect do not share connections: see effectsIdle.
	reads, effects *http.Transport
}

// New returns a client. It opens no connection.
func New(cfg Config) (*Client, error) {
	switch {
	case cfg.BaseURL == nil || cfg.BaseURL.Host == "":
		return nil, errors.New("stytch: base URL has no host")
	case cfg.BaseURL.Scheme != "https" && cfg.BaseURL.Scheme != "http":
		return nil, fmt.Errorf("stytch: base URL has scheme %q, want https", cfg.BaseURL.Scheme)
	case cfg.ProjectID == "" || cfg.Secret == "":
		return nil, errors.New("stytch: project id and secret are required")
	case cfg.ConnectTimeout <= 0 || cfg.HeaderTimeout <= 0 || cfg.Timeout <= 0 || cfg.MaxAnswerBytes <= 0:
		return nil, errors.New("stytch: every limit must be positive")
	}
	if cfg.Buffer == nil {
		cfg.Buffer = func(n int) []byte { return make([]byte, n) }
	}
	c := &Client{
		cfg:     cfg,
		base:    strings.TrimSuffix(cfg.BaseURL.EscapedPath(), "/"),
		reads:   newTransport(cfg, readsIdle, readsPing),
		effects: newTransport(cfg, effectsIdle, effectsPing),
	}
	c.SetSecret(cfg.Secret)
	return c, nil
}

// SetSecret exchanges the project's secret, for the requests that follow. It must not be empty.
func (c *Client) SetSecret(secret string) {
	c.header.Store(&http.Header{
		"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(c.cfg.ProjectID+":"+secret))},
		"Content-Type":  {"application/json"}, // bare: Stytch is said to refuse a charset; its SDKs send it on GET too
		"User-Agent":    {c.cfg.UserAgent},
	})
}

func newTransport(cfg Config, idle, ping time.Duration) *http.Transport {
	if cfg.HeaderTimeout >= cfg.Timeout {
		cfg.HeaderTimeout = 0 // the limit of the whole exchange ends it no later, without another timer for each
	}
	return &http.Transport{
		// No proxy from the environment: only main reads the environment, and the way of the secret is a setting.
		Proxy:                  nil,
		DialContext:            cfg.dial(),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs},
		TLSHandshakeTimeout:    cfg.ConnectTimeout,
		ResponseHeaderTimeout:  cfg.HeaderTimeout,
		ForceAttemptHTTP2:      true, // by ALPN; an own TLSClientConfig would turn it off
		DisableCompression:     true, // no Accept-Encoding: only Stytch's own headers are sent
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         16 << 10, // a usual answer of 5 KB in one read
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: ping, PingTimeout: pingTimeout},
	}
}

func (cfg *Config) dial() func(ctx context.Context, network, address string) (net.Conn, error) {
	dial := (&net.Dialer{Timeout: cfg.ConnectTimeout}).DialContext
	if cfg.Conn == nil || cfg.BaseURL.Scheme != "http" {
		return dial
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return cfg.Conn(conn), nil
	}
}

// Close drops idle connections. Calls under way go on.
func (c *Client) Close() {
	c.reads.CloseIdleConnections()
	c.effects.CloseIdleConnections()
}

// Get asks for the active recovery codes of a member. It has no effect, and is given up when ctx ends.
func (c *Client) Get(ctx context.Context, organizationID, memberID string) Exchange {
	organization, ok1 := segment(organizationID)
	member, ok2 := segment(memberID)
	if !ok1 || !ok2 {
		return Exchange{Fault: FaultBadID}
	}
	bounded, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	req := c.request(httptrace.WithClientTrace(bounded, trace), http.MethodGet, organization+"/"+member)
	x := c.exchange(c.reads, req, pathPrefix+"{organization_id}/{member_id}")
	x.Sent = sent.Load()
	x.blame(ctx)
	return x
}

// RecoverParams is the body of Recover. Pointers and RawMessage that are nil are left out.
type RecoverParams struct {
	OrganizationID           string  `json:"organization_id"`
	MemberID                 string  `json:"member_id"`
	RecoveryCode             string  `json:"recovery_code"`
	IntermediateSessionToken *string `json:"intermediate_session_token,omitempty"`
	SessionToken             *string `json:"session_token,omitempty"`
	SessionJWT               *string `json:"session_jwt,omitempty"`
	SessionDurationMinutes   *int32  `json:"session_duration_minutes,omitempty"`
	// SessionCustomClaims is a JSON object; a null in it deletes a claim, so it is passed on as it is.
	SessionCustomClaims json.RawMessage `json:"session_custom_claims,omitempty"`
	TelemetryID         *string         `json:"telemetry_id,omitempty"`
}

// Recover spends a recovery code and mints or extends a session.
//
// Until the body is asked for, the end of ctx gives the call up. From then on it is finished whatever becomes of
// ctx, within Config.Timeout: an effect whose answer nobody reads is the worst of the outcomes.
//
// announce is called once, when the body is about to leave and from another goroutine; when it fails, nothing leaves.
// It must not block. It may be nil.
func (c *Client) Recover(ctx context.Context, params RecoverParams, announce func() error) Exchange {
	return c.effect(ctx, "recover", params, announce)
}

// Rotate voids every recovery code of a member and mints new ones. ctx and announce are treated as in Recover.
func (c *Client) Rotate(ctx context.Context, organizationID, memberID string, announce func() error) Exchange {
	return c.effect(ctx, "rotate", struct {
		OrganizationID string `json:"organization_id"`
		MemberID       string `json:"member_id"`
	}{organizationID, memberID}, announce)
}

func (c *Client) effect(ctx context.Context, operation string, params any, announce func() error) Exchange {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(params); err != nil {
		return Exchange{Fault: FaultOther}
	}
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Timeout)
	defer cancel()
	if ctx.Err() != nil { // AfterFunc would notice too, but perhaps after the body has been asked for
		x := Exchange{Fault: FaultCancelled}
		x.blame(ctx)
		return x
	}
	load := newPayload(body.Bytes(), announce)
	stop := context.AfterFunc(ctx, func() {
		if load.seal() {
			cancel()
		}
	})
	defer stop()

	req := c.request(detached, http.MethodPost, operation)
	// GetBody stays nil: with it HTTP/2 replays a body that the other side had read (REFUSED_STREAM).
	req.Body = load
	req.ContentLength = int64(body.Len())
	x := c.exchange(c.effects, req, pathPrefix+operation)
	// An answer may come before the body is asked for; whoever answers has heard of the request.
	x.Sent = !load.seal() || x.Status != 0
	if !x.Sent {
		x.blame(ctx)
	}
	return x
}

// request builds a request of one of the operations, with nothing but Stytch's own headers.
func (c *Client) request(ctx context.Context, method, escapedPath string) *http.Request {
	return c.requestTo(ctx, method, c.base+pathPrefix+escapedPath, *c.header.Load())
}

func (c *Client) requestTo(ctx context.Context, method, escapedPath string, header http.Header) *http.Request {
	u := *c.cfg.BaseURL
	u.Path, u.RawPath = escapedPath, ""
	u.RawQuery, u.Fragment = "", ""
	if u.EscapedPath() != escapedPath { // few are not the same with and without escapes
		u.RawPath = escapedPath
		// Its parts come out of PathEscape or are constants, so they unescape.
		u.Path, _ = url.PathUnescape(escapedPath)
	}
	return (&http.Request{Method: method, URL: &u, Host: u.Host, Header: header}).WithContext(ctx)
}

// exchange makes one request, without redirects and cookies: those are http.Client's, and there is none.
func (c *Client) exchange(transport *http.Transport, req *http.Request, route string) (x Exchange) {
	if c.cfg.OnRequest != nil {
		if ended := c.cfg.OnRequest(req.Context(), req.Method, route); ended != nil {
			defer func() { ended(x) }()
		}
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return Exchange{Fault: faultOf(err)}
	}
	defer func() { _ = resp.Body.Close() }()
	x = Exchange{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header, time.Now)}
	x.Body, x.Fault = c.read(resp)
	return x
}

func (c *Client) read(resp *http.Response) ([]byte, Fault) {
	if resp.ContentLength > c.cfg.MaxAnswerBytes {
		return nil, FaultTooLarge
	}
	if resp.ContentLength >= 0 { // nearly always, and then no more memory is needed than for it
		body := c.cfg.Buffer(int(resp.ContentLength) + 1) // one more, to read up to the end: what is left unread costs the connection
		n, err := io.ReadFull(resp.Body, body)
		if int64(n) != resp.ContentLength {
			return nil, faultOf(err)
		}
		return body[:n], ""
	}
	var body bytes.Buffer
	n, err := body.ReadFrom(io.LimitReader(resp.Body, c.cfg.MaxAnswerBytes+1))
	switch {
	case err != nil:
		return nil, faultOf(err)
	case n > c.cfg.MaxAnswerBytes:
		return nil, FaultTooLarge
	}
	return body.Bytes(), ""
}

// blame tells the end of the caller's context from this client's own limits.
func (x *Exchange) blame(ctx context.Context) {
	if x.Fault == "" || x.Fault == FaultTooLarge {
		return
	}
	switch ctx.Err() {
	case context.Canceled:
		x.Fault = FaultCancelled
	case context.DeadlineExceeded:
		x.Fault = FaultDeadline
	}
}

// segment escapes an id so that it is exactly one segment of a path, and refuses those for which no escaping helps.
func segment(id string) (string, bool) {
	if id == "" || id == "." || id == ".." {
		return "", false
	}
	return url.PathEscape(id), true
}

func faultOf(err error) Fault {
	var (
		timeout     interface{ Timeout() bool }
		resolve     *net.DNSError
		op          *net.OpError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	switch {
	case errors.As(err, &certificate), errors.As(err, &record), errors.As(err, &alert):
		return FaultTLS
	case errors.As(err, &resolve):
		return FaultResolve
	case errors.Is(err, context.Canceled), errors.Is(err, errSealed):
		return FaultCancelled
	case errors.As(err, &timeout) && timeout.Timeout():
		return FaultTimeout
	case errors.As(err, &op) && op.Op == "dial":
		return FaultConnect
	case errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return FaultReset
	default:
		return FaultOther
	}
}
