package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"recoverycodes.internal/client/internal/servicetest"
)

// The domains of what the service says itself, and of what it relays.
const (
	ownDomain      = "recoverycodes.internal"
	upstreamDomain = "stytch.com"
)

func reason(domain, reason string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Domain: domain, Reason: reason}
}

func failure(t *testing.T, code codes.Code, message string, details ...protoadapt.MessageV1) error {
	t.Helper()
	st, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

func TestExitCodesOfErrors(t *testing.T) {
	tests := []struct {
		name        string
		code        codes.Code
		info        *errdetails.ErrorInfo
		get, effect exitCode // of get, and of both rotate and recover
	}{
		{"bad input", codes.InvalidArgument, reason(ownDomain, "INVALID_REQUEST"), exitFailed, exitFailed},
		{"no such member", codes.NotFound, reason(upstreamDomain, "MEMBER_NOT_FOUND"), exitFailed, exitFailed},
		{"wrong code", codes.Unauthenticated, reason(upstreamDomain, "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE"), exitFailed, exitFailed},
		{"no permission, said by a proxy", codes.PermissionDenied, nil, exitFailed, exitUnknown},
		{"not implemented, said by a proxy", codes.Unimplemented, nil, exitFailed, exitUnknown},
		{"locked member", codes.ResourceExhausted, reason(upstreamDomain, "USER_LOCK_LIMIT_REACHED"), exitFailed, exitFailed},
		{"the service's own credentials", codes.Internal, reason(ownDomain, "UPSTREAM_CREDENTIALS"), exitFailed, exitFailed},
		{"a defect of the service", codes.Internal, reason(ownDomain, "INTERNAL"), exitFailed, exitUnknown},
		{"shed", codes.Unavailable, reason(ownDomain, "NOT_SENT"), exitNotSent, exitNotSent},
		{"shed by a limit", codes.ResourceExhausted, reason(ownDomain, "NOT_SENT"), exitNotSent, exitNotSent},
		{"unknown", codes.Unknown, reason(ownDomain, "OUTCOME_UNKNOWN"), exitFailed, exitUnknown},
		{"answer lost", codes.Unknown, reason(ownDomain, "ANSWER_LOST"), exitFailed, exitUnknown},
		{"the reason is clearer than the code", codes.Internal, reason(ownDomain, "OUTCOME_UNKNOWN"), exitFailed, exitUnknown},
		{"Stytch cannot say what was sent", codes.Unavailable, reason(upstreamDomain, "NOT_SENT"), exitNotSent, exitUnknown},
		{"unavailable, said by a proxy", codes.Unavailable, nil, exitNotSent, exitUnknown},
		{"deadline", codes.DeadlineExceeded, nil, exitNotSent, exitUnknown},
		{"cancelled", codes.Canceled, nil, exitNotSent, exitUnknown},
		{"internal, said by a proxy", codes.Internal, nil, exitFailed, exitUnknown},
		{"exhausted, said by a proxy", codes.ResourceExhausted, nil, exitFailed, exitUnknown},
		{"unknown without a reason", codes.Unknown, nil, exitFailed, exitUnknown},
		{"aborted", codes.Aborted, nil, exitFailed, exitUnknown},
		{"data loss", codes.DataLoss, nil, exitFailed, exitUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // Get pauses before it is tried again
			err := status.Error(tt.code, "no")
			if tt.info != nil {
				err = failure(t, tt.code, "no", tt.info)
			}
			addr := servicetest.Start(t, servicetest.Answering(func(context.Context) error { return err })).Addr
			for command, want := range map[string]exitCode{"get": tt.get, "rotate": tt.effect, "recover": tt.effect} {
				got := invocation{stdin: "code-one\n"}.run(t, command, "o", "m", "--server", addr)
				if got.code != want {
					t.Errorf("%s: exit code %d, want %d", command, got.code, want)
				}
				if advised := strings.Contains(got.stderr, "Do not repeat it"); advised != (want == exitUnknown) {
					t.Errorf("%s: advice not to repeat is %v with exit code %d", command, advised, want)
				}
				if advised := strings.Contains(got.stderr, "safe to try again"); advised != (want == exitNotSent) {
					t.Errorf("%s: advice to try again is %v with exit code %d", command, advised, want)
				}
			}
		})
	}
}

