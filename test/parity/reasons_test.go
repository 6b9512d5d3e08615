package parity

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// TestReasonsOfTheDoors provokes what is refused before a message is there, over REST.
func TestReasonsOfTheDoors(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	const recoverPath = "/v1/b2b/recovery_codes/recover"
	for reason, c := range map[string]struct {
		method, path, contentType, body string
		status                          int
	}{
		"MALFORMED_BODY":     {http.MethodPost, recoverPath, "application/json", "{", 400},
		"BODY_TOO_LARGE":     {http.MethodPost, recoverPath, "application/json", `{"recovery_code":"` + strings.Repeat("x", 2<<20) + `"}`, 413},
		"UNSUPPORTED_TYPE":   {http.MethodPost, recoverPath, "text/plain", "{}", 415},
		"ROUTE_NOT_FOUND":    {http.MethodGet, "/v1/b2b/members", "", "", 404},
		"METHOD_NOT_ALLOWED": {http.MethodDelete, recoverPath, "", "", 405},
	} {
		t.Run(reason, func(t *testing.T) {
			resp, text := request(t, d, c.method, c.path, c.body, "Content-Type", c.contentType)
			if got := verdictOfREST(t, resp, text); got.reason != reason || got.http != c.status {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestReasonsOfKeys uses a key for two requests.
func TestReasonsOfKeys(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	rotate := func(org string) proto.Message {
		return &recoverycodesv1.RotateRequest{OrganizationId: org, MemberId: member}
	}
	keyed := metadata.AppendToOutgoingContext(t.Context(), "idempotency-key", "k1")
	if err := d.Dial(t).Invoke(keyed, "/"+service+"/Rotate", rotate(slug), &recoverycodesv1.RotateResponse{}); err != nil {
		t.Fatal(err)
	}
	err := d.Dial(t).Invoke(keyed, "/"+service+"/Rotate", rotate(organization), &recoverycodesv1.RotateResponse{})
	if got := verdictOf(t, err); got.code != codes.InvalidArgument || got.reason != "IDEMPOTENCY_KEY_REUSED" {
		t.Errorf("%+v", got)
	}
	body := `{"organization_id":"` + organization + `","member_id":"` + member + `"}`
	resp, text := request(t, d, http.MethodPost, "/v1/b2b/recovery_codes/rotate", body, "Idempotency-Key", "k1")
	if got := verdictOfREST(t, resp, text); got.http != 422 || got.reason != "IDEMPOTENCY_KEY_REUSED" {
		t.Errorf("%+v", got)
	}
}

// TestReasonsOfTheUpstream provokes what concerns the way to Stytch, for every method.
func TestReasonsOfTheUpstream(t *testing.T) {
	refusing := daemon.Start(t, []string{ // port 1 is nobody's, and is given to no other test
		"STYTCH_PROJECT_ID=project-test-1", "STYTCH_SECRET=secret-test", "STYTCH_BASE_URL=http://127.0.0.1:1",
	}, "--insecure-allow-any-caller")
	limiting := inFrontOf(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
	elsewhere := inFrontOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"status_code":404,"request_id":"r","error_type":"route_not_found","error_message":"m","error_url":"u"}`)
	})
	for _, c := range []struct {
		d    *daemon.Daemon
		want verdict
	}{
		{refusing, verdict{code: codes.Unavailable, http: 503, domain: ours, reason: "NOT_SENT", details: details{retry: true}}},
		{limiting, verdict{code: codes.ResourceExhausted, http: 429, domain: ours, reason: "RATE_LIMITED"}},
		{elsewhere, verdict{code: codes.Internal, http: 500, domain: ours, reason: "UPSTREAM_ADDRESS"}},
	} {
		for method, r := range requests {
			t.Run(c.want.reason+" "+method, func(t *testing.T) {
				s := step{want: c.want}
				_, got := throughGRPC(t, c.d, r.request)
				s.compare(t, got, false)
				if c.want.reason == "NOT_SENT" && got.details != c.want.details {
					t.Errorf("got %+v, want %+v: it may be sent again, and no answer has begun", got.details, c.want.details)
				}
				_, got = throughREST(t, c.d, r.request)
				s.compare(t, got, true)
			})
		}
	}
}

// TestACancelledGet holds what the two doors' own records say of a Get whose caller went away: neither caller is there to
// be told.
func TestACancelledGet(t *testing.T) {
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	d := inFrontOf(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is noticed
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	for _, call := range []func(context.Context){
		func(ctx context.Context) {
			_ = d.Dial(t).Invoke(ctx, "/"+service+"/Get", requests["Get"].request, &recoverycodesv1.GetResponse{}, grpc.WaitForReady(true))
		},
		func(ctx context.Context) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.HTTP+"/v1/b2b/recovery_codes/o/m", nil)
			if err != nil {
				t.Error(err)
				return
			}
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
				t.Errorf("status %d for a caller who had gone", resp.StatusCode)
			}
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		go func() {
			<-arrived
			cancel()
		}()
		call(ctx)
		cancel()
	}
	if !d.AwaitLog(`"reason":"CANCELLED"`, 2) {
		t.Errorf("the log:\n%s", d.Log())
	}
}

// request makes a REST request as it is given. An empty header value is no header.
func request(t *testing.T, d *daemon.Daemon, method, path, body, header, value string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+d.HTTP+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if value != "" {
		req.Header.Set(header, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, text
}
