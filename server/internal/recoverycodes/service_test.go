package recoverycodes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/stytch"
	"recoverycodes.internal/server/internal/transcode"
	"recoverycodes.internal/server/internal/wiped"
	"recoverycodes.internal/test/documents"
)

// newService returns a service whose upstream is the handler, and the drift it has been told of.
func newService(t *testing.T, upstream http.HandlerFunc) (*Service, *[]string) {
	t.Helper()
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := stytch.New(stytch.Config{
		BaseURL: base, ProjectID: "project-test-1", Secret: "s", ConnectTimeout: 10 * time.Second,
		HeaderTimeout: 10 * time.Second, Timeout: 10 * time.Second, MaxAnswerBytes: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	drifted := &[]string{}
	s, err := New(client, Options{InFlight: 10, OnDrift: func(method string, drift []transcode.Drift) {
		for _, d := range drift {
			*drifted = append(*drifted, method+" "+d.Path+" "+d.Kind.String())
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s, drifted
}

func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

var recoverRequest = &recoverycodesv1.RecoverRequest{
	OrganizationId: "o", MemberId: "m", RecoveryCode: "code-secret", SessionToken: proto.String("token-secret"),
	SessionJwt: proto.String("jwt-secret"), IntermediateSessionToken: proto.String("intermediate-secret"),
}

// TestAnswerIsWireBytes holds the contract of the corridor: the content stands in the unknown fields, and marshalling
// and reading it anew gives the answer.
func TestAnswerIsWireBytes(t *testing.T) {
	s, drifted := newService(t, answering(200, string(documents.Recover())))
	record := call.New(call.GRPC, "")
	answer, err := s.Recover(call.NewContext(t.Context(), record), recoverRequest)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := proto.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	read := &recoverycodesv1.RecoverResponse{}
	if err := proto.Unmarshal(wire, read); err != nil {
		t.Fatal(err)
	}
	if read.GetSessionToken() == "" || read.GetMemberSession().GetMemberSessionId() == "" || len(read.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("%v", read)
	}
	if record.Outcome != call.Done || record.UpstreamStatus != 200 || record.UpstreamRequestID != read.GetRequestId() || record.UpstreamTime <= 0 {
		t.Errorf("record %+v", record)
	}
	if record.Answer != nil {
		t.Error("the upstream's bytes are kept for gRPC")
	}
	if len(*drifted) > 0 {
		t.Errorf("drift %v", *drifted)
	}
}

// TestBodiesAreWiped holds that nothing stays of the upstream's bytes once they are read for gRPC, and that those for
// REST are the door's.
func TestBodiesAreWiped(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(documents.Get())))
		_, _ = w.Write(documents.Get())
	}))
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, door := range []call.Door{call.GRPC, call.REST} {
		var body []byte
		client, err := stytch.New(stytch.Config{
			BaseURL: base, ProjectID: "project-test-1", Secret: "s", ConnectTimeout: 10 * time.Second,
			HeaderTimeout: 10 * time.Second, Timeout: 10 * time.Second, MaxAnswerBytes: 1 << 20,
			Buffer: func(n int) []byte {
				body = wiped.Get(n)
				return body
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		s, err := New(client, Options{InFlight: 10})
		if err != nil {
			t.Fatal(err)
		}
		record := call.New(door, "")
		if _, err := s.Get(call.NewContext(t.Context(), record), &recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: "m"}); err != nil {
			t.Fatal(err)
		}
		if len(body) == 0 {
			t.Fatal("the body is somewhere else")
		}
		if kept := bytes.Contains(body, []byte("recovery_codes")); kept != (door == call.REST) {
			t.Errorf("%s: the body is still there: %v", door, kept)
		}
	}
}

func TestRESTGetsTheUpstreamsBytes(t *testing.T) {
	const body = ` {"status_code": 200, "tomorrow": [1e2, null], "request_id": "r"} `
	s, drifted := newService(t, answering(200, body))
	record := call.New(call.REST, "")
	if _, err := s.Get(call.NewContext(t.Context(), record), &recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: "m"}); err != nil {
		t.Fatal(err)
	}
	if string(record.Answer) != body {
		t.Errorf("kept %q", record.Answer)
	}
	if len(*drifted) != 1 || !strings.HasPrefix((*drifted)[0], "Get tomorrow ") {
		t.Errorf("drift %v", *drifted)
	}
}

// TestNoSecretOfTheRequestComesBack has an upstream that repeats what it was sent in its error text.
func TestNoSecretOfTheRequestComesBack(t *testing.T) {
	s, _ := newService(t, answering(400, `{"error_type":"x","error_message":"code-secret token-secret jwt-secret intermediate-secret o m"}`))
	_, err := s.Recover(t.Context(), recoverRequest)
	var e *apierror.Error
	if !errors.As(err, &e) || strings.Contains(e.Message, "secret") || !strings.HasSuffix(e.Message, " o m") {
		t.Errorf("%v", err)
	}

	// One that is longer than what is relayed of a text, with a character that is not, in every text there is.
	long := "head\t" + strings.Repeat("secret-", 300)
	echo, err := json.Marshal(map[string]string{"error_type": long, "error_message": "about " + long, "error_url": long, "request_id": long})
	if err != nil {
		t.Fatal(err)
	}
	s, _ = newService(t, answering(400, string(echo)))
	_, err = s.Recover(t.Context(), &recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "c", SessionJwt: &long})
	if status := fmt.Sprint(apierror.From(err).GRPCStatus().Proto()); strings.Contains(status, "secret") || strings.Contains(status, "head") {
		t.Errorf("%s", status)
	}
}

// TestTwoHundredOfSomethingElse has something in between that says 200 to everything.
func TestTwoHundredOfSomethingElse(t *testing.T) {
	for _, body := range []string{`{}`, `{"status":"ok"}`, `{"error":"gateway"}`} {
		s, _ := newService(t, answering(200, body))
		for name, do := range operations {
			want := apierror.AnswerLost
			if name == "Get" {
				want = apierror.UpstreamFailed
			}
			if err := do(t.Context(), s); apierror.From(err).Reason != want {
				t.Errorf("%s of %s: %v", name, body, err)
			}
		}
	}
	s, _ := newService(t, answering(200, `{"session_token":"t"}`))
	if err := operations["Recover"](t.Context(), s); err != nil {
		t.Errorf("a session is lost: %v", err)
	}
}

// TestUnknownUntilSettled looks at the record while the upstream is at work: what ends the call in between must find
// that its outcome is unknown.
func TestUnknownUntilSettled(t *testing.T) {
	for name, want := range map[string]call.Outcome{"Get": "", "Recover": call.Unknown, "Rotate": call.Unknown} {
		record := call.New(call.GRPC, "")
		var during call.Outcome
		s, _ := newService(t, func(w http.ResponseWriter, _ *http.Request) {
			during = record.Outcome
			_, _ = w.Write(documents.Recover())
		})
		if err := operations[name](call.NewContext(t.Context(), record), s); err != nil {
			t.Fatal(err)
		}
		if during != want || record.Outcome != call.Done {
			t.Errorf("%s: during %q, afterwards %q", name, during, record.Outcome)
		}
	}
}

func TestCallerGoneBeforeSending(t *testing.T) {
	s, _ := newService(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Recover(ctx, recoverRequest)
	if e := apierror.From(err); e.Code != codes.Canceled || e.NeverRetry {
		t.Errorf("%+v", e)
	}
}

func TestValidation(t *testing.T) {
	s, _ := newService(t, func(http.ResponseWriter, *http.Request) { t.Error("a bad request was sent") })
	base := func() *recoverycodesv1.RecoverRequest {
		return &recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "c"}
	}
	long := proto.String(strings.Repeat("x", maxToken+1))
	for name, test := range map[string]struct {
		change func(*recoverycodesv1.RecoverRequest)
		field  string
	}{
		"organization missing":    {func(r *recoverycodesv1.RecoverRequest) { r.OrganizationId = "" }, "organization_id"},
		"member with a space":     {func(r *recoverycodesv1.RecoverRequest) { r.MemberId = "a b" }, "member_id"},
		"member of 129":           {func(r *recoverycodesv1.RecoverRequest) { r.MemberId = strings.Repeat("m", 129) }, "member_id"},
		"member with bad UTF-8":   {func(r *recoverycodesv1.RecoverRequest) { r.MemberId = "a\xff" }, "member_id"},
		"code missing":            {func(r *recoverycodesv1.RecoverRequest) { r.RecoveryCode = "" }, "recovery_code"},
		"code too long":           {func(r *recoverycodesv1.RecoverRequest) { r.RecoveryCode = strings.Repeat("x", maxCode+1) }, "recovery_code"},
		"code with bad UTF-8":     {func(r *recoverycodesv1.RecoverRequest) { r.RecoveryCode = "a\xff" }, "recovery_code"},
		"intermediate too long":   {func(r *recoverycodesv1.RecoverRequest) { r.IntermediateSessionToken = long }, "intermediate_session_token"},
		"token too long":          {func(r *recoverycodesv1.RecoverRequest) { r.SessionToken = long }, "session_token"},
		"JWT too long":            {func(r *recoverycodesv1.RecoverRequest) { r.SessionJwt = long }, "session_jwt"},
		"telemetry id too long":   {func(r *recoverycodesv1.RecoverRequest) { r.TelemetryId = long }, "telemetry_id"},
		"negative duration":       {func(r *recoverycodesv1.RecoverRequest) { r.SessionDurationMinutes = proto.Int32(-1) }, "session_duration_minutes"},
		"claims with NaN":         {claim(math.NaN()), "session_custom_claims"},
		"claims with an infinity": {claim(math.Inf(-1)), "session_custom_claims"},
		"claims of 4097 bytes":    {claim(strings.Repeat("x", maxClaims-len(`{"a":""}`)+1)), "session_custom_claims"},
		"claims 3,000 deep":       {claim(nested(3000)), "session_custom_claims"},
		"claims 65 deep":          {claim(nested(64)), "session_custom_claims"},
		"a reserved claim":        {func(r *recoverycodesv1.RecoverRequest) { r.SessionCustomClaims = object("exp", nil) }, "session_custom_claims.exp"},
	} {
		t.Run(name, func(t *testing.T) {
			request := base()
			test.change(request)
			record := call.New(call.GRPC, "")
			_, err := s.Recover(call.NewContext(t.Context(), record), request)
			e := apierror.From(err)
			if e.Code != codes.InvalidArgument || len(e.Violations) != 1 || e.Violations[0].Field != test.field {
				t.Errorf("%+v", e)
			}
			if record.Outcome != call.Refused {
				t.Errorf("outcome %q", record.Outcome)
			}
		})
	}
}

func claim(value any) func(*recoverycodesv1.RecoverRequest) {
	return func(r *recoverycodesv1.RecoverRequest) { r.SessionCustomClaims = object("a", value) }
}

func nested(depth int) any {
	var value any = "leaf"
	for range depth {
		value = []any{value}
	}
	return value
}

func object(name string, value any) *structpb.Struct {
	v, err := structpb.NewValue(value)
	if err != nil {
		panic(err) // a case of this file is wrong
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{name: v}}
}

// TestEveryHandleIsAccepted keeps validation from demanding what Stytch does not: ids, slugs and external ids pass, and
// so do claims of exactly the limit and codes in any script.
func TestEveryHandleIsAccepted(t *testing.T) {
	s, _ := newService(t, answering(200, string(documents.Recover())))
	for _, id := range []string{"organization-test-1", "a", "example~org.1_x", "ext|1-A", "...", strings.Repeat("x", 128)} {
		request := &recoverycodesv1.RecoverRequest{
			OrganizationId: id, MemberId: id, RecoveryCode: "ünïcode\t\u202e ",
			SessionDurationMinutes: proto.Int32(minSessionDuration),
			SessionCustomClaims:    object("a", strings.Repeat("<", maxClaims-len(`{"a":""}`))),
		}
		if _, err := s.Recover(t.Context(), request); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestEveryFieldOfARequestLeaves: what the contract has in a Recover reaches the upstream, under the name that the contract gives it.
func TestEveryFieldOfARequestLeaves(t *testing.T) {
	var sent map[string]json.RawMessage
	s, _ := newService(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			t.Error(err)
		}
		_, _ = w.Write(documents.Recover())
	})
	req := &recoverycodesv1.RecoverRequest{}
	fields := req.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		switch field := fields.Get(i); field.Kind() {
		case protoreflect.StringKind:
			req.ProtoReflect().Set(field, protoreflect.ValueOfString("x"))
		case protoreflect.Int32Kind:
			req.ProtoReflect().Set(field, protoreflect.ValueOfInt32(minSessionDuration))
		case protoreflect.MessageKind:
			claims := &structpb.Struct{Fields: map[string]*structpb.Value{"k": structpb.NewStringValue("v")}}
			req.ProtoReflect().Set(field, protoreflect.ValueOfMessage(claims.ProtoReflect()))
		default:
			t.Fatalf("%s: say here what a value of that kind is", field.Name())
		}
	}
	if _, err := s.Recover(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	for i := range fields.Len() {
		if name := string(fields.Get(i).Name()); sent[name] == nil {
			t.Errorf("%s does not reach the upstream", name)
		}
	}
}
