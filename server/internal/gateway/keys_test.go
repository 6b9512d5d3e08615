package gateway

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/interceptor"
	"recoverycodes.internal/server/internal/telemetry"
)

const (
	keysOfProject = pathKeys + "project-test-1"
	someKeys      = `{"keys":[{"kid":"1"}],"status_code":200,"new":null}`
)

// An issuer is where keys are fetched, and counts how often.
type issuer struct {
	got     Fetched
	asked   atomic.Int32
	release chan struct{} // nil: it answers in a moment
	ctx     context.Context
}

func (i *issuer) fetch(ctx context.Context) Fetched {
	i.asked.Add(1)
	i.ctx = ctx
	time.Sleep(time.Millisecond)
	if i.release != nil {
		select {
		case <-i.release:
		case <-ctx.Done():
			return Fetched{Fault: "timeout"}
		}
	}
	return i.got
}

var (
	answered = Fetched{Status: http.StatusOK, Body: []byte(someKeys)}
	down     = Fetched{Fault: "connect"}
)

// openKeys returns the handler in front of a door that answers 418, and the log.
func openKeys(i *issuer) (*keys, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	teapot := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	return SessionKeys(teapot, new(interceptor.InFlight), telemetry.NewObserver(zap.New(core), nil), "project-test-1", i.fetch).(*keys), logs
}

func ask(h *keys, line string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(line, ""))
	h.calls.Wait(context.Background()) // for its line
	return w
}

// holds checks that an answer has the keys, to the byte.
func holds(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code != http.StatusOK || w.Body.String() != someKeys || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Request-Id") == "" {
		t.Errorf("status %d, %v, %s", w.Code, w.Header(), w.Body)
	}
}

// refused checks that an answer is a failed fetch.
func refused(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if body := fiveFields(t, w); w.Code != http.StatusBadGateway || body["error_type"] != "upstream_failed" || w.Header().Get("Retry-After") != "10" {
		t.Errorf("status %d, %v, %v", w.Code, w.Header(), body)
	}
}

// TestKeysAreKept follows one answer through its life: it is given out, asked for again, given out while the upstream
// fails, and then no longer.
func TestKeysAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{got: answered}
		h, logs := openKeys(i)
		asked := func(want int32) {
			t.Helper()
			if got := i.asked.Load(); got != want {
				t.Errorf("asked %d times, want %d", got, want)
			}
		}
		for range 3 {
			w := ask(h, "GET "+keysOfProject)
			holds(t, w)
			if got := w.Header().Get("Cache-Control"); got != "public, max-age=300" {
				t.Errorf("Cache-Control %q", got)
			}
		}
		time.Sleep(keysFresh - time.Second)
		holds(t, ask(h, "GET "+keysOfProject+"?project_id=x"))
		asked(1)
		time.Sleep(time.Second)
		holds(t, ask(h, "GET "+keysOfProject))
		asked(2)

		i.got = down
		time.Sleep(keysFresh)
		for range 3 { // one failure, and then none for a while
			holds(t, ask(h, "GET "+keysOfProject))
		}
		asked(3)
		time.Sleep(keysPause)
		holds(t, ask(h, "GET "+keysOfProject))
		asked(4)
		if got := ask(h, "GET "+keysOfProject).Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("old keys came with Cache-Control %q", got)
		}
		time.Sleep(keysUsable - keysFresh - keysPause)
		for range 3 {
			refused(t, ask(h, "GET "+keysOfProject))
		}
		asked(5)
		i.got = answered
		time.Sleep(keysPause)
		holds(t, ask(h, "GET "+keysOfProject))
		asked(6)

		lines := logs.FilterMessage("call").All()
		if len(lines) != 14 {
			t.Fatalf("%d lines for 14 requests", len(lines))
		}
		for n, want := range map[int]map[string]any{
			0:  {"method": "jwks", "door": "rest", "code": "OK", "upstream_status": int64(200)},
			1:  {"method": "jwks", "door": "rest", "code": "OK", "upstream_status": nil},
			5:  {"method": "jwks", "code": "OK", "outcome": "upstream_failure", "upstream_fault": "connect"},
			10: {"method": "jwks", "code": "Unavailable", "outcome": "upstream_failure", "reason": "UPSTREAM_FAILED"},
			13: {"method": "jwks", "code": "OK", "outcome": nil},
		} {
			for name, value := range want {
				if got := lines[n].ContextMap()[name]; got != value {
					t.Errorf("line %d: %s is %v, want %v", n, name, got, value)
				}
			}
		}
	})
}

