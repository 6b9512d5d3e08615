package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"recoverycodes.internal/client/internal/servicetest"
	organizationsv1 "recoverycodes.internal/gen/go/stytch/b2b/organizations/v1"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	sessionsv1 "recoverycodes.internal/gen/go/stytch/b2b/sessions/v1"
)

type result struct {
	code           exitCode
	stdout, stderr string
}

// invocation runs the program; the zero value has an empty environment and an empty standard input.
type invocation struct {
	env   map[string]string
	stdin string
}

func (i invocation) run(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr strings.Builder
	getenv := func(name string) string { return i.env[name] }
	code := run(t.Context(), args, getenv, strings.NewReader(i.stdin), &stdout, &stderr)
	return result{exitCode(code), stdout.String(), stderr.String()}
}

// answering returns a Service that answers every method with success.
func answering() *servicetest.Service {
	organization := &organizationsv1.Organization{OrganizationId: "organization-1"}
	codes := []string{"code-one", "code-two"}
	return &servicetest.Service{
		OnGet: func(context.Context, *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
			return &recoverycodesv1.GetResponse{
				RequestId: "request-1", MemberId: "member-1", Organization: organization, RecoveryCodes: codes, StatusCode: 200,
			}, nil
		},
		OnRotate: func(context.Context, *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error) {
			return &recoverycodesv1.RotateResponse{
				RequestId: "request-2", MemberId: "member-1", Organization: organization, RecoveryCodes: codes, StatusCode: 200,
			}, nil
		},
		OnRecover: func(context.Context, *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
			return &recoverycodesv1.RecoverResponse{
				RequestId: "request-3", MemberId: "member-1", Organization: organization, StatusCode: 200,
				SessionToken: "token-one", SessionJwt: "jwt-one",
				MemberSession: &sessionsv1.MemberSession{ExpiresAt: &timestamppb.Timestamp{Seconds: 1_700_000_000}},
			}, nil
		},
	}
}

func TestJSON(t *testing.T) {
	svc := answering()
	svc.OnGet = func(context.Context, *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
		return &recoverycodesv1.GetResponse{RequestId: "request-1", RecoveryCodes: []string{"code-one", "code-two"}}, nil
	}
	addr := servicetest.Start(t, svc).Addr
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"get", "o", "m"}, `{
  "request_id": "request-1",
  "member_id": "",
  "recovery_codes": [
    "[hidden]",
    "[hidden]"
  ],
  "status_code": 0
}
`},
		{[]string{"get", "o", "m", "--show-codes"}, `{
  "request_id": "request-1",
  "member_id": "",
  "recovery_codes": [
    "code-one",
    "code-two"
  ],
  "status_code": 0
}
`},
		{[]string{"health"}, "{\n  \"status\": \"SERVING\"\n}\n"},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			// A pipe or a file is not a terminal: JSON without asking.
			for _, format := range [][]string{nil, {"-o", "json"}} {
				got := invocation{}.run(t, append(append(tt.args, "--server", addr), format...)...)
				if diff := cmp.Diff(result{exitDone, tt.want, ""}, got, cmp.AllowUnexported(result{})); diff != "" {
					t.Errorf("format %v (-want +got)\n%s", format, diff)
				}
			}
		})
	}
}

