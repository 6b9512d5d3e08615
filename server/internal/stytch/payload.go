package stytch

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
)

// payload is the body of a request that has an effect. It decides one question without a race: may the body have
// left? The transport's first Read moves it from armed to blown; whoever seals it first makes that Read fail, so
// that the body never leaves. One of the two wins, and afterwards the answer does not change.
//
// Hooks that observe writing (httptrace) cannot veto, and under HTTP/2 they report "not written" for bodies that went.
type payload struct {
	state atomic.Int32
	body  *bytes.Reader
}

const (
	armed int32 = iota
	blown
	sealed
)

var errSealed = errors.New("stytch: request was given up before it was sent")

func newPayload(body []byte) *payload {
	return &payload{body: bytes.NewReader(body)}
}

// Read implements io.Reader for the transport.
func (p *payload) Read(b []byte) (int, error) {
	if !p.state.CompareAndSwap(armed, blown) && p.state.Load() == sealed {
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
