package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/wrapperspb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// auditLine is what the audit log says of one call.
type auditLine struct {
	Time            time.Time `json:"time"`
	Caller          string    `json:"caller"`
	Method          string    `json:"method"`
	Door            string    `json:"door"`
	Organization    string    `json:"organization"`
	Member          string    `json:"member"`
	Outcome         string    `json:"outcome"`
	Code            string    `json:"code"`
	StytchRequestID string    `json:"stytch_request_id"`
	RequestID       string    `json:"request_id"`
	Fingerprint     string    `json:"code_fingerprint"`
	Replayed        bool      `json:"replayed"`
}

// linesOf reads the lines that are whole.
func linesOf(t *testing.T, path string) []auditLine {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parseLines(t, text)
}

func parseLines(t *testing.T, text []byte) (lines []auditLine) {
	t.Helper()
	for line := range bytes.Lines(text) {
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		var l auditLine
		if err := decoder.Decode(&l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		lines = append(lines, l)
	}
	return lines
}

// end stops a server, after which all its lines are written.
func end(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	d.Signal(t, syscall.SIGTERM)
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, d.Log())
	}
}

// auditors is a policy of a caller who may do what there is, one who may only read and seldom, and one who may do it in
// another organization.
func auditors() string {
	return one("") +
		"  - name: reader\n    match: { secret_sha256: " + hashOf("reader") + " }\n    methods: Get\n    organizations: \"*\"\n" +
		"    rate: { per_second: 0.001, burst: 1 }\n" +
		"  - name: elsewhere\n    match: { secret_sha256: " + hashOf("elsewhere") + " }\n    methods: [Get, Recover, Rotate]\n" +
		"    organizations: " + another + "\n"
}