func TestRequests(t *testing.T) {
	seen := make(chan proto.Message, 1)
	svc := answering()
	get, rotate, recovery := svc.OnGet, svc.OnRotate, svc.OnRecover
	svc.OnGet = func(ctx context.Context, req *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
		seen <- req
		return get(ctx, req)
	}
	svc.OnRotate = func(ctx context.Context, req *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error) {
		seen <- req
		return rotate(ctx, req)
	}
	svc.OnRecover = func(ctx context.Context, req *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
		seen <- req
		return recovery(ctx, req)
	}
	addr := servicetest.Start(t, svc).Addr
	tests := []struct {
		name  string
		stdin string
		args  []string
		want  proto.Message
	}{
		{"get", "", []string{"get", "o", "m"}, &recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: "m"}},
		{"rotate", "", []string{"rotate", "o", "m"}, &recoverycodesv1.RotateRequest{OrganizationId: "o", MemberId: "m"}},
		{"recover", "code-one\n", []string{"recover", "o", "m"},
			&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "code-one"}},
		{"recover with a duration", "code-one\n", []string{"recover", "o", "m", "--session-duration", "30"},
			&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "code-one", SessionDurationMinutes: proto.Int32(30)}},
		{"no line end", "code-one", []string{"recover", "o", "m"},
			&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "code-one"}},
		{"line end of another system", "code-one\r\n", []string{"recover", "o", "m"},
			&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "code-one"}},
		{"only the first line", " code one \ncode-two\n", []string{"recover", "o", "m"},
			&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: " code one "}},
		{"recover with tokens", "code-one\njwt-one\ntoken-one\r\n", []string{"recover", "o", "m", "--with", "session-jwt,intermediate-session-token"},
			&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "code-one",
				SessionJwt: proto.String("jwt-one"), IntermediateSessionToken: proto.String("token-one")}},
		{"recover with the other token", "code-one\ntoken-one", []string{"recover", "o", "m", "--with", "session-token"},
			&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "code-one", SessionToken: proto.String("token-one")}},
		{"the longest token", "code-one\n" + strings.Repeat("t", 16<<10) + "\r\n", []string{"recover", "o", "m", "--with", "session-token"},
			&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: "code-one", SessionToken: proto.String(strings.Repeat("t", 16<<10))}},
		{"resolve", "code-one\n", []string{"resolve", "o", "m"}, &recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: "m"}},
		{"the longest code", strings.Repeat("c", recoveryCode.limit) + "\r\n", []string{"recover", "o", "m"},
			&recoverycodesv1.RecoverRequest{OrganizationId: "o", MemberId: "m", RecoveryCode: strings.Repeat("c", recoveryCode.limit)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := invocation{stdin: tt.stdin}.run(t, append(tt.args, "--server", addr)...)
			if got.code != exitDone {
				t.Fatalf("exit code %d: %s", got.code, got.stderr)
			}
			if diff := cmp.Diff(tt.want, <-seen, protocmp.Transform()); diff != "" {
				t.Errorf("request (-want +got)\n%s", diff)
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	svc := answering()
	addr := servicetest.Start(t, svc).Addr
	noPEM := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(noPEM, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		stdin string
		args  []string
		want  string // what the message names
	}{
		{"no command", "", nil, "get"},
		{"unknown command", "", []string{"spend", "o", "m"}, "no such command"},
		{"a code for a command", "", []string{"code-one"}, "no such command"},
		{"member missing", "", []string{"get", "o"}, "member"},
		{"code as an argument", "", []string{"recover", "o", "m", "code-one"}, "standard input"},
		{"code as an argument, and on standard input", "code-one\n", []string{"recover", "o", "m", "code-one"}, "standard input"},
		{"code as an argument elsewhere", "", []string{"get", "o", "m", "code-one"}, "standard input"},
		{"code as a flag", "", []string{"recover", "o", "m", "--code=code-one"}, "--code"},
		{"code as a short flag", "", []string{"recover", "o", "m", "-c", "code-one"}, "-c"},
		{"no code", "", []string{"recover", "o", "m"}, "no recovery code"},
		{"an empty line for a code", "\ncode-one\n", []string{"recover", "o", "m"}, "no recovery code"},
		{"a file for a code", strings.Repeat("c", recoveryCode.limit+1), []string{"recover", "o", "m"}, "4096"},
		{"no such format", "", []string{"get", "o", "m", "-o", "yaml"}, "output"},
		{"no time", "", []string{"get", "o", "m", "--timeout", "0s"}, "timeout"},
		{"duration is no number", "", []string{"recover", "o", "m", "--session-duration", "long"}, "session-duration"},
		{"a token as an argument", "", []string{"recover", "o", "m", "--with", "code-one"}, "--with must be one of"},
		{"the same token twice", "code-one\n", []string{"recover", "o", "m", "--with", "session-jwt", "--with", "session-jwt"}, "session-jwt is given twice"},
		{"no token", "code-one\n", []string{"recover", "o", "m", "--with", "session-jwt"}, "no session jwt"},
		{"a file for a token", "code-one\n" + strings.Repeat("c", 16<<10+1), []string{"recover", "o", "m", "--with", "session-token"}, "16384"},
		{"no code to resolve", "", []string{"resolve", "o", "m"}, "no recovery code"},
		{"code to resolve as an argument", "", []string{"resolve", "o", "m", "code-one"}, "standard input"},
		{"a certificate without its key", "", []string{"get", "o", "m", "--client-certificate", noPEM}, "--client-key"},
		{"a key without its certificate", "", []string{"get", "o", "m", "--client-key", noPEM}, "--client-certificate"},
		{"no certificate to show in the file", "", []string{"get", "o", "m", "--client-certificate", noPEM, "--client-key", noPEM}, "--client-certificate, --client-key: "},
		{"no such token file", "", []string{"get", "o", "m", "--token-file", "/nonexistent"}, "--token-file: "},
		{"no token in the file", "", []string{"get", "o", "m", "--token-file", noPEM}, "--token-file: "},
		{"plaintext with a certificate", "", []string{"get", "o", "m", "--plaintext", "--client-certificate", noPEM, "--client-key", noPEM}, "--client-certificate"},
		{"a mesh with roots", "", []string{"get", "o", "m", "--mesh", "--ca-file", noPEM}, "--ca-file"},
		{"a mesh without plaintext", "", []string{"get", "o", "m", "--mesh", "--no-plaintext"}, "--no-plaintext"},
		{"plaintext with roots", "", []string{"get", "o", "m", "--plaintext", "--ca-file", noPEM}, "--ca-file"},
		{"no such file", "", []string{"get", "o", "m", "--ca-file", "/nonexistent"}, "--ca-file"},
		{"no certificate in the file", "", []string{"get", "o", "m", "--ca-file", noPEM}, "--ca-file"},
		{"a URL for a server", "", []string{"get", "o", "m", "--server", "https://localhost:50051"}, "--server: wants host:port"},
		{"malformed server", "", []string{"get", "o", "m", "--server", "dns:///%zz"}, "dns:///%zz"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{"RECOVERYCODES_SERVER": addr}
			got := invocation{env: env, stdin: tt.stdin}.run(t, tt.args...)
			if got.code != exitUsage || got.stdout != "" {
				t.Errorf("exit code %d, output %q, want %d and none", got.code, got.stdout, exitUsage)
			}
			if !strings.Contains(got.stderr, tt.want) {
				t.Errorf("message %q does not name %q", got.stderr, tt.want)
			}
			if strings.Contains(got.stderr, "code-one") {
				t.Errorf("message %q tells the code", got.stderr)
			}
		})
	}
	for _, method := range []string{"Get", "Recover", "Rotate"} {
		if n := svc.Runs(method); n != 0 {
			t.Errorf("%s was called %d times", method, n)
		}
	}
}

func TestHelpNamesEveryExitCode(t *testing.T) {
	got := invocation{}.run(t, "--help")
	if got.code != exitDone || got.stderr != "" {
		t.Fatalf("exit code %d, errors %q", got.code, got.stderr)
	}
	for _, code := range []exitCode{exitDone, exitFailed, exitUsage, exitNotSent, exitUnknown, exitInactive} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^ +%d  \w`, code)).MatchString(got.stdout) {
			t.Errorf("exit code %d is not explained", code)
		}
	}
	for _, word := range []string{"get", "rotate", "recover", "resolve", "health", "$RECOVERYCODES_SERVER", defaultServer, "35s", "on this machine", "--show-codes"} {
		if !strings.Contains(got.stdout, word) {
			t.Errorf("%q is not mentioned", word)
		}
	}
}

func TestNotServing(t *testing.T) {
	srv := servicetest.Start(t, answering())
	srv.Health.SetServingStatus(recoverycodesv1.RecoveryCodesService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_NOT_SERVING)
	got := invocation{}.run(t, "health", "--server", srv.Addr, "-o", "table")
	if got.code != exitNotSent || got.stdout != "status  NOT_SERVING\n" || got.stderr == "" {
		t.Errorf("got %+v, want exit code %d, the status, and an error", got, exitNotSent)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("pipe is broken") }

// An answer that nobody can read leaves the effect behind.
func TestAnswerCannotBeWritten(t *testing.T) {
	addr := servicetest.Start(t, answering()).Addr
	for command, want := range map[string]exitCode{"get": exitFailed, "rotate": exitUnknown, "recover": exitUnknown} {
		var stderr strings.Builder
		args := []string{command, "o", "m", "--server", addr}
		code := run(t.Context(), args, func(string) string { return "" }, strings.NewReader("code-one\n"), brokenWriter{}, &stderr)
		if exitCode(code) != want || !strings.Contains(stderr.String(), "pipe is broken") {
			t.Errorf("%s: exit code %d, want %d: %s", command, code, want, stderr.String())
		}
	}
}

func TestInterruptedBeforeTheCode(t *testing.T) {
	svc := answering()
	addr := servicetest.Start(t, svc).Addr
	stdin, nobody := io.Pipe()
	defer func() { _ = nobody.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr strings.Builder
	code := run(ctx, []string{"recover", "o", "m", "--server", addr}, func(string) string { return "" }, stdin, io.Discard, &stderr)
	if exitCode(code) != exitNotSent || svc.Runs("Recover") != 0 {
		t.Errorf("exit code %d after %d calls, want %d after none: %s", code, svc.Runs("Recover"), exitNotSent, stderr.String())
	}
}

// silence is a server that accepts and never says anything.
func silence(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	return lis.Addr().String() // the kernel accepts in its place
}
