package sandbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of the servers. They keep a forgotten client from holding a
// connection for ever; no fault needs more.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
)

// Serve answers on l until ctx ends, then closes l and every connection and
// waits until all that it started has ended. It takes l over in any case. The
// end of ctx is not an error: Serve then returns nil.
//
// Beside l it listens on a port of its own choice at the same address, where
// the fault "redirect" points.
func (s *Sandbox) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	target, err := listenBeside(ctx, l)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, err = withRedirectListener(ctx, target, s.certificate != nil)
	if err != nil {
		return errors.Join(err, l.Close(), target.Close())
	}

	var open connections
	api := s.server(ctx, s.Handler(), &open)
	api.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) { serveH2(ctx, conn, api.Handler) },
	}
	redirected := s.server(ctx, http.HandlerFunc(s.recordRedirected), &open)

	var serving sync.WaitGroup
	failed := make(chan error, 2)
	serving.Go(func() { failed <- s.serveOn(api, l) })
	serving.Go(func() { failed <- s.serveOn(redirected, recordingListener{target, s}) })
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel()
	_, _ = api.Close(), redirected.Close()
	serving.Wait()
	open.Wait()
	return err
}

// listenBeside opens a listener on another port of the address of l.
func listenBeside(ctx context.Context, l net.Listener) (net.Listener, error) {
	host, _, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("the sandbox needs a TCP listener: %w", err)
	}
	var config net.ListenConfig
	beside, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listening for redirects: %w", err)
	}
	return beside, nil
}

func (s *Sandbox) server(ctx context.Context, handler http.Handler, open *connections) *http.Server {
	server := &http.Server{
		Handler:           open.count(handler),
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          log.New(io.Discard, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         open.observe,
	}
	if s.certificate != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*s.certificate}, MinVersion: tls.VersionTLS12}
	}
	return server
}

func (s *Sandbox) serveOn(server *http.Server, l net.Listener) error {
	if s.certificate != nil {
		return server.ServeTLS(l, "", "")
	}
	return server.Serve(l)
}

// connections counts what http.Server.Close does not wait for: connections
// whose goroutine has not ended, and handlers, which may have taken their
// connection over.
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

func (c *connections) count(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.Add(1)
		defer c.Done()
		handler.ServeHTTP(w, r)
	})
}
