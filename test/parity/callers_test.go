package parity

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// callers is a policy of three callers with a secret each, all of whose calls are about one organization.
const callers = `
trusted_sidecars: { loopback: %t }
callers:
  - name: reader     # its secret is "reader"
    match: { secret_sha256: 3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30 }
    methods: Get
    organizations: ` + organization + `
  - name: hasty      # its secret is "hasty"
    match: { secret_sha256: e0963cbca2986d4e9bf8b1f09d3af92b04c7711660583df472d8f2aae4c77692 }
    methods: Get
    organizations: "*"
    rate: { per_second: 0.001, burst: 1 }
  - name: workload
    match: { spiffe_id: spiffe://example.org/workload }
    methods: Get
    organizations: "*"
`

// TestReasonsOfCallers provokes what a caller is told about itself. What decides it is the matter of test/access.
func TestReasonsOfCallers(t *testing.T) {
	start := func(trusted bool) *daemon.Daemon {
		path := filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(path, fmt.Appendf(nil, callers, trusted), 0o600); err != nil {
			t.Fatal(err)
		}
		return daemon.Start(t, nil, "--sandbox", "--policy="+path)
	}
	direct, behindSidecar := start(false), start(true)
	const reader, hasty = "Bearer reader", "Bearer hasty"
	get := func(organization string) proto.Message {
		return &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member}
	}
	const xfcc = "x-forwarded-client-cert"
	for _, c := range []struct {
		d       *daemon.Daemon
		headers map[string]string
		call    proto.Message
		want    verdict
	}{
		{direct, nil, get(organization), verdict{code: codes.Unauthenticated, http: 401, reason: "CALLER_UNKNOWN"}},
		{direct, map[string]string{"authorization": "Bearer nobody"}, get(organization),
			verdict{code: codes.Unauthenticated, http: 401, reason: "CREDENTIAL_INVALID"}},
		{behindSidecar, map[string]string{"authorization": reader, xfcc: "URI=spiffe://example.org/workload"}, get(organization),
			verdict{code: codes.Unauthenticated, http: 401, reason: "CALLER_CONFLICT"}},
		{direct, map[string]string{"authorization": reader, xfcc: "URI=spiffe://example.org/workload"}, get(organization),
			verdict{code: codes.Unauthenticated, http: 401, reason: "FORWARDED_IDENTITY_REFUSED"}},
		{direct, map[string]string{"authorization": reader}, &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: member},
			verdict{code: codes.PermissionDenied, http: 403, reason: "OPERATION_NOT_ALLOWED"}},
		{direct, map[string]string{"authorization": reader}, get("organization-test-another"),
			verdict{code: codes.PermissionDenied, http: 403, reason: "ORGANIZATION_NOT_ALLOWED"}},
		{direct, map[string]string{"authorization": reader}, get(slug),
			verdict{code: codes.PermissionDenied, http: 403, reason: "ORGANIZATION_ID_REQUIRED"}},
		{direct, map[string]string{"authorization": hasty}, get(slug), done},
		{direct, map[string]string{"authorization": hasty}, get(slug),
			verdict{code: codes.ResourceExhausted, http: 429, reason: "NOT_SENT", details: details{retry: true}}},
	} {
		doors := map[string]func(*testing.T) verdict{
			"gRPC": func(t *testing.T) verdict { return callGRPC(t, c.d, c.call, c.headers) },
			"REST": func(t *testing.T) verdict { return callREST(t, c.d, c.call, c.headers) },
		}
		if c.want.reason == "" { // what is used up through one door is used up for both
			delete(doors, "REST")
		} else {
			c.want.domain = ours
		}
		for door, through := range doors {
			t.Run(c.want.reason+" by "+door, func(t *testing.T) {
				got := through(t)
				(&step{want: c.want}).compare(t, got, door == "REST")
				if got.details != c.want.details {
					t.Errorf("got %+v, want %+v", got.details, c.want.details)
				}
			})
		}
	}
}

func callGRPC(t *testing.T, d *daemon.Daemon, call proto.Message, headers map[string]string) verdict {
	t.Helper()
	method, answer := rpc(call)
	return verdictOf(t, d.Dial(t).Invoke(metadata.NewOutgoingContext(t.Context(), metadata.New(headers)), "/"+service+"/"+method, call, answer))
}

func callREST(t *testing.T, d *daemon.Daemon, call proto.Message, headers map[string]string) verdict {
	t.Helper()
	method, _ := rpc(call)
	resp, text := sendWith(t, d, method, call, headers)
	if resp.StatusCode == http.StatusOK {
		return verdict{}
	}
	return verdictOfREST(t, resp, text)
}
