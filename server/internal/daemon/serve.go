package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"recoverycodes.internal/server/internal/batching"
	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/sandbox"
	"recoverycodes.internal/server/internal/stytch"
	"recoverycodes.internal/server/internal/telemetry"
	"recoverycodes.internal/server/internal/wiped"
)

// maxAnswer bounds an upstream answer. It is above what a gRPC client accepts (4 MB), so that the transcoder, which
// knows what can be left out, decides what to do with a large one.
const maxAnswer = 8 << 20

// Serve runs the server until ctx ends or one of its parts fails, then takes it down in order and returns when all of it
// has ended. A ctx whose cause is ErrInterrupted ends it without the delay.
func Serve(ctx context.Context, cfg *config.Serve, o Options) error {
	log, err := telemetry.NewLog(o.Stderr, formatFor(cfg.LogFormat, o.Stderr), cfg.LogLevel)
	if err != nil {
		return UsageError{Err: err}
	}
	defer log.End()
	parts, partsFailed := errgroup.WithContext(context.WithoutCancel(ctx))

	upstream := stytch.Config{
		BaseURL: cfg.BaseURL, ProjectID: cfg.ProjectID, Secret: cfg.Secret,
		RootCAs:        cfg.RootCAs,
		UserAgent:      "recoverycodesd/" + Version(),
		ConnectTimeout: cfg.ConnectTimeout, HeaderTimeout: cfg.HeaderTimeout, Timeout: cfg.UpstreamTimeout,
		MaxAnswerBytes: maxAnswer, Buffer: wiped.Get, Conn: batching.Conn,
	}
	// The sandbox goes last, after every call to it has ended.
	endSandbox := func() {}
	if cfg.Sandbox {
		at := o.Sandbox
		if at == nil {
			if at, endSandbox, err = startSandbox(parts, cfg.SandboxSeed); err != nil {
				return err
			}
		}
		upstream.BaseURL = &url.URL{Scheme: "http", Host: at.String()}
		upstream.ProjectID, upstream.Secret = sandbox.ProjectID, sandbox.Secret
		log.Info("an emulated Stytch answers; nothing leaves this machine")
	}
	if cfg.AllowAnyCaller {
		log.Warn("ANY CALLER who reaches the ports may recover and rotate codes (--insecure-allow-any-caller)")
	}

	s, err := build(cfg, upstream, o.Stdout, log)
	if err != nil {
		endSandbox()
		return errors.Join(err, parts.Wait())
	}
	s.start(parts)
	log.Info("serving",
		zap.Stringer("grpc", s.grpcListener.Addr()),
		zap.Stringer("http", s.httpListener.Addr()),
		zap.Stringer("admin", s.adminListener.Addr()),
		zap.String("version", Version()))
	if o.Serving != nil {
		o.Serving(Addresses{GRPC: s.grpcListener.Addr(), HTTP: s.httpListener.Addr(), Admin: s.adminListener.Addr()})
	}

	delay := cfg.DrainDelay
	select {
	case <-ctx.Done():
		log.Info("stopping")
		if errors.Is(context.Cause(ctx), ErrInterrupted) {
			delay = 0 // whoever sits at the terminal has no balancer to wait for
		}
	case <-partsFailed.Done():
		log.Error("a part of the server failed; stopping")
	}
	s.leave(partsFailed, delay)
	s.stop(context.WithoutCancel(ctx), cfg.DrainTimeout, cfg.UpstreamTimeout)
	endSandbox()
	err = parts.Wait()
	log.Info("stopped")
	return err
}

// startSandbox runs the emulated Stytch on a port of its own until end is called.
func startSandbox(parts *errgroup.Group, seed []byte) (at net.Addr, end func(), err error) {
	emulated, err := newSandbox("--sandbox-seed", seed, sandbox.Options{})
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a loopback listener binds at once
	if err != nil {
		return nil, nil, fmt.Errorf("sandbox: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	parts.Go(func() error { return emulated.Serve(ctx, listener) })
	return listener.Addr(), end, nil
}

// newSandbox reads the seed, which came by the named setting, and makes the sandbox.
func newSandbox(setting string, seed []byte, options sandbox.Options) (*sandbox.Sandbox, error) {
	if seed != nil {
		read, err := sandbox.ReadSeed(bytes.NewReader(seed))
		if err != nil {
			return nil, UsageError{Err: fmt.Errorf("%s: %w", setting, err)}
		}
		options.Seed = read
	}
	emulated, err := sandbox.New(options)
	if err != nil {
		return nil, UsageError{Err: fmt.Errorf("%s: %w", setting, err)}
	}
	return emulated, nil
}

// ServeSandbox runs the emulated Stytch alone until ctx ends, and tells stderr where and how it can be called.
func ServeSandbox(ctx context.Context, cfg *config.Sandbox, stderr io.Writer) error {
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return UsageError{Err: fmt.Errorf("--listen: %w", err)}
	}
	options := sandbox.Options{TLS: cfg.TLS}
	if host != "" {
		options.Hosts = []string{host}
	}
	emulated, err := newSandbox("--seed", cfg.Seed, options)
	if err != nil {
		return err
	}
	if cfg.CertificateFile != "" {
		if err := os.WriteFile(cfg.CertificateFile, emulated.CertificatePEM(), 0o644); err != nil { //nolint:gosec // a certificate is public
			return fmt.Errorf("--certificate-file: %w", err)
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	scheme := "http"
	if cfg.TLS {
		scheme = "https"
	}
	if _, err := fmt.Fprintf(stderr, "an emulated Stytch answers at %s://%s\nproject id  %s\nsecret      %s\n",
		scheme, listener.Addr(), sandbox.ProjectID, sandbox.Secret); err != nil {
		return errors.Join(err, listener.Close())
	}
	return emulated.Serve(ctx, listener)
}

// ended is the end of a server's Serve: being shut down is how it is meant to end.
func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}
