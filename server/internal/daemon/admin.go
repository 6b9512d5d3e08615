package daemon

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"recoverycodes.internal/gen"
	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/pages"
	"recoverycodes.internal/server/internal/reload"
	"recoverycodes.internal/server/internal/sandbox"
)

// adminDoor answers about this process only: an upstream that is down must not take every replica out of rotation. Whether
// the process lives and is ready it tells everybody, since a kubelet has no credentials; the rest wants a token, if there
// are tokens. With a sandbox, the pages can call rest.
func (s *server) adminDoor(cfg *config.Serve, level zap.AtomicLevel, rest http.Handler) (http.Handler, error) {
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
	shown, err := s.openPages(cfg, rest)
	if err != nil {
		return nil, err
	}
	for _, pattern := range []string{"GET /{$}", "GET /docs", "/docs/"} {
		mux.Handle(pattern, tokens.ask(s.reported(shown)))
	}
	mux.Handle("GET /metrics", tokens.ask(s.reported(s.observer.Metrics())))
	mux.Handle("GET /log-level", tokens.ask(level))
	mux.Handle("PUT /log-level", tokens.ask(s.reported(setLevel(level, s.log))))
	// A page of another site must not have a browser change anything here, with whatever the browser knows.
	return apart(http.NewCrossOriginProtection().Handler(mux)), nil
}

// reportLimit bounds how long an answer waits for the reports of calls. They take microseconds.
const reportLimit = 100 * time.Millisecond

// reported has calls that were answered before a request be counted by then, and logged at the level of before.
func (s *server) reported(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		within(r.Context(), reportLimit, s.calls.Reported)
		next.ServeHTTP(w, r)
	})
}

// apart has a browser keep every answer, refusals included, from pages of other sites and from its own disk, and take
// none for more than it says it is. The pages have a looser policy of their own, by which they load their parts.
func apart(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// openPages makes the pages, and has their history kept while the server runs.
func (s *server) openPages(cfg *config.Serve, rest http.Handler) (http.Handler, error) {
	options := pages.Options{
		Metrics: s.observer.Gatherer(), Unsettled: s.observer.Unsettled, OpenAPI: gen.OpenAPI,
	}
	if cfg.Sandbox {
		options.Upstream, options.Try = "the sandbox", rest
		if cfg.SandboxSeed == nil {
			options.Examples = map[string]string{
				"organization_id": sandbox.OrganizationSlug, "member_id": sandbox.MemberID, "recovery_code": sandbox.RecoveryCodes()[0],
			}
		}
	} else {
		options.Upstream = cfg.BaseURL.Host
	}
	shown, err := pages.New(options)
	if err != nil {
		return nil, err
	}
	s.watchers = append(s.watchers, shown.Run)
	return shown, nil
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
		return nil, UsageError{Err: fmt.Errorf("--admin-token-file: %w", err)}
	}
	s.watchers = append(s.watchers, watcher.Run)
	return t, nil
}

// ask lets requests through that bear one of the tokens: as programs do, or as the password that a browser asks for. When
// there are no tokens, it lets through what names this machine as a person at it does: under a name of its own, a page of
// another site could have a browser ask and read the answer.
func (t *tokens) ask(next http.Handler) http.Handler {
	if t == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !namesThisMachine(r.Host) {
				http.Error(w, "ask for localhost or an address", http.StatusMisdirectedRequest)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if _, password, ok := r.BasicAuth(); ok {
			scheme, token = "Bearer", password
		}
		hash, found := sha256.Sum256([]byte(token)), 0
		for _, known := range *t.hashes.Load() { // all of them, so that the time tells nothing
			found |= subtle.ConstantTimeCompare(hash[:], known[:])
		}
		if found == 0 || !strings.EqualFold(scheme, "Bearer") {
			for _, scheme := range []string{"Bearer", "Basic"} {
				w.Header().Add("WWW-Authenticate", scheme+` realm="recoverycodes admin"`)
			}
			http.Error(w, "a token is wanted, as bearer token or as password", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// namesThisMachine reports whether a Host header has an address, or localhost, which no name server speaks for.
func namesThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || host == "" || strings.EqualFold(host, "localhost")
}
