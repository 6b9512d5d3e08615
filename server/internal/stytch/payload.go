package stytch

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
)

// payload is the body of a request that has an effect. It decides one question: may the body have left? The
// transport's first Read blows the fuse, armed to blown; whoever seals it first makes that Read fail, so that the body
// never leaves. What has been sealed stays sealed.
//
// Hooks that observe writing (httptrace) cannot veto, and under HTTP/2 they report "not written" for bodies that went.
type payload struct {
	state atomic.Int32
	body  *bytes.Reader

	// announce is called when the body is about to leave, and vetoes that by failing. It may be nil.
	announce func() error
}

const (
	armed int32 = iota
	blown
	sealed
)

var errSealed = errors.New("stytch: request was given up before it was sent")

func newPayload(body []byte, announce func() error) *payload {
	return &payload{body: bytes.NewReader(body), announce: announce}
}

// Read implements io.Reader for the transport. While the announcement is under way the body counts as one that may
// have left; a veto takes that back.
func (p *payload) Read(b []byte) (int, error) {
	if p.state.CompareAndSwap(armed, blown) && p.announce != nil && p.announce() != nil {
		p.state.Store(sealed)
	}
	if p.state.Load() == sealed {
		return 0, errSealed
	}
	return p.body.Read(b)
}

// Close implements io.Closer for the transport; there is nothing to release.
func (p *payload) Close() error { return nil }

// seal makes sure that a body which has not been asked for never leaves, and reports whether that holds.
func (p *payload) seal() bool {
	return p.state.CompareAndSwap(armed, sealed) || p.state.Load() == sealed
}

var _ io.ReadCloser = (*payload)(nil)
