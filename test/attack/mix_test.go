package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// codesOf is what the upstream of TestAnswersDoNotMix says of a member: up to 30 KB that are no other member's.
func codesOf(member string) []string {
	all := make([]string, 1+len(member)*int(member[len(member)-1]-'0')*12)
	for i := range all {
		all[i] = fmt.Sprintf("%s.%d", member, i)
	}
	return all
}

// TestAnswersDoNotMix has many callers ask about as many members at once, at all doors, and a third of them go away
// before the answer has come or while it comes. Whoever gets an answer gets the whole of their own: the memory of answers is
// used again, and another caller's codes in it would be the worst that can happen here.
func TestAnswersDoNotMix(t *testing.T) {
	const callers, calls = 12, 30
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		member := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		_ = json.NewEncoder(w).Encode(map[string]any{"member_id": member, "recovery_codes": codesOf(member), "request_id": "r-" + member})
	}))
	t.Cleanup(upstream.Close)
	x := &target{dir: t.TempDir(), secret: newSecret(), trust: newAuthority(t)}
	x.trust.write(t, x.dir)
	x.write(t, "policy.yaml", policy(x.secret, ""))
	x.Daemon = daemon.Start(t, []string{
		"STYTCH_PROJECT_ID=project-test-1", "STYTCH_SECRET=secret-test", "STYTCH_BASE_URL=" + upstream.URL,
	}, "--policy="+x.path("policy.yaml"), "--tls-certificate-file="+x.path("tls.crt"), "--tls-key-file="+x.path("tls.key"))

	service := recoverycodesv1.NewRecoveryCodesServiceClient(x.dial(t))
	doors := map[string]func(context.Context, string) ([]string, error){
		"grpc": func(ctx context.Context, member string) ([]string, error) {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+x.secret)
			answer, err := service.Get(ctx, &recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: member})
			if code := status.Code(err); code == codes.Canceled || code == codes.DeadlineExceeded {
				return nil, ctx.Err()
			}
			return answer.GetRecoveryCodes(), err
		},
	}
	for _, http2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: x.trust.client(), ForceAttemptHTTP2: http2, MaxIdleConnsPerHost: callers}
		t.Cleanup(transport.CloseIdleConnections)
		doors[fmt.Sprintf("rest-%v", http2)] = func(ctx context.Context, member string) ([]string, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, x.url("/v1/b2b/recovery_codes/o/"+member), nil)
			if err != nil {
				return nil, err
			}
			req.Header.Set("Authorization", "Bearer "+x.secret)
			resp, err := transport.RoundTrip(req)
			if err != nil {
				return nil, err
			}
			defer func() { _ = resp.Body.Close() }()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				return nil, err
			}
			if resp.StatusCode != http.StatusOK {
				return nil, fmt.Errorf("status %d: %s", resp.StatusCode, text)
			}
			var answer struct {
				Codes []string `json:"recovery_codes"`
			}
			return answer.Codes, json.Unmarshal(text, &answer)
		}
	}
	var all sync.WaitGroup
	for door, get := range doors {
		for caller := range callers {
			all.Go(func() {
				for call := range calls {
					member := fmt.Sprintf("%s-%d-%d", door, caller, call)
					ctx, cancel := context.WithCancel(t.Context())
					if call%3 == 0 {
						time.AfterFunc(rand.N(5*time.Millisecond), cancel)
					}
					got, err := get(ctx, member)
					if want := codesOf(member); err == nil && !slices.Equal(got, want) {
						t.Errorf("%s: asked for %s and got %d codes, %.200q; want %d", door, member, len(got), got, len(want))
					} else if err != nil && ctx.Err() == nil {
						t.Errorf("%s: %s: %v", door, member, err)
					}
					cancel()
				}
			})
		}
	}
	all.Wait()
}
