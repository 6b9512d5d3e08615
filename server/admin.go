package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/reload"
)

// adminDoor answers about this process only: an upstream that is down must not take every replica out of rotation. Whether
// the process lives and is ready it tells everybody, since a kubelet has no credentials; the rest wants a token, if there
// are tokens.
func (s *server) adminDoor(cfg *config.Serve, level zap.AtomicLevel) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			http.Error(w, "not serving", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	tokens, err := s.openTokens(cfg)
	if err != nil {
		return nil, err
	}
	mux.Handle("GET /metrics", tokens.ask(s.observer.Metrics()))
	mux.Handle("GET /log-level", tokens.ask(level))
	mux.Handle("PUT /log-level", tokens.ask(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before := level.Level()
		level.ServeHTTP(w, r)
		if now := level.Level(); now != before {
			s.log.Warn("the log level was changed", zap.Stringer("from", before), zap.Stringer("to", now))
		}
	})))
	return mux, nil
}

// tokens are the hashes of those that the admin door accepts. Nil asks for none.
type tokens struct {
	hashes atomic.Pointer[[][sha256.Size]byte]
}

// openTokens reads the tokens and follows their file.
func (s *server) openTokens(cfg *config.Serve) (*tokens, error) {
	if cfg.AdminTokenFile == "" {
		return nil, nil //nolint:nilnil // nil is no tokens
	}
	t := &tokens{}
	watcher, err := reload.New(cfg.ReloadInterval, []string{cfg.AdminTokenFile}, func(contents [][]byte) error {
		given, err := config.AdminTokens(contents[0])
		if err != nil {
			return err
		}
		hashes := make([][sha256.Size]byte, len(given))
		for i, token := range given {
			hashes[i] = sha256.Sum256(token)
		}
		t.hashes.Store(&hashes)
		return nil
	}, func(err error) { s.observer.NotReloaded("admin_token", err) })
	if err != nil {
		return nil, usageError{fmt.Errorf("--admin-token-file: %w", err)}
	}
	s.watchers = append(s.watchers, watcher.Run)
	return t, nil
}

// ask lets requests through that bear one of the tokens.
func (t *tokens) ask(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		hash, found := sha256.Sum256([]byte(token)), 0
		for _, known := range *t.hashes.Load() { // all of them, so that the time tells nothing
			found |= subtle.ConstantTimeCompare(hash[:], known[:])
		}
		if found == 0 || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="recoverycodes admin"`)
			http.Error(w, "a bearer token is wanted", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
