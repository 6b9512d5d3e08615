package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

const (
	serviceDomain = "recoverycodes.internal"
	stytchDomain  = "stytch.com"
)

// saying is an error of code with one ErrorInfo.
func saying(t *testing.T, code codes.Code, domain, reason string) error {
	t.Helper()
	st, err := status.New(code, "no").WithDetails(&errdetails.ErrorInfo{Domain: domain, Reason: reason})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

func TestOutcomeOf(t *testing.T) {
	var (
		taken    = &peer.Peer{Addr: &net.TCPAddr{}}
		notTaken = &peer.Peer{}
		notAsked *peer.Peer
	)
	type outcomes struct{ taken, notTaken, notAsked client.Outcome }
	// all is for errors with a verdict, which counts whatever the connection has seen.
	all := func(o client.Outcome) outcomes { return outcomes{o, o, o} }
	onTheWay := outcomes{client.Unknown, client.NotSent, client.Unknown}

	tests := []struct {
		name string
		err  error
		want outcomes
	}{
		{"success", nil, all(client.Done)},

		{"shed", saying(t, codes.Unavailable, serviceDomain, "NOT_SENT"), all(client.NotSent)},
		{"shed by a limit", saying(t, codes.ResourceExhausted, serviceDomain, "NOT_SENT"), all(client.NotSent)},
		{"unknown", saying(t, codes.Unknown, serviceDomain, "OUTCOME_UNKNOWN"), all(client.Unknown)},
		{"answer lost", saying(t, codes.Unknown, serviceDomain, "ANSWER_LOST"), all(client.Unknown)},
		{"the reason comes before the code", saying(t, codes.NotFound, serviceDomain, "OUTCOME_UNKNOWN"), all(client.Unknown)},
		{"a defect of the service", saying(t, codes.Internal, serviceDomain, "INTERNAL"), all(client.Unknown)},
		{"a defect with another code", saying(t, codes.Unimplemented, serviceDomain, "INTERNAL"), all(client.Unknown)},

		{"bad input", saying(t, codes.InvalidArgument, serviceDomain, "INVALID_REQUEST"), all(client.Refused)},
		{"the service's own credentials", saying(t, codes.Internal, serviceDomain, "UPSTREAM_CREDENTIALS"), all(client.Refused)},
		{"rate", saying(t, codes.ResourceExhausted, serviceDomain, "RATE_LIMITED"), all(client.Refused)},
		{"wrong code", saying(t, codes.Unauthenticated, stytchDomain, "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE"), all(client.Refused)},
		{"no such member", saying(t, codes.NotFound, stytchDomain, "MEMBER_NOT_FOUND"), all(client.Refused)},
		{"no permission", saying(t, codes.PermissionDenied, stytchDomain, "UNAUTHORIZED_ACTION"), all(client.Refused)},
		{"inactive member", saying(t, codes.FailedPrecondition, stytchDomain, "INACTIVE"), all(client.Refused)},
		{"locked member", saying(t, codes.ResourceExhausted, stytchDomain, "USER_LOCK_LIMIT_REACHED"), all(client.Refused)},
		{"wrapped", fmt.Errorf("recover: %w", saying(t, codes.NotFound, stytchDomain, "MEMBER_NOT_FOUND")), all(client.Refused)},
		{"Stytch's INTERNAL is not the service's", saying(t, codes.FailedPrecondition, stytchDomain, "INTERNAL"), all(client.Refused)},

		{"Stytch cannot say what was sent", saying(t, codes.Unavailable, stytchDomain, "NOT_SENT"), all(client.Unknown)},
		{"unavailable is no refusal", saying(t, codes.Unavailable, serviceDomain, "UPSTREAM_FAILED"), all(client.Unknown)},
		{"a deadline is no refusal", saying(t, codes.DeadlineExceeded, serviceDomain, "UPSTREAM_TIMEOUT"), all(client.Unknown)},
		{"cancelled is no refusal", saying(t, codes.Canceled, serviceDomain, "CANCELLED"), all(client.Unknown)},
		{"aborted is no refusal", saying(t, codes.Aborted, serviceDomain, "SOMETHING"), all(client.Unknown)},

		{"a proxy's word for not sent", saying(t, codes.Unavailable, "proxy.example", "NOT_SENT"), onTheWay},
		{"a proxy's refusal", saying(t, codes.PermissionDenied, "proxy.example", "DENIED"), onTheWay},
		{"no domain", saying(t, codes.NotFound, "", "MEMBER_NOT_FOUND"), onTheWay},
		{"no status", errors.New("no"), onTheWay},
		{"the context's own error", context.DeadlineExceeded, onTheWay},
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		tests = append(tests, struct {
			name string
			err  error
			want outcomes
		}{"only the code " + code.String(), status.Error(code, "no"), onTheWay})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := outcomes{
				client.OutcomeOf(tt.err, taken), client.OutcomeOf(tt.err, notTaken), client.OutcomeOf(tt.err, notAsked),
			}
			if got != tt.want {
				t.Errorf("outcomes %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A proxy on the way can put its own detail before the service's.
func TestOutcomeOfSkipsForeignDetails(t *testing.T) {
	st, err := status.New(codes.Unavailable, "no").WithDetails(
		&errdetails.RequestInfo{RequestId: "request-1"},
		&errdetails.ErrorInfo{Domain: "proxy.example", Reason: "RELAYED"},
		&errdetails.ErrorInfo{Domain: serviceDomain, Reason: "NOT_SENT"},
	)
	if err != nil {
		t.Fatal(err)
	}
	if got := client.OutcomeOf(st.Err(), nil); got != client.NotSent {
		t.Errorf("outcome %v, want %v", got, client.NotSent)
	}
}

// The peer is gRPC's to fill in: here it does, with and without a connection.
func TestOutcomeOfRealConnections(t *testing.T) {
	refusing := servicetest.Start(t, servicetest.Answering(func(context.Context) error {
		return status.Error(codes.Unavailable, "no")
	}))
	gone := servicetest.Start(t, &servicetest.Service{})
	gone.Close()
	tests := []struct {
		name, addr string
		want       client.Outcome
	}{
		{"the call arrived", refusing.Addr, client.Unknown},
		{"nobody listens", gone.Addr, client.NotSent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClient(t, tt.addr, client.WithInsecure())
			var p peer.Peer
			_, err := c.Rotate(t.Context(), &recoverycodesv1.RotateRequest{}, grpc.Peer(&p))
			if status.Code(err) != codes.Unavailable {
				t.Fatalf("Rotate ended with %v, want UNAVAILABLE", err)
			}
			if got := client.OutcomeOf(err, &p); got != tt.want {
				t.Errorf("outcome %v, want %v", got, tt.want)
			}
		})
	}
}

func TestOutcomeNames(t *testing.T) {
	for outcome, want := range map[client.Outcome]string{
		client.Done: "done", client.Refused: "refused", client.NotSent: "not sent", client.Unknown: "unknown",
		client.Outcome(99): "unknown",
	} {
		if got := outcome.String(); got != want {
			t.Errorf("%d is called %q, want %q", int(outcome), got, want)
		}
	}
}
