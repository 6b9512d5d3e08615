// Package parity runs the same cases through both doors of a running server, and holds the doors to the same verdict.
package parity

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

func TestMain(m *testing.M) {
	code := m.Run()
	daemon.Remove()
	if code == 0 && !flagGiven("test.run") && !flagGiven("test.skip") {
		code = page.unseen()
	}
	os.Exit(code)
}

// The sandbox's seed, as the README tells it.
const (
	organization = "organization-test-07971b06-ac8b-4cdb-9c15-63b17e653931"
	slug         = "example-org"
	member       = "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f"
	code1        = "sand-b0xc-ode1"
	code2        = "mill-7pon-d2ru"
)

// verdict is what a caller learns, in the words of both doors. The zero value is success.
type verdict struct {
	code    codes.Code
	http    int
	domain  string
	reason  string   // REST: the error type, in lower case
	message string   // a part of the text
	fields  []string // gRPC: the violations; REST names them in the text
	details details

	raw string // everything that came back with an error, or, by REST, with a success
}

// details are what goes with an error beside its reason: as google.rpc details and trailers over gRPC, as headers over
// REST where they have a place.
type details struct {
	retry  bool   // a hint when to send again: RetryInfo, Retry-After
	help   bool   // a way out
	never  bool   // grpc-retry-pushback-ms: -1
	header bool   // an answer has begun before it failed: the fuse
	status string // the upstream's HTTP status
}

// overREST is what of them a REST caller can see.
func (d details) overREST() details { return details{retry: d.retry} }

const (
	ours    = "recoverycodes.internal"
	stytchs = "stytch.com"
)

func invalid(fields ...string) verdict {
	return verdict{code: codes.InvalidArgument, http: 400, domain: ours, reason: "INVALID_REQUEST", fields: fields}
}

// A step is one call and what is expected of it. The steps of a door run in order against one server, since a code
// that was spent stays spent.
type step struct {
	name  string
	call  proto.Message
	want  verdict
	check func(t *testing.T, answer proto.Message)
}

