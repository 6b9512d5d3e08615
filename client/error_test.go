package client_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

func statusOf(t *testing.T, code codes.Code, message string, details ...protoadapt.MessageV1) *status.Status {
	t.Helper()
	st := status.New(code, message)
	if len(details) == 0 {
		return st
	}
	st, err := st.WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// The statuses are what the service sends, or what a proxy makes, and the answers come over a real connection.
func TestError(t *testing.T) {
	tests := []struct {
		name   string
		status *status.Status
		want   client.Error
		stytch bool
	}{
		{
			"refused by Stytch",
			statusOf(t, codes.Unauthenticated, "wrong code",
				&errdetails.ErrorInfo{Domain: stytchDomain, Reason: "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE", Metadata: map[string]string{
					"error_type": "unable_to_authenticate_recovery_code", "error_url": "https://stytch.com/page", "http_status": "401", "request_id": "request-1",
				}},
				&errdetails.RequestInfo{RequestId: "request-1"}),
			client.Error{
				Code: codes.Unauthenticated, Message: "wrong code", Reason: "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE", Domain: stytchDomain,
				StytchType: "unable_to_authenticate_recovery_code", HTTPStatus: 401, RequestID: "request-1",
				Outcome: client.Refused, HelpURL: "https://stytch.com/page",
			}, true,
		},
		{
			"refused by the service",
			statusOf(t, codes.InvalidArgument, "two fields",
				&errdetails.ErrorInfo{Domain: serviceDomain, Reason: "INVALID_REQUEST", Metadata: map[string]string{
					"error_type": "invalid_request", "error_url": "https://recoverycodes.internal/page", "request_id": "call-1",
				}},
				&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
					{Field: "member_id", Description: "is empty"}, {Field: "recovery_code", Description: "is too long"},
				}}),
			client.Error{
				Code: codes.InvalidArgument, Message: "two fields", Reason: "INVALID_REQUEST", Domain: serviceDomain,
				RequestID: "call-1", Outcome: client.Refused, HelpURL: "https://recoverycodes.internal/page",
				Violations: []client.Violation{{Field: "member_id", Description: "is empty"}, {Field: "recovery_code", Description: "is too long"}},
			}, false,
		},
		{
			"the service's word on what Stytch said",
			statusOf(t, codes.Internal, "tell the operator",
				&errdetails.ErrorInfo{Domain: serviceDomain, Reason: "UPSTREAM_CREDENTIALS", Metadata: map[string]string{
					"error_type": "unauthorized_credentials", "http_status": "401",
				}}),
			client.Error{
				Code: codes.Internal, Message: "tell the operator", Reason: "UPSTREAM_CREDENTIALS", Domain: serviceDomain,
				StytchType: "unauthorized_credentials", HTTPStatus: 401, Outcome: client.Refused,
			}, false,
		},
		{
			"unknown, with a way out",
			statusOf(t, codes.Unknown, "not known",
				&errdetails.ErrorInfo{Domain: serviceDomain, Reason: "OUTCOME_UNKNOWN", Metadata: map[string]string{
					"error_type": "outcome_unknown", "error_url": "https://recoverycodes.internal/other", "http_status": "502",
				}},
				&errdetails.Help{Links: []*errdetails.Help_Link{
					{Description: "call Get", Url: "https://recoverycodes.internal/page"}, {Description: "or not", Url: "https://second"},
				}}),
			client.Error{
				Code: codes.Unknown, Message: "not known", Reason: "OUTCOME_UNKNOWN", Domain: serviceDomain, HTTPStatus: 502,
				Outcome: client.Unknown, Help: "call Get", HelpURL: "https://recoverycodes.internal/page",
			}, false,
		},
		{
			"not sent, and when to come back",
			statusOf(t, codes.ResourceExhausted, "later",
				&errdetails.ErrorInfo{Domain: serviceDomain, Reason: "NOT_SENT", Metadata: map[string]string{"error_type": "not_sent"}},
				&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)}),
			client.Error{
				Code: codes.ResourceExhausted, Message: "later", Reason: "NOT_SENT", Domain: serviceDomain,
				Outcome: client.NotSent, RetryAfter: 1500 * time.Millisecond,
			}, false,
		},
		{
			"made by a proxy",
			statusOf(t, codes.PermissionDenied, "no",
				&errdetails.ErrorInfo{Domain: "proxy.example", Reason: "DENIED", Metadata: map[string]string{"error_type": "denied", "http_status": "403"}},
				&errdetails.RetryInfo{RetryDelay: durationpb.New(-time.Second)}),
			client.Error{Code: codes.PermissionDenied, Message: "no", Outcome: client.Unknown}, false,
		},
		{
			"numbers that are none",
			statusOf(t, codes.NotFound, "no",
				&errdetails.ErrorInfo{Domain: stytchDomain, Reason: "MEMBER_NOT_FOUND", Metadata: map[string]string{"http_status": "4o4"}}),
			client.Error{
				Code: codes.NotFound, Message: "no", Reason: "MEMBER_NOT_FOUND", Domain: stytchDomain, Outcome: client.Refused,
			}, true,
		},
		{
			"only a status", statusOf(t, codes.Aborted, "no"),
			client.Error{Code: codes.Aborted, Message: "no", Outcome: client.Unknown}, false,
		},
	}
	for _, tt := range tests {
		srv := servicetest.Start(t, servicetest.Answering(func(context.Context) error { return tt.status.Err() }))
		c := newClient(t, srv.Addr, client.WithInsecure())
		for method, call := range rpcs {
			t.Run(tt.name+"/"+method, func(t *testing.T) {
				err := fmt.Errorf("sign in: %w", call(t.Context(), c))
				var got *client.Error
				if !errors.As(err, &got) {
					t.Fatalf("%T, want it to hold an Error", err)
				}
				tt.want.Method = method
				if diff := cmp.Diff(&tt.want, got, cmpopts.IgnoreUnexported(client.Error{})); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				if got.Stytch() != tt.stytch {
					t.Errorf("Stytch() = %v", got.Stytch())
				}
				if outcome := client.OutcomeOf(err, nil); outcome != got.Outcome {
					t.Errorf("OutcomeOf says %v, the Error %v", outcome, got.Outcome)
				}
				st, ok := status.FromError(got)
				if diff := cmp.Diff(tt.status.Proto(), st.Proto(), protocmp.Transform()); !ok || diff != "" {
					t.Errorf("the status has changed (-want +got)\n%s", diff)
				}
				if code := status.Code(err); code != tt.want.Code {
					t.Errorf("status.Code of what wraps it is %v, want %v", code, tt.want.Code)
				}
				var below interface{ GRPCStatus() *status.Status }
				if !errors.As(errors.Unwrap(got), &below) {
					t.Errorf("Unwrap is %T, want gRPC's own error", errors.Unwrap(got))
				}
			})
		}
	}
}

