package interceptor

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/audit"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/telemetry"
)

// Audit is how calls get into the audit log. Nil is for a server without one.
type Audit struct {
	Log         *audit.Log
	Fingerprint *audit.Fingerprinter
	// FailClosed refuses calls for whose lines there is no place.
	FailClosed bool
}

// name writes into the record whom the call is about.
func (a *Audit) name(ctx context.Context, req any, _ string) (context.Context, *apierror.Error) {
	if a == nil || a.Log == nil {
		return ctx, nil
	}
	record := call.FromContext(ctx)
	if named, ok := req.(interface {
		GetOrganizationId() string
		GetMemberId() string
	}); ok {
		record.Organization, record.Member = named.GetOrganizationId(), named.GetMemberId()
	}
	if proof, ok := req.(interface{ GetRecoveryCode() string }); ok {
		record.CodeFingerprint = a.Fingerprint.Code(proof.GetRecoveryCode())
	}
	return ctx, nil
}

// reserve keeps a place for the line of a call of the service, if the log must not miss one that is made.
func (a *Audit) reserve(ctx context.Context, _ any, method string) (context.Context, *apierror.Error) {
	if a == nil || !a.FailClosed || !telemetry.OfService(method) {
		return ctx, nil
	}
	record := call.FromContext(ctx)
	place, err := a.Log.Reserve()
	if err != nil {
		return ctx, refuse(record, &apierror.Error{
			Code: codes.Unavailable, Reason: apierror.NotSent, RetryAfter: time.Second, Limit: apierror.LimitAudit,
			Message: "calls cannot be recorded now; nothing was sent",
		})
	}
	record.Place = place // whoever writes the line gives it back
	return ctx, nil
}
