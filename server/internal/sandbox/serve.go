package sandbox

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of the server. They keep a forgotten client from holding a
// connection for ever; no fault needs more.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
)

// Serve answers on l until ctx ends, then closes l and every connection and
// waits until all that it started has ended. It takes l over in any case. The
// end of ctx is not an error: Serve then returns nil.
func (s *Sandbox) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var open connections
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          log.New(io.Discard, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         open.observe,
	}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	err := server.Serve(l)
	stopped()
	ended := ctx.Err() != nil
	cancel()
	_ = server.Close()
	open.Wait()
	if ended && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// connections counts the connections whose goroutine has not ended:
// http.Server.Close does not wait for them.
type connections struct{ sync.WaitGroup }

func (c *connections) observe(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.Add(1)
	case http.StateClosed, http.StateHijacked:
		c.Done()
	default:
	}
}