func steps() []step {
	long := strings.Repeat("x", 129)
	return []step{
		{name: "Get lists the seeded codes", call: &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member},
			check: func(t *testing.T, answer proto.Message) {
				got := answer.(*recoverycodesv1.GetResponse)
				if len(got.GetRecoveryCodes()) != 10 || got.GetRecoveryCodes()[0] != code1 || got.GetRequestId() == "" ||
					got.GetStatusCode() != 200 || got.GetMember().GetMemberId() != member || got.GetOrganization().GetOrganizationSlug() != slug {
					t.Errorf("%v", got)
				}
			}},
		{name: "Get by slug", call: &recoverycodesv1.GetRequest{OrganizationId: slug, MemberId: member}},
		{name: "Recover spends a code and mints a session",
			call: &recoverycodesv1.RecoverRequest{
				OrganizationId: organization, MemberId: member, RecoveryCode: code1, SessionDurationMinutes: proto.Int32(30),
				SessionCustomClaims: claims(map[string]any{"kept": "yes", "gone": nil}),
			},
			check: func(t *testing.T, answer proto.Message) {
				got := answer.(*recoverycodesv1.RecoverResponse)
				session := got.GetMemberSession()
				if got.GetSessionToken() == "" || got.GetSessionJwt() == "" || got.GetRecoveryCodesRemaining() != 9 {
					t.Errorf("token %d bytes, JWT %d bytes, %d codes remain", len(got.GetSessionToken()), len(got.GetSessionJwt()), got.GetRecoveryCodesRemaining())
				}
				if life := session.GetExpiresAt().AsTime().Sub(session.GetStartedAt().AsTime()); life != 30*time.Minute {
					t.Errorf("the session lives %v", life)
				}
				if m := session.GetCustomClaims().AsMap(); len(m) != 1 || m["kept"] != "yes" {
					t.Errorf("claims %v", m)
				}
				factors := session.GetAuthenticationFactors()
				if len(factors) == 0 || factors[len(factors)-1].GetType() != "recovery_codes" || factors[len(factors)-1].GetSequenceOrder() == "" {
					t.Errorf("factors %v", factors)
				}
			}},
		{name: "a code is spent once",
			call: &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: member, RecoveryCode: code1},
			want: verdict{code: codes.Unauthenticated, http: 401, domain: stytchs, reason: "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE"}},
		{name: "Rotate voids and mints", call: &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: member},
			check: func(t *testing.T, answer proto.Message) {
				got := answer.(*recoverycodesv1.RotateResponse).GetRecoveryCodes()
				if len(got) != 10 || slices.Contains(got, code2) {
					t.Errorf("%d codes, an old one among them: %v", len(got), slices.Contains(got, code2))
				}
			}},
		{name: "a code that was voided",
			call: &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: member, RecoveryCode: code2},
			want: verdict{code: codes.Unauthenticated, http: 401, domain: stytchs, reason: "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE"}},
		{name: "no such organization", call: &recoverycodesv1.GetRequest{OrganizationId: "organization-test-none", MemberId: member},
			want: verdict{code: codes.NotFound, http: 404, domain: stytchs, reason: "ORGANIZATION_NOT_FOUND"}},
		{name: "no such member", call: &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: "member-test-none"},
			want: verdict{code: codes.NotFound, http: 404, domain: stytchs, reason: "MEMBER_NOT_FOUND"}},
		{name: "no such session",
			call: &recoverycodesv1.RecoverRequest{
				OrganizationId: organization, MemberId: member, RecoveryCode: "any-code", SessionToken: proto.String("none"),
			},
			want: verdict{code: codes.NotFound, http: 404, domain: stytchs, reason: "SESSION_NOT_FOUND"}},

		{name: "nothing given", call: &recoverycodesv1.RecoverRequest{}, want: invalid("organization_id", "member_id", "recovery_code")},
		{name: "Rotate without ids", call: &recoverycodesv1.RotateRequest{}, want: invalid("organization_id", "member_id")},
		{name: "ids that are path segments", call: &recoverycodesv1.RotateRequest{OrganizationId: ".", MemberId: ".."}, want: invalid("organization_id", "member_id")},
		{name: "ids that leave their segment", call: &recoverycodesv1.GetRequest{OrganizationId: "a/b", MemberId: "%2e%2e"}, want: invalid("organization_id", "member_id")},
		{name: "ids with control characters", call: &recoverycodesv1.GetRequest{OrganizationId: "a\x00", MemberId: "b\r\nX: y"}, want: invalid("organization_id", "member_id")},
		{name: "ids that are too long", call: &recoverycodesv1.GetRequest{OrganizationId: long, MemberId: long}, want: invalid("organization_id", "member_id")},
		{name: "ids that look like others", call: &recoverycodesv1.GetRequest{OrganizationId: "example-org\u202e", MemberId: "mеmber"}, want: invalid("organization_id", "member_id")},
		{name: "a session shorter than 5 minutes", call: recoverWith(func(r *recoverycodesv1.RecoverRequest) { r.SessionDurationMinutes = proto.Int32(4) }), want: invalid("session_duration_minutes")},
		{name: "a session of no minutes", call: recoverWith(func(r *recoverycodesv1.RecoverRequest) { r.SessionDurationMinutes = proto.Int32(0) }), want: invalid("session_duration_minutes")},
		{name: "a session longer than 527040 minutes", call: recoverWith(func(r *recoverycodesv1.RecoverRequest) { r.SessionDurationMinutes = proto.Int32(527041) }), want: invalid("session_duration_minutes")},
		{name: "claims over 4 KB", call: recoverWith(func(r *recoverycodesv1.RecoverRequest) {
			r.SessionCustomClaims = claims(map[string]any{"a": strings.Repeat("x", 4<<10-7)}) // {"a":"…"} takes 8 more
		}), want: invalid("session_custom_claims")},
		{name: "a reserved claim", call: recoverWith(func(r *recoverycodesv1.RecoverRequest) { r.SessionCustomClaims = claims(map[string]any{"iss": "me"}) }), want: invalid("session_custom_claims.iss")},
		{name: "a code of 200 KB", call: recoverWith(func(r *recoverycodesv1.RecoverRequest) { r.RecoveryCode = strings.Repeat("x", 200<<10) }), want: invalid("recovery_code")},
	}
}

func recoverWith(change func(*recoverycodesv1.RecoverRequest)) *recoverycodesv1.RecoverRequest {
	r := &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: member, RecoveryCode: "any-code"}
	change(r)
	return r
}

func claims(m map[string]any) *structpb.Struct {
	s, err := structpb.NewStruct(m)
	if err != nil {
		panic(err) // a case of this file is wrong
	}
	return s
}