// An Error says the same of a real connection as OutcomeOf with the peer that gRPC filled in.
func TestErrorKnowsTheConnection(t *testing.T) {
	cutting := startScript(t, cut)
	gone := servicetest.Start(t, &servicetest.Service{})
	gone.Close()
	for _, tt := range []struct {
		name, addr string
		want       client.Outcome
	}{
		{"cut", cutting.srv.Addr, client.Unknown},
		{"nobody listens", gone.Addr, client.NotSent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, tt.addr, client.WithInsecure())
			var p peer.Peer
			_, err := c.Recover(t.Context(), &recoverycodesv1.RecoverRequest{}, grpc.Peer(&p))
			var failed *client.Error
			if !errors.As(err, &failed) || failed.Outcome != tt.want {
				t.Fatalf("Recover ended with %#v, want the outcome %v", err, tt.want)
			}
			if got := client.OutcomeOf(failed.Unwrap(), &p); got != tt.want {
				t.Errorf("OutcomeOf says %v of gRPC's error, want %v", got, tt.want)
			}
		})
	}
}

func TestOtherMethodsFailWithAnError(t *testing.T) {
	srv := servicetest.Start(t, &servicetest.Service{})
	srv.Close()
	c := newClient(t, srv.Addr, client.WithInsecure())
	_, healthErr := c.Health(t.Context())
	_, askErr := c.ResolveRecover(t.Context(), &recoverycodesv1.RecoverRequest{RecoveryCode: "code-one"})
	_, emptyErr := c.ResolveRecover(t.Context(), &recoverycodesv1.RecoverRequest{})
	for _, tt := range []struct {
		name, method string
		err          error
		code         codes.Code
		outcome      client.Outcome
	}{
		{"Health", "Check", healthErr, codes.Unavailable, client.NotSent},
		{"ResolveRecover", "Get", askErr, codes.Unavailable, client.NotSent},
		{"ResolveRecover without a code", "Get", emptyErr, codes.InvalidArgument, client.Refused},
	} {
		var failed *client.Error
		if !errors.As(tt.err, &failed) || failed.Method != tt.method || failed.Outcome != tt.outcome || status.Code(tt.err) != tt.code {
			t.Errorf("%s failed with %#v, want an Error of %s, %v, %v", tt.name, tt.err, tt.method, tt.code, tt.outcome)
		}
	}
}

func TestErrorText(t *testing.T) {
	for want, e := range map[string]*client.Error{
		"recovery codes: Recover: NotFound (MEMBER_NOT_FOUND): no such member (request id request-1)": {
			Method: "Recover", Code: codes.NotFound, Reason: "MEMBER_NOT_FOUND", Message: "no such member", RequestID: "request-1",
		},
		"recovery codes: Unavailable: no": {Code: codes.Unavailable, Message: "no"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("text %q, want %q", got, want)
		}
		if got := e.GRPCStatus(); got.Code() != e.Code || got.Message() != e.Message {
			t.Errorf("the status of an Error made by hand is %v", got)
		}
	}
}

// An interceptor's error of its own can be found below the Error.
func TestErrorOfAnInterceptor(t *testing.T) {
	errOwn := errors.New("not today")
	refuse := func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption) error {
		return errOwn
	}
	c := newClient(t, "127.0.0.1:1", client.WithInsecure(), client.WithDialOptions(grpc.WithUnaryInterceptor(refuse)))
	err := rpcs["Rotate"](t.Context(), c)
	var failed *client.Error
	if !errors.As(err, &failed) || failed.Code != codes.Unknown || failed.Outcome != client.NotSent || !errors.Is(err, errOwn) {
		t.Errorf("Rotate ended with %#v, want an Error, not sent, around the interceptor's", err)
	}
}
