package sandbox_test

import (
	"context"
	"net"
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