// hang is a handler that ends with its call.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// What gRPC says of a connection depends on whether a call was on it.
func TestExitCodesOfBrokenConnections(t *testing.T) {
	tests := []struct {
		name        string
		server      func(t *testing.T) string
		timeout     string
		get, effect exitCode
	}{
		{"nobody listens", func(t *testing.T) string {
			srv := servicetest.Start(t, &servicetest.Service{})
			srv.Close()
			return srv.Addr
		}, "10s", exitNotSent, exitNotSent},
		{"nobody answers before the deadline", silence, "100ms", exitNotSent, exitNotSent},
		{"the connection is cut during the call", func(t *testing.T) string {
			var srv *servicetest.Server
			ready := make(chan struct{})
			srv = servicetest.Start(t, servicetest.Answering(func(ctx context.Context) error {
				<-ready
				srv.Cut()
				return hang(ctx)
			}))
			close(ready)
			return srv.Addr
		}, "10s", exitNotSent, exitUnknown},
	}
	for _, tt := range tests {
		for command, want := range map[string]exitCode{"get": tt.get, "rotate": tt.effect, "recover": tt.effect} {
			t.Run(tt.name+"/"+command, func(t *testing.T) {
				t.Parallel() // most of it is waiting
				got := invocation{stdin: "code-one\n"}.run(t, command, "o", "m", "--server", tt.server(t), "--timeout", tt.timeout)
				if got.code != want {
					t.Errorf("exit code %d, want %d: %s", got.code, want, got.stderr)
				}
			})
		}
	}
}

func TestCallGivenUpOnThisSide(t *testing.T) {
	tests := []struct {
		name      string
		interrupt bool
		args      []string
	}{
		{"interrupted", true, nil},
		{"deadline", false, []string{"--timeout", "2s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			addr := servicetest.Start(t, servicetest.Answering(func(ctx context.Context) error {
				if tt.interrupt {
					interrupt()
				}
				return hang(ctx)
			})).Addr
			var stderr strings.Builder
			args := append([]string{"rotate", "o", "m", "--server", addr}, tt.args...)
			code := run(ctx, args, func(string) string { return "" }, strings.NewReader(""), io.Discard, &stderr)
			if exitCode(code) != exitUnknown {
				t.Errorf("exit code %d, want %d: %s", code, exitUnknown, stderr.String())
			}
		})
	}
}

func TestErrorText(t *testing.T) {
	twoFields := &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "member_id", Description: "is empty"},
		{Field: "session_duration_minutes", Description: "is under 5"},
	}}
	tests := []struct {
		name    string
		code    codes.Code
		message string
		details []protoadapt.MessageV1
		want    string
	}{
		{
			"everything there is", codes.InvalidArgument, "the request is not valid",
			[]protoadapt.MessageV1{
				reason(ownDomain, "INVALID_REQUEST"),
				&errdetails.RequestInfo{RequestId: "request-9"},
				twoFields,
			},
			`recoverycodes: recover: INVALID_ARGUMENT (INVALID_REQUEST): the request is not valid
member_id: is empty
session_duration_minutes: is under 5
request id: request-9
`,
		},
		{
			"violations that the message lists", codes.InvalidArgument, "member_id: is empty; session_duration_minutes: is under 5",
			[]protoadapt.MessageV1{reason(ownDomain, "INVALID_REQUEST"), twoFields},
			`recoverycodes: recover: INVALID_ARGUMENT (INVALID_REQUEST): member_id: is empty; session_duration_minutes: is under 5
`,
		},
		{
			"violations that the message lists in part", codes.InvalidArgument, "member_id: is empty",
			[]protoadapt.MessageV1{reason(ownDomain, "INVALID_REQUEST"), twoFields},
			`recoverycodes: recover: INVALID_ARGUMENT (INVALID_REQUEST): member_id: is empty
member_id: is empty
session_duration_minutes: is under 5
`,
		},
		{
			"request id in the ErrorInfo", codes.NotFound, "no such member",
			[]protoadapt.MessageV1{&errdetails.ErrorInfo{
				Domain: upstreamDomain, Reason: "MEMBER_NOT_FOUND", Metadata: map[string]string{"request_id": "request-9"},
			}},
			`recoverycodes: recover: NOT_FOUND (MEMBER_NOT_FOUND): no such member
request id: request-9
`,
		},
		{
			"when to try again", codes.Unavailable, "too many calls",
			[]protoadapt.MessageV1{
				reason(ownDomain, "NOT_SENT"),
				&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
			},
			`recoverycodes: recover: UNAVAILABLE (NOT_SENT): too many calls
not before: 1.5s from now
Nothing was changed; it is safe to try again.
`,
		},
		{
			"no details", codes.Unknown, "unknown",
			nil,
			`recoverycodes: recover: UNKNOWN: unknown
server: ADDRESS
It may have taken effect. Do not repeat it: wait half a minute, then ask with resolve whether the code was spent.
`,
		},
		{
			"bytes that steer a terminal", codes.NotFound, "one\ntwo\x1b[2J\u202e",
			[]protoadapt.MessageV1{reason(upstreamDomain, "GONE")},
			"recoverycodes: recover: NOT_FOUND (GONE): one\ntwo\ufffd[2J\ufffd\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := status.Error(tt.code, tt.message)
			if tt.details != nil {
				err = failure(t, tt.code, tt.message, tt.details...)
			}
			addr := servicetest.Start(t, servicetest.Answering(func(context.Context) error { return err })).Addr
			got := invocation{stdin: "code-one\n"}.run(t, "recover", "o", "m", "--server", addr)
			if got.stdout != "" {
				t.Errorf("output %q, want none", got.stdout)
			}
			if text := strings.ReplaceAll(got.stderr, addr, "ADDRESS"); text != tt.want {
				t.Errorf("errors:\n%s\nwant:\n%s", text, tt.want)
			}
		})
	}
}

