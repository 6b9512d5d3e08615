package apierror_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"recoverycodes.internal/server/internal/apierror"
)

const (
	ourPage    = "https://recoverycodes.internal/docs/errors#"
	stytchPage = "https://stytch.com/docs/api/errors/404#member_not_found"
)

// TestGRPCStatus compares the whole list of details, so that one that has nothing to say is an error as well.
func TestGRPCStatus(t *testing.T) {
	tests := []struct {
		name string
		err  apierror.Error
		want []any
	}{
		{
			name: "only what is required",
			err:  apierror.Error{Code: codes.Internal, Reason: apierror.Internal, Message: "internal error"},
			want: []any{&errdetails.ErrorInfo{
				Domain: "recoverycodes.internal", Reason: "INTERNAL",
				Metadata: map[string]string{"error_type": "internal", "error_url": ourPage + "internal"},
			}},
		},
		{
			name: "relayed",
			err: apierror.Error{
				Code: codes.NotFound, Domain: apierror.StytchDomain, Reason: "MEMBER_NOT_FOUND", Message: "No such member.",
				HTTP: 404, UpstreamStatus: 404, Type: "member_not_found", URL: stytchPage, RequestID: "request-id-test-1",
			},
			want: []any{
				&errdetails.ErrorInfo{
					Domain: "stytch.com", Reason: "MEMBER_NOT_FOUND",
					Metadata: map[string]string{
						"error_type": "member_not_found", "error_url": stytchPage,
						"http_status": "404", "request_id": "request-id-test-1",
					},
				},
				&errdetails.RequestInfo{RequestId: "request-id-test-1"},
			},
		},
		{
			name: "ours about what the upstream said",
			err: apierror.Error{
				Code: codes.Unknown, Reason: apierror.OutcomeUnknown, Message: "no verdict came back",
				UpstreamStatus: 503, Type: "server_unavailable", RequestID: "request-id-test-2",
				NeverRetry: true, Help: "Call Get.",
			},
			want: []any{
				&errdetails.ErrorInfo{
					Domain: "recoverycodes.internal", Reason: "OUTCOME_UNKNOWN",
					Metadata: map[string]string{
						"error_type": "server_unavailable", "error_url": ourPage + "outcome_unknown",
						"http_status": "503", "request_id": "request-id-test-2",
					},
				},
				&errdetails.RequestInfo{RequestId: "request-id-test-2"},
				&errdetails.Help{Links: []*errdetails.Help_Link{{Description: "Call Get.", Url: ourPage + "outcome_unknown"}}},
			},
		},
		{
			name: "the REST status alone is none of the upstream's",
			err:  apierror.Error{Code: codes.NotFound, Reason: apierror.RouteNotFound, Message: "no such path", HTTP: 404},
			want: []any{&errdetails.ErrorInfo{
				Domain: "recoverycodes.internal", Reason: "ROUTE_NOT_FOUND",
				Metadata: map[string]string{"error_type": "route_not_found", "error_url": ourPage + "route_not_found"},
			}},
		},
		{
			name: "retry hint",
			err: apierror.Error{
				Code: codes.Unavailable, Reason: apierror.NotSent, Message: "nothing was sent", RetryAfter: 1500 * time.Millisecond,
			},
			want: []any{
				&errdetails.ErrorInfo{
					Domain: "recoverycodes.internal", Reason: "NOT_SENT",
					Metadata: map[string]string{"error_type": "not_sent", "error_url": ourPage + "not_sent"},
				},
				&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
			},
		},
		{
			name: "a retry hint in the past is none",
			err:  apierror.Error{Code: codes.Unavailable, Reason: apierror.NotSent, Message: "nothing was sent", RetryAfter: -time.Second},
			want: []any{&errdetails.ErrorInfo{
				Domain: "recoverycodes.internal", Reason: "NOT_SENT",
				Metadata: map[string]string{"error_type": "not_sent", "error_url": ourPage + "not_sent"},
			}},
		},
		{
			name: "field violations",
			err: *apierror.Invalid(
				apierror.Violation{Field: "member_id", Description: "is required"},
				apierror.Violation{Field: "session_duration_minutes", Description: "want 5 to 527040"}),
			want: []any{
				&errdetails.ErrorInfo{
					Domain: "recoverycodes.internal", Reason: "INVALID_REQUEST",
					Metadata: map[string]string{"error_type": "invalid_request", "error_url": ourPage + "invalid_request"},
				},
				&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
					{Field: "member_id", Description: "is required"},
					{Field: "session_duration_minutes", Description: "want 5 to 527040"},
				}},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st, ok := status.FromError(&tt.err)
			if !ok {
				t.Fatal("the error is no status to gRPC")
			}
			if st.Code() != tt.err.Code || st.Message() != tt.err.Message {
				t.Errorf("the status is %v %q, want %v %q", st.Code(), st.Message(), tt.err.Code, tt.err.Message)
			}
			if diff := cmp.Diff(tt.want, st.Details(), protocmp.Transform()); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(st.Proto(), status.Convert(&tt.err).Proto(), protocmp.Transform()); diff != "" {
				t.Errorf("status.Convert differs from status.FromError:\n%s", diff)
			}
		})
	}
}

