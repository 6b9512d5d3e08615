package client_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

func TestResolveRecover(t *testing.T) {
	const code = "aaaa-bbbb-cccc"
	notFound := saying(t, codes.NotFound, stytchDomain, "MEMBER_NOT_FOUND")
	tests := []struct {
		name     string
		code     string
		active   []string
		err      error
		want     client.CodeState
		wantCode codes.Code
	}{
		{"listed", code, []string{"dddd-eeee-ffff", code}, nil, client.CodeActive, codes.OK},
		{"not listed", code, []string{"dddd-eeee-ffff"}, nil, client.CodeInactive, codes.OK},
		{"none left", code, nil, nil, client.CodeInactive, codes.OK},
		{"part of another", code, []string{code + "-dddd"}, nil, client.CodeInactive, codes.OK},
		{"Get fails", code, nil, notFound, client.CodeUnknown, codes.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked := make(chan *recoverycodesv1.GetRequest, 1)
			svc := &servicetest.Service{
				OnGet: func(_ context.Context, req *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
					asked <- req
					return &recoverycodesv1.GetResponse{RecoveryCodes: tt.active}, tt.err
				},
			}
			c := newClient(t, servicetest.Start(t, svc).Addr, client.WithInsecure())
			got, err := c.ResolveRecover(t.Context(), &recoverycodesv1.RecoverRequest{
				OrganizationId: "org-1", MemberId: "member-1", RecoveryCode: tt.code,
			})
			if got != tt.want || status.Code(err) != tt.wantCode {
				t.Errorf("ResolveRecover() = %v, %v, want %v and %v", got, err, tt.want, tt.wantCode)
			}
			if err != nil && strings.Contains(err.Error(), code) {
				t.Errorf("the error %q tells the code", err)
			}
			if req := <-asked; req.GetOrganizationId() != "org-1" || req.GetMemberId() != "member-1" {
				t.Errorf("Get was asked for %v, want the lost request's member", req)
			}
			if got := svc.Runs("Recover"); got != 0 {
				t.Errorf("Recover ran %d times, want 0", got)
			}
		})
	}
}

// Without a code to look for, every list would say that it is inactive.
func TestResolveRecoverWantsACode(t *testing.T) {
	svc := &servicetest.Service{}
	c := newClient(t, servicetest.Start(t, svc).Addr, client.WithInsecure())
	got, err := c.ResolveRecover(t.Context(), &recoverycodesv1.RecoverRequest{OrganizationId: "org-1", MemberId: "member-1"})
	if got != client.CodeUnknown || err == nil || !strings.Contains(err.Error(), "recovery_code") {
		t.Errorf("ResolveRecover() = %v, %v, want an error that names recovery_code", got, err)
	}
	if got := svc.Runs("Get"); got != 0 {
		t.Errorf("Get ran %d times, want 0", got)
	}
}

func TestCodeStateNames(t *testing.T) {
	for state, want := range map[client.CodeState]string{
		client.CodeActive: "active", client.CodeInactive: "inactive", client.CodeUnknown: "unknown", client.CodeState(99): "unknown",
	} {
		if got := state.String(); got != want {
			t.Errorf("%d is called %q, want %q", int(state), got, want)
		}
	}
}