// The code is hidden in what the other side wrote, and only there.
func TestErrorTextHidesTheCode(t *testing.T) {
	// request-c0de and WRONG_c0de stand for words that happen to contain the code: they are left whole.
	refusal := func(code string) error {
		return failure(t, codes.InvalidArgument, "the code "+code+" is wrong",
			reason(ownDomain, "WRONG_c0de"),
			&errdetails.RequestInfo{RequestId: "request-c0de"},
			&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
				{Field: "recovery_code", Description: "is " + code},
			}},
		)
	}
	tests := []struct{ name, code, want string }{
		{"a code", "code-one", `recoverycodes: recover: INVALID_ARGUMENT (WRONG_c0de): the code [hidden] is wrong
recovery_code: is [hidden]
request id: request-c0de
`},
		{"four bytes", "c0de", `recoverycodes: recover: INVALID_ARGUMENT (WRONG_c0de): the code [hidden] is wrong
recovery_code: is [hidden]
request id: request-c0de
`},
		{"a word of the program's own", "recover", `recoverycodes: recover: INVALID_ARGUMENT (WRONG_c0de): the code [hidden] is wrong
recovery_code: is [hidden]
request id: request-c0de
`},
		{"three bytes", "c0d", `recoverycodes: recover: INVALID_ARGUMENT (WRONG_c0de): the code c0d is wrong
recovery_code: is c0d
request id: request-c0de
`},
		{"one byte", "c", `recoverycodes: recover: INVALID_ARGUMENT (WRONG_c0de): the code c is wrong
recovery_code: is c
request id: request-c0de
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr := servicetest.Start(t, servicetest.Answering(func(context.Context) error { return refusal(tt.code) })).Addr
			got := invocation{stdin: tt.code + "\n"}.run(t, "recover", "o", "m", "--server", addr)
			if got.stderr != tt.want {
				t.Errorf("errors:\n%s\nwant:\n%s", got.stderr, tt.want)
			}
		})
	}
}

// So are the tokens that came with it.
func TestErrorTextHidesTokens(t *testing.T) {
	addr := servicetest.Start(t, servicetest.Answering(func(context.Context) error {
		return failure(t, codes.InvalidArgument, "token-two and jwt-three go ill with code-one", reason(ownDomain, "INVALID_REQUEST"))
	})).Addr
	got := invocation{stdin: "code-one\ntoken-two\njwt-three\n"}.run(t, "recover", "o", "m", "--server", addr,
		"--with", "session-token", "--with", "session-jwt")
	want := "recoverycodes: recover: INVALID_ARGUMENT (INVALID_REQUEST): [hidden] and [hidden] go ill with [hidden]\n"
	if got.stderr != want {
		t.Errorf("errors %q, want %q", got.stderr, want)
	}
}