// TestTheAuditLog makes calls of every outcome and looks for the line of each, in order: what is in it, and what is not.
func TestTheAuditLog(t *testing.T) {
	for door, call := range doors {
		t.Run(door, func(t *testing.T) {
			t.Parallel()
			path := file(t, "audit.log", "")
			sandbox := daemon.StartSandbox(t, false)
			d := daemon.Start(t, sandbox.Env, "--policy="+file(t, "policy.yaml", auditors()), "--audit-file="+path)
			p := connect(t, d)
			id, lost, unknown := fresh("audit"), "member-test-fault-truncated~x", "member-test-fault-html-502-after-effect~x"
			keyed := bearer("one").and("idempotency-key", "IDEMPOTENCY-KEY")
			steps := []struct {
				method, organization, member, code string
				headers                            headers
				want                               auditLine // what the step does not say already
			}{
				{"Get", slug, id, "", bearer("one"), auditLine{Caller: "one", Outcome: "done", Code: "OK"}},
				{"Recover", slug, id, rightCode, keyed, auditLine{Caller: "one", Outcome: "done", Code: "OK"}},
				{"Recover", slug, id, rightCode, keyed, auditLine{Caller: "one", Outcome: "done", Code: "OK", Replayed: true}},
				{"Recover", organization, id, rightCode, bearer("one"), auditLine{Caller: "one", Outcome: "refused", Code: "Unauthenticated"}},
				{"Recover", organization, id, "ANOTHER-CODE", bearer("one"), auditLine{Caller: "one", Outcome: "refused", Code: "Unauthenticated"}},
				{"Rotate", slug, lost, "", bearer("one"), auditLine{Caller: "one", Outcome: "answer_lost", Code: "Unknown"}},
				{"Rotate", slug, unknown, "", bearer("one"), auditLine{Caller: "one", Outcome: "unknown", Code: "Unknown"}},
				{"Get", slug, unknown, "", bearer("one"), auditLine{Caller: "one", Outcome: "upstream_failure", Code: "Unavailable"}},
				{"Recover", "", id, "", bearer("one"), auditLine{Caller: "one", Outcome: "refused", Code: "InvalidArgument"}},
				{"Get", slug, id, "", nil, auditLine{Outcome: "refused", Code: "Unauthenticated"}},
				{"Recover", slug, id, rightCode, authorization("Bearer WRONG-SECRET"), auditLine{Outcome: "refused", Code: "Unauthenticated"}},
				{"Rotate", slug, id, "", bearer("reader"), auditLine{Caller: "reader", Outcome: "refused", Code: "PermissionDenied"}},
				{"Get", slug, id, "", bearer("reader"), auditLine{Caller: "reader", Outcome: "done", Code: "OK"}},
				{"Get", slug, id, "", bearer("reader"), auditLine{Caller: "reader", Outcome: "not_sent", Code: "ResourceExhausted"}},
				{"Recover", organization, id, rightCode, bearer("elsewhere"), auditLine{Caller: "elsewhere", Outcome: "refused", Code: "PermissionDenied"}},
			}
			var want []auditLine
			for i, s := range steps {
				requestID := fmt.Sprint("request-", i)
				call(p, t, request(s.method, s.organization, s.member, s.code), s.headers.and("x-request-id", requestID))
				s.want.Method, s.want.Organization, s.want.Member, s.want.RequestID = s.method, s.organization, s.member, requestID
				if s.want.Door = strings.ToLower(door); s.code != "" {
					s.want.Fingerprint = s.code // by which its fingerprint is known below
				}
				early := s.want.Caller == "" || s.want.Caller == "reader"
				if door == "REST" && early && s.method != "Get" { // refused before the body, in which they stand, was read
					s.want.Organization, s.want.Member, s.want.Fingerprint = "", "", ""
				}
				want = append(want, s.want)
			}
			want = append(want, p.malformed(t, door))
			p.noCalls(t)
			end(t, d)
			got := linesOf(t, path)
			fingerprints := make(map[string]string)
			for i, line := range got {
				if time.Since(line.Time) > time.Minute || line.Time.Location() != time.UTC {
					t.Errorf("line %d: at %v", i, line.Time)
				}
				answered := strings.HasPrefix(line.StytchRequestID, "request-id-test-")
				if said := line.Outcome == "done" || line.Outcome == "refused" && i < 5; answered != said {
					t.Errorf("line %d: Stytch's request id is %q", i, line.StytchRequestID)
				}
				if i < len(want) && want[i].Fingerprint != "" && line.Fingerprint != "" {
					code := want[i].Fingerprint
					if first, ok := fingerprints[code]; ok && first != line.Fingerprint {
						t.Errorf("line %d: another fingerprint of the same code", i)
					}
					fingerprints[code] = line.Fingerprint
					got[i].Fingerprint = code
				}
				got[i].Time, got[i].StytchRequestID = time.Time{}, ""
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if len(fingerprints) != 2 || fingerprints[rightCode] == fingerprints["ANOTHER-CODE"] || len(fingerprints[rightCode]) != 32 {
				t.Errorf("fingerprints %v", fingerprints)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{rightCode, "ANOTHER-CODE", "WRONG-SECRET", "SECRET-OF", "IDEMPOTENCY-KEY", "session"} {
				if strings.Contains(string(text)+d.Log(), secret) {
					t.Errorf("%q is recorded", secret)
				}
			}
		})
	}
}

// malformed makes a call of a body that is no request, and returns its line.
func (p *peer) malformed(t *testing.T, door string) auditLine {
	t.Helper()
	line := auditLine{Caller: "one", Method: "Rotate", Door: strings.ToLower(door), Outcome: "refused", Code: "InvalidArgument", RequestID: "malformed"}
	h := bearer("one").and("x-request-id", "malformed")
	if door == "REST" {
		p.rest(t, http.MethodPost, restPath+"rotate", "{", h).as(t, "MALFORMED_BODY", codes.InvalidArgument, http.StatusBadRequest)
		return line
	}
	// Its field 1, which is the organization in a Rotate, is no text.
	p.byRPC(t, "Rotate", wrapperspb.Bytes([]byte{0xff}), &recoverycodesv1.RotateResponse{}, h).
		as(t, "INVALID_REQUEST", codes.InvalidArgument, http.StatusBadRequest)
	return line
}

// noCalls makes requests that are none of the three operations.
func (p *peer) noCalls(t *testing.T) {
	t.Helper()
	if _, err := healthpb.NewHealthClient(p.grpc).Check(t.Context(), &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/", "/v1/b2b/members", restPath} {
		if got := p.rest(t, http.MethodPost, path, "{}", bearer("one")); got.http != 404 && got.http != 405 {
			t.Errorf("%s: %d", path, got.http)
		}
	}
}
