package sandbox_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"recoverycodes.internal/server/internal/sandbox"
)

func TestServeEnds(t *testing.T) {
	s, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name, network, address string
		ctx                    context.Context
		closed                 bool
		wantError              bool
	}{
		{"before it began", "tcp", "127.0.0.1:0", ended, false, false},
		{"with its listener", "tcp", "127.0.0.1:0", t.Context(), true, true},
		{"without a port to redirect to", "unix", filepath.Join(t.TempDir(), "s"), t.Context(), false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen(c.network, c.address)
			if err != nil {
				t.Fatal(err)
			}
			if c.closed {
				_ = l.Close()
			}
			if err := s.Serve(c.ctx, l); (err != nil) != c.wantError {
				t.Errorf("Serve returned %v", err)
			}
			if conn, err := net.Dial(c.network, l.Addr().String()); err == nil {
				_ = conn.Close()
				t.Error("the listener is still open")
			}
		})
	}
}

// TestServeLetsGo: connections that are idle, swallowed or waiting do not hold
// up the end of Serve, and end with it.
func TestServeLetsGo(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		s, err := sandbox.New(sandbox.Options{TLS: encrypted})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p, served := serveUntil(ctx, t, s)

		silent := p.dial("http/1.1")
		swallowed := p.dial("http/1.1")
		r := p.about("get", fault+"idle-blackhole")
		if err := r.Write(swallowed); err != nil {
			t.Fatal(err)
		}
		usable(t, readHTTP1(t, newReader(swallowed), r), "get")
		open := []net.Conn{silent, swallowed}
		if encrypted {
			c := p.h2()
			c.send(1, p.about("get", fault+"slow-600000"))
			c.send(3, p.about("get", fault+"idle-blackhole"))
			usable(t, c.receive(3), "get")
			open = append(open, c.conn)
		}
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
		for i, conn := range open {
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("connection %d is still open", i)
			}
		}
	}
}