// doors are the ways in.
var doors = map[string]func(*testing.T, *daemon.Daemon, proto.Message) (proto.Message, verdict){"gRPC": throughGRPC, "REST": throughREST}

// TestBothDoors runs the steps through each door, on a server of its own.
func TestBothDoors(t *testing.T) {
	for name, through := range doors {
		t.Run(name, func(t *testing.T) {
			d := daemon.Start(t, nil, "--sandbox")
			for _, step := range steps() {
				t.Run(step.name, func(t *testing.T) {
					answer, got := through(t, d, step.call)
					step.compare(t, got, name == "REST")
					if step.check != nil && !t.Failed() {
						step.check(t, answer)
					}
				})
			}
		})
	}
}

func (s *step) compare(t *testing.T, got verdict, rest bool) {
	t.Helper()
	want := s.want
	if rest {
		for _, field := range want.fields {
			if !strings.Contains(got.message, field+": ") {
				t.Errorf("the text does not name %s: %s", field, got.message)
			}
		}
		want.code, want.domain, want.fields = got.code, got.domain, nil
	} else {
		want.http = got.http
	}
	if got.code != want.code || got.http != want.http || got.domain != want.domain || got.reason != want.reason ||
		!strings.Contains(got.message, want.message) || !slices.Equal(got.fields, want.fields) {
		t.Errorf("\ngot  %+v\nwant %+v", got, want)
	}
}

// TestEveryRPCHasAStep keeps the table complete when the service grows.
func TestEveryRPCHasAStep(t *testing.T) {
	methods := recoverycodesv1.File_stytch_b2b_recoverycodes_v1_recovery_codes_proto.Services().ByName("RecoveryCodesService").Methods()
	for i := range methods.Len() {
		input := methods.Get(i).Input().FullName()
		if !slices.ContainsFunc(steps(), func(s step) bool { return nameOf(s.call) == input && s.want.code == codes.OK }) ||
			!slices.ContainsFunc(steps(), func(s step) bool { return nameOf(s.call) == input && s.want.code != codes.OK }) {
			t.Errorf("%s: no success or no refusal in the table", methods.Get(i).Name())
		}
	}
}

func nameOf(m proto.Message) protoreflect.FullName { return m.ProtoReflect().Descriptor().FullName() }

// TestOneLineForEachCallThroughEitherDoor holds the access log to one line a call, with what an operator looks for and
// nothing that is a secret.
func TestOneLineForEachCallThroughEitherDoor(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	calls := 0
	var secrets []string
	for _, step := range steps() {
		for _, through := range []func(*testing.T, *daemon.Daemon, proto.Message) (proto.Message, verdict){throughGRPC, throughREST} {
			answer, _ := through(t, d, step.call)
			calls++
			if recovered, ok := answer.(*recoverycodesv1.RecoverResponse); ok && recovered.GetSessionToken() != "" {
				secrets = append(secrets, recovered.GetSessionToken(), recovered.GetSessionJwt())
			}
			if listed, ok := answer.(interface{ GetRecoveryCodes() []string }); ok {
				secrets = append(secrets, listed.GetRecoveryCodes()...)
			}
		}
	}
	d.Signal(t, stopSignal)
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	lines := 0
	for line := range strings.Lines(d.Log()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if entry["message"] != "call" {
			continue
		}
		lines++
		for _, key := range []string{"method", "door", "code", "duration", "request_id"} {
			if s, _ := entry[key].(string); s == "" {
				t.Errorf("no %s: %s", key, line)
			}
		}
		if id, _ := entry["stytch_request_id"].(string); entry["outcome"] == "done" && !regexp.MustCompile(`^request-id-test-`).MatchString(id) {
			t.Errorf("no request id of Stytch's: %s", line)
		}
	}
	if lines != calls {
		t.Errorf("%d lines for %d calls", lines, calls)
	}
	if len(secrets) < 20 {
		t.Errorf("only %d secrets to look for", len(secrets))
	}
	for _, secret := range append(secrets, "any-code", "secret-test-sandbox") {
		if strings.Contains(d.Log(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

func TestRequestIDIsKeptAndReturned(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.HTTP+"/v1/b2b/recovery_codes/"+slug+"/"+member, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Request-Id", "trace-1234")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := resp.Header.Values("X-Request-Id"); !slices.Equal(got, []string{"trace-1234"}) {
		t.Errorf("returned %q", got)
	}
}
