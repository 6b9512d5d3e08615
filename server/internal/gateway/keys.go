package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/interceptor"
	"recoverycodes.internal/server/internal/telemetry"
)

// pathKeys is where Stytch publishes the keys by which a project's session JWTs are checked; the project's id follows.
// Its SDKs fetch them without credentials, one of them before it makes any call.
const pathKeys = "/v1/b2b/sessions/jwks/"

// methodKeys is what such requests are called in logs and metrics. They are no RPC.
const methodKeys = "/jwks"

const (
	// keysFresh is how long keys are given out without asking again, and how long callers may keep them after that: in
	// all less than the quarter of an hour that Stytch itself is known to allow. keysUsable is how long they are given
	// out while asking fails. A key that Stytch withdraws is believed in for as long.
	keysFresh  = 5 * time.Minute
	keysUsable = time.Hour

	// keysPause is how long nothing is asked after a failure: those who ask here show no credential, and must not be
	// able to make this server ask as often as they like.
	keysPause = 10 * time.Second

	// keysTimeout bounds one fetch, and keysMax what it may bring. Real answers have some kilobytes.
	keysTimeout = 10 * time.Second
	keysMax     = 64 << 10
)

// keepFresh is told with keys that are not old. SDKs go by it.
var keepFresh = "public, max-age=" + strconv.Itoa(int(keysFresh.Seconds()))

// Fetched is what came of asking the upstream for session keys. Without a Status no answer came, and Fault says why.
type Fetched struct {
	Status int
	Body   []byte
	Fault  string
}

// SessionKeys returns a handler that answers for the session keys of the project, and leaves all other paths to next. It
// asks nobody who they are. calls reports the requests. fetch gets the keys from the upstream; it is called by one goroutine at
// a time.
func SessionKeys(next http.Handler, calls *interceptor.InFlight, observer *telemetry.Observer, projectID string, fetch func(context.Context) Fetched) http.Handler {
	return &keys{ends: ends{calls, observer}, next: next, projectID: projectID, fetch: fetch, now: time.Now, turn: make(chan struct{}, 1)}
}

type keys struct {
	ends
	next      http.Handler
	projectID string
	fetch     func(context.Context) Fetched
	now       func() time.Time

	turn chan struct{} // held by who fetches

	mu              sync.Mutex
	body            []byte // what was fetched last; nil when nothing was
	fetched, failed time.Time
}

// ServeHTTP implements http.Handler.
func (k *keys) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	project, ok := strings.CutPrefix(r.URL.Path, pathKeys)
	if !ok {
		k.next.ServeHTTP(w, r)
		return
	}
	k.observed(w, r, pathKeys+"{project_id}", func(ctx context.Context, v *visit) {
		v.record.Method = methodKeys
		switch {
		case project != k.projectID:
			v.fail(w, &apierror.Error{
				Code: codes.NotFound, Reason: apierror.RouteNotFound, Message: "the session keys of this project are not served here",
			})
			return
		case r.Method != http.MethodGet:
			v.fail(w, wrongMethod(w, http.MethodGet))
			return
		}
		body := k.current(ctx, v.record)
		if body == nil {
			v.fail(w, &apierror.Error{
				Code: codes.Unavailable, HTTP: http.StatusBadGateway, Reason: apierror.UpstreamFailed,
				Message: "the session keys could not be fetched", RetryAfter: keysPause,
			})
			return
		}
		if k.younger(keysFresh) != nil {
			w.Header().Set("Cache-Control", keepFresh)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) //nolint:gosec // G705: JSON, as its type says; and a caller that went away is told nothing
	})
}

// current returns the keys, fetched now if need be, or nil when there are none that may be given out.
func (k *keys) current(ctx context.Context, record *call.Call) []byte {
	if body := k.younger(keysFresh); body != nil {
		return body
	}
	select {
	case k.turn <- struct{}{}:
	default: // somebody is fetching them
		if body := k.younger(keysUsable); body != nil {
			return body
		}
		select {
		case k.turn <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
	}
	defer func() { <-k.turn }()
	if body := k.younger(keysFresh); body != nil {
		return body
	}
	if k.paused() {
		record.Outcome = call.Failed
		return k.younger(keysUsable)
	}
	// Others may be waiting for what this caller is about to fetch.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTimeout)
	defer cancel()
	start := time.Now()
	got := k.fetch(ctx)
	record.UpstreamTime, record.UpstreamStatus, record.UpstreamFault = time.Since(start), got.Status, got.Fault
	if !k.keep(got) {
		record.Outcome = call.Failed
	}
	return k.younger(keysUsable)
}

// younger returns the keys if they were fetched not longer ago than age.
func (k *keys) younger(age time.Duration) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.body == nil || k.now().Sub(k.fetched) >= age {
		return nil
	}
	return k.body
}

func (k *keys) paused() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.failed.IsZero() && k.now().Sub(k.failed) < keysPause
}

// keep takes over what was fetched, if it is a list of keys, and reports whether it is.
func (k *keys) keep(got Fetched) bool {
	var list struct {
		Keys []json.RawMessage `json:"keys"`
	}
	good := got.Status == http.StatusOK && len(got.Body) <= keysMax && json.Unmarshal(got.Body, &list) == nil && list.Keys != nil
	k.mu.Lock()
	defer k.mu.Unlock()
	if !good {
		k.failed = k.now()
		return false
	}
	k.body, k.fetched, k.failed = got.Body, k.now(), time.Time{}
	return true
}
