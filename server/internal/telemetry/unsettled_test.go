package telemetry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/telemetry"
)

// TestUnsettledIsKept tells of one call of each outcome. Whom they were about must not be kept, and replays are no news.
func TestUnsettledIsKept(t *testing.T) {
	o, _ := observed()
	tell := func(outcome call.Outcome, more func(*call.Call), err *apierror.Error) {
		o.Ended(record(call.GRPC, service+"Recover", func(r *call.Call) {
			r.Outcome, r.Caller, r.Organization, r.Member = outcome, "login-web", "organization-1", "member-1"
			if more != nil {
				more(r)
			}
		}), err)
	}
	for _, outcome := range []call.Outcome{"", call.Done, call.Refused, call.NotSent, call.Failed} {
		tell(outcome, nil, nil)
	}
	tell(call.Unknown, func(r *call.Call) { r.Replayed = true }, nil)
	tell(call.Unknown, func(r *call.Call) { r.GaveUp = true }, nil)
	if got := o.Unsettled(); len(got) != 0 {
		t.Errorf("kept are %+v", got)
	}
	tell(call.Unknown, func(r *call.Call) { r.UpstreamFault = "timeout" }, &apierror.Error{Code: codes.Unknown, Reason: apierror.OutcomeUnknown})
	tell(call.Lost, func(r *call.Call) { r.UpstreamStatus, r.UpstreamRequestID = 200, "request-id-test-1" }, nil)
	want := []telemetry.Unsettled{
		{Method: "Recover", Door: call.GRPC, Caller: "login-web", Outcome: call.Lost, RequestID: "request-id-1", StytchRequestID: "request-id-test-1", Status: 200},
		{Method: "Recover", Door: call.GRPC, Caller: "login-web", Outcome: call.Unknown, Reason: apierror.OutcomeUnknown, RequestID: "request-id-1", Fault: "timeout"},
	}
	got := o.Unsettled()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(telemetry.Unsettled{}, "Ended")); diff != "" {
		t.Error(diff)
	}
	for _, u := range got {
		if since := time.Since(u.Ended); since < 0 || since > time.Minute {
			t.Errorf("it ended %v ago", since)
		}
	}
}

// TestUnsettledIsBounded tells of more calls than are kept: the last are, the latest first.
func TestUnsettledIsBounded(t *testing.T) {
	o, _ := observed()
	for n := range 47 {
		o.Ended(record(call.REST, service+"Rotate", func(r *call.Call) {
			r.Outcome, r.UpstreamRequestID = call.Unknown, fmt.Sprint(n)
		}), nil)
	}
	got := o.Unsettled()
	if len(got) != 20 {
		t.Fatalf("%d are kept", len(got))
	}
	for i, u := range got {
		if u.StytchRequestID != fmt.Sprint(46-i) {
			t.Errorf("at %d is call %s", i, u.StytchRequestID)
		}
	}
}