// TestOneFetchAtATime has many ask at once, before there are keys and when they are old.
func TestOneFetchAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{got: answered, release: make(chan struct{})}
		h, _ := openKeys(i)
		answers := make(chan *httptest.ResponseRecorder)
		for range 5 {
			go func() { answers <- ask(h, "GET "+keysOfProject) }()
		}
		synctest.Wait()
		close(i.release)
		for range 5 {
			holds(t, <-answers)
		}
		if n := i.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}

		time.Sleep(keysFresh)
		i.release = make(chan struct{})
		go func() { answers <- ask(h, "GET "+keysOfProject) }()
		synctest.Wait()
		holds(t, ask(h, "GET "+keysOfProject)) // does not wait for the other
		close(i.release)
		holds(t, <-answers)
		if n := i.asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestWhoAsksMayLeave ends the request of the caller that fetches, and of one that waits for it.
func TestWhoAsksMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{got: answered, release: make(chan struct{})}
		h, _ := openKeys(i)
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan *httptest.ResponseRecorder, 2)
		for range 2 {
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, request("GET "+keysOfProject, "").WithContext(ctx))
				done <- w
			}()
			synctest.Wait()
		}
		leave()
		refused(t, <-done) // the one that waited
		if i.ctx.Err() != nil {
			t.Error("the fetch was given up with its caller")
		}
		close(i.release)
		holds(t, <-done)
		holds(t, ask(h, "GET "+keysOfProject))
		if n := i.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestAFetchIsBounded has the upstream never answer.
func TestAFetchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := openKeys(&issuer{release: make(chan struct{})})
		start := time.Now()
		refused(t, ask(h, "GET "+keysOfProject))
		if took := time.Since(start); took != keysTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

// TestWhatIsNoListOfKeys is neither kept nor given out.
func TestWhatIsNoListOfKeys(t *testing.T) {
	for name, got := range map[string]Fetched{
		"an error of Stytch's":  {Status: 404, Body: []byte(`{"status_code":404,"error_type":"project_not_found"}`)},
		"an error with keys":    {Status: 500, Body: []byte(someKeys)},
		"a page of a proxy":     {Status: 200, Body: []byte("<html>")},
		"half an answer":        {Status: 200, Body: []byte(someKeys[:10]), Fault: "reset"},
		"another document":      {Status: 200, Body: []byte(`{"status_code":200}`)},
		"keys that are null":    {Status: 200, Body: []byte(`{"keys":null}`)},
		"more than is believed": {Status: 200, Body: []byte(`{"keys":["` + strings.Repeat("x", keysMax) + `"]}`)},
		"a redirect":            {Status: 302},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := openKeys(&issuer{got: got})
			refused(t, ask(h, "GET "+keysOfProject))
		})
	}
}

func TestOtherRequestsAboutKeys(t *testing.T) {
	for name, test := range map[string]struct {
		line      string
		status    int
		errorType string
		code      codes.Code
	}{
		"another project":    {"GET " + pathKeys + "project-test-2", 404, "route_not_found", codes.NotFound},
		"no project":         {"GET " + pathKeys, 404, "route_not_found", codes.NotFound},
		"a path below":       {"GET " + keysOfProject + "/x", 404, "route_not_found", codes.NotFound},
		"a path around":      {"GET " + pathKeys + "../jwks/project-test-1", 404, "route_not_found", codes.NotFound},
		"HEAD":               {"HEAD " + keysOfProject, 405, "method_not_allowed", codes.Unimplemented},
		"POST":               {"POST " + keysOfProject, 405, "method_not_allowed", codes.Unimplemented},
		"OPTIONS":            {"OPTIONS " + keysOfProject, 405, "method_not_allowed", codes.Unimplemented},
		"a method of no use": {"FETCH " + keysOfProject, 405, "method_not_allowed", codes.Unimplemented},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{got: answered}
			h, logs := openKeys(i)
			w := ask(h, test.line)
			if body := fiveFields(t, w); w.Code != test.status || body["error_type"] != test.errorType {
				t.Errorf("status %d, %v", w.Code, body)
			}
			if allow := w.Header().Get("Allow"); (allow == "GET") != (w.Code == 405) {
				t.Errorf("Allow %q", allow)
			}
			lines := logs.FilterMessage("call").All()
			if len(lines) != 1 || lines[0].ContextMap()["method"] != "jwks" || lines[0].ContextMap()["code"] != test.code.String() {
				t.Errorf("lines %v", lines)
			}
			if n := i.asked.Load(); n != 0 {
				t.Errorf("asked %d times", n)
			}
		})
	}
	t.Run("everything else", func(t *testing.T) {
		h, _ := openKeys(&issuer{})
		for _, line := range []string{"GET /", "GET /v1/b2b/sessions/jwks", "POST " + pathRecover, "GET /V1/b2b/sessions/jwks/project-test-1"} {
			if w := ask(h, line); w.Code != http.StatusTeapot {
				t.Errorf("%s: status %d", line, w.Code)
			}
		}
	})
}