// TestGRPCStatusWithoutDetails is about details that cannot be marshalled.
func TestGRPCStatusWithoutDetails(t *testing.T) {
	err := &apierror.Error{Code: codes.Unknown, Reason: apierror.AnswerLost, Message: "the answer is lost", Help: "not UTF-8: \xff"}
	st := err.GRPCStatus()
	if st.Code() != codes.Unknown || st.Message() != "the answer is lost" {
		t.Errorf("the status is %v %q; its code and text must survive its details", st.Code(), st.Message())
	}
}

func TestErrorIsThePublicText(t *testing.T) {
	err := &apierror.Error{Code: codes.NotFound, Reason: "MEMBER_NOT_FOUND", Message: "No such member."}
	if got := err.Error(); got != "No such member." {
		t.Errorf("the text is %q", got)
	}
}

func TestPublic(t *testing.T) {
	tests := []struct {
		name              string
		err               apierror.Error
		wantType, wantURL string
	}{
		{"ours", apierror.Error{Reason: apierror.MalformedBody}, "malformed_body", ourPage + "malformed_body"},
		{"ours, said so", apierror.Error{Domain: apierror.Domain, Reason: apierror.NotSent}, "not_sent", ourPage + "not_sent"},
		{
			"Stytch's",
			apierror.Error{Domain: apierror.StytchDomain, Reason: "MEMBER_NOT_FOUND", Type: "member_not_found", URL: stytchPage},
			"member_not_found", stytchPage,
		},
		{
			"Stytch's without a page", apierror.Error{Domain: apierror.StytchDomain, Reason: "NEW_TYPE", Type: "new_type"},
			"new_type", ourPage + "new_type",
		},
		{
			"ours about Stytch's",
			apierror.Error{Reason: apierror.UpstreamCredentials, Type: "unauthorized_credentials", URL: stytchPage},
			"upstream_credentials", ourPage + "upstream_credentials",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.PublicType(); got != tt.wantType {
				t.Errorf("the type is %q, want %q", got, tt.wantType)
			}
			if got := tt.err.PublicURL(); got != tt.wantURL {
				t.Errorf("the address is %q, want %q", got, tt.wantURL)
			}
		})
	}
}

func TestIs(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", &apierror.Error{Reason: apierror.NotSent, Message: "no connection"})
	tests := []struct {
		name   string
		target error
		want   bool
	}{
		{"same reason", &apierror.Error{Reason: apierror.NotSent}, true},
		{"same reason, domain written out", &apierror.Error{Domain: apierror.Domain, Reason: apierror.NotSent}, true},
		{"another reason", &apierror.Error{Reason: apierror.Internal}, false},
		{"another domain", &apierror.Error{Domain: apierror.StytchDomain, Reason: apierror.NotSent}, false},
		{"another kind of error", context.Canceled, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := errors.Is(err, tt.target); got != tt.want {
				t.Errorf("errors.Is is %v, want %v", got, tt.want)
			}
		})
	}
}

// TestFromStripsTexts puts one marked text into every kind of error that is not ours.
func TestFromStripsTexts(t *testing.T) {
	const marked = "ckss-2skx-ebow"
	tests := []struct {
		name   string
		err    error
		code   codes.Code
		reason string
	}{
		{"Go error", errors.New(marked), codes.Internal, apierror.Internal},
		{
			"wrapped address", fmt.Errorf("get: %w", &url.Error{Op: "Get", URL: "https://test.stytch.com/" + marked, Err: context.Canceled}),
			codes.Internal, apierror.Internal,
		},
		{"status UNKNOWN", status.Error(codes.Unknown, marked), codes.Internal, apierror.Internal},
		{"status INTERNAL", status.Error(codes.Internal, marked), codes.Internal, apierror.Internal},
		{"status CANCELLED", status.Error(codes.Canceled, marked), codes.Canceled, apierror.Cancelled},
		{"status INVALID_ARGUMENT", status.Error(codes.InvalidArgument, marked), codes.InvalidArgument, apierror.InvalidRequest},
		{"status RESOURCE_EXHAUSTED", status.Error(codes.ResourceExhausted, marked), codes.ResourceExhausted, apierror.Internal},
		{"wrapped status", fmt.Errorf("%s: %w", marked, status.Error(codes.Unimplemented, marked)), codes.Unimplemented, apierror.Internal},
		{"status with details", detailed(t, marked), codes.NotFound, apierror.Internal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := apierror.From(tt.err)
			if got.Code != tt.code || got.Reason != tt.reason {
				t.Errorf("got %v %s, want %v %s", got.Code, got.Reason, tt.code, tt.reason)
			}
			if got.Message == "" {
				t.Error("there is no public text")
			}
			if got.NeverRetry || got.RetryAfter != 0 {
				t.Errorf("a stray error says about repetition: never %v, after %v", got.NeverRetry, got.RetryAfter)
			}
			// Both what the REST door reads and what gRPC puts on the wire.
			if text := fmt.Sprintf("%+v %v", *got, got.GRPCStatus().Proto()); strings.Contains(text, marked) {
				t.Errorf("the original's text came through: %s", text)
			}
		})
	}
}

func detailed(t *testing.T, text string) error {
	t.Helper()
	st, err := status.New(codes.NotFound, text).WithDetails(&errdetails.ErrorInfo{Reason: text})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// TestFromKeepsOurs would fail where a wrapped OUTCOME_UNKNOWN became INTERNAL, which proxies repeat.
func TestFromKeepsOurs(t *testing.T) {
	ours := &apierror.Error{Code: codes.Unknown, Reason: apierror.OutcomeUnknown, Message: "no verdict", NeverRetry: true}
	for name, err := range map[string]error{
		"as it is": ours,
		"wrapped":  fmt.Errorf("settle: %w", ours),
	} {
		if got := apierror.From(err); got != ours {
			t.Errorf("%s: got %+v, want the same value", name, got)
		}
	}
}

func TestInvalidNamesEveryField(t *testing.T) {
	fields := []string{"organization_id", "member_id", "recovery_code"}
	var violations []apierror.Violation
	for _, f := range fields {
		violations = append(violations, apierror.Violation{Field: f, Description: "is required"})
	}
	err := apierror.Invalid(violations...)
	if err.Code != codes.InvalidArgument || err.Reason != apierror.InvalidRequest {
		t.Errorf("got %v %s", err.Code, err.Reason)
	}
	if want := "organization_id: is required; member_id: is required; recovery_code: is required"; err.Message != want {
		t.Errorf("the text is %q, want %q", err.Message, want)
	}
	if diff := cmp.Diff(violations, err.Violations); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}
