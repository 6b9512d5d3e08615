package access

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
)

// known returns the caller "a" of a guard whose policy it is.
func known(t *testing.T, g *Guard) *Caller {
	t.Helper()
	c, refusal := g.Identify(t.Context(), Evidence{Certificate: certificate("a.example")})
	if refusal != nil {
		t.Fatal(refusal)
	}
	return c
}

func TestMethod(t *testing.T) {
	c := known(t, newGuard(t, policyWith("methods", "methods: [Get, Rotate]")))
	for method, want := range map[string]bool{
		"Get": true, "Rotate": true, "Recover": false, "get": false, "": false, "*": false,
		"/stytch.b2b.recoverycodes.v1.RecoveryCodesService/Get": false,
	} {
		refusal := c.Method(method)
		if (refusal == nil) != want {
			t.Errorf("%q: %v", method, refusal)
		}
		if refusal != nil && (refusal.Code != codes.PermissionDenied || refusal.Reason != apierror.OperationNotAllowed) {
			t.Errorf("%q: %v %s", method, refusal.Code, refusal.Reason)
		}
	}
}

func TestOrganization(t *testing.T) {
	const (
		granted  = ""
		another  = apierror.OrganizationNotAllowed
		notAnID  = apierror.OrganizationIDRequired
		idOfMany = "organization-live-1"
	)
	listed := known(t, newGuard(t, policyWith("organizations", "organizations: [organization-live-1, organization-test-a]")))
	all := known(t, newGuard(t, policyWith("", "")))
	texts := make(map[string]string)
	for handle, want := range map[string]string{
		"organization-live-1": granted, "organization-test-a": granted,
		"organization-test-1": another, "organization-live-2": another, "organization-live-": another,
		"organization-live-1 ": another, "organization-live-1/..": another, "organization-live-10": another,
		"organization-test-A": another, "organization-live-1,organization-live-2": another,
		"acme": notAnID, "": notAnID, "*": notAnID, "Organization-live-1": notAnID, " organization-live-1": notAnID,
		"ext|1": notAnID, "1": notAnID, "\xff": notAnID,
	} {
		if refusal := all.Organization(handle); refusal != nil {
			t.Errorf("%q is refused to one who may use all: %v", handle, refusal)
		}
		refusal := listed.Organization(handle)
		switch {
		case (refusal == nil) != (want == granted), refusal != nil && refusal.Reason != want:
			t.Errorf("%q: %+v, want %s", handle, refusal, want)
		case refusal == nil:
		case refusal.Code != codes.PermissionDenied:
			t.Errorf("%q: %v", handle, refusal.Code)
		case texts[want] != "" && texts[want] != refusal.Message:
			t.Errorf("%q: the text depends on the organization: %s", handle, refusal.Message)
		case strings.Contains(refusal.Message, idOfMany):
			t.Errorf("%q: the text tells an organization: %s", handle, refusal.Message)
		default:
			texts[want] = refusal.Message
		}
	}
	if !strings.Contains(texts[notAnID], "by their id") {
		t.Errorf("the text does not say to use an id: %s", texts[notAnID])
	}
}

// taken takes until it is refused, and returns how often it was not and the refusal.
func taken(t *testing.T, c *Caller) (int, *apierror.Error) {
	t.Helper()
	for n := range 1000 {
		if refusal := c.Take(); refusal != nil {
			return n, refusal
		}
	}
	t.Fatal("there is no limit")
	return 0, nil
}

func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := known(t, newGuard(t, policyWith("rate", "rate: {per_second: 0.5, burst: 3}")))
		n, refusal := taken(t, c)
		if n != 3 {
			t.Errorf("a burst of %d, want 3", n)
		}
		if refusal.Code != codes.ResourceExhausted || refusal.Reason != apierror.NotSent || refusal.RetryAfter != 2*time.Second {
			t.Errorf("%v %s, to be tried after %v; want RESOURCE_EXHAUSTED NOT_SENT after 2s",
				refusal.Code, refusal.Reason, refusal.RetryAfter)
		}
		// Refused calls cost nothing: after any number of them the time to wait is the same.
		for range 100 {
			_ = c.Take()
		}
		time.Sleep(refusal.RetryAfter - time.Millisecond)
		if n, refusal := taken(t, c); n != 0 || refusal.RetryAfter != time.Millisecond {
			t.Errorf("%d taken too early, to be tried after %v", n, refusal.RetryAfter)
		}
		time.Sleep(time.Millisecond)
		if n, _ := taken(t, c); n != 1 {
			t.Errorf("%d taken after the time that was told, want 1", n)
		}
		time.Sleep(time.Hour)
		if n, _ := taken(t, c); n != 3 {
			t.Errorf("%d taken after a long rest, want the burst of 3", n)
		}
	})
}

func TestTakeWithoutALimit(t *testing.T) {
	for _, c := range []*Caller{known(t, newGuard(t, policyWith("", ""))), known(t, Anyone())} {
		for range 10_000 {
			if refusal := c.Take(); refusal != nil {
				t.Fatal(refusal)
			}
		}
	}
}

// TestTakeAlone: one caller's calls do not count for another.
func TestTakeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, policyWith("rate", "rate: {per_second: 1, burst: 2}")+
			"  - {name: b, match: {dns_san: b.example}, methods: Get, organizations: '*', rate: {per_second: 1, burst: 2}}\n")
		_, _ = taken(t, known(t, g))
		b, refusal := g.Identify(t.Context(), Evidence{Certificate: certificate("b.example")})
		if refusal != nil {
			t.Fatal(refusal)
		}
		if n, _ := taken(t, b); n != 2 {
			t.Errorf("b may take %d after a has taken all of a's, want 2", n)
		}
	})
}

// TestTakeAfterReplace: whatever an operator changes, nobody gets a fresh burst.
func TestTakeAfterReplace(t *testing.T) {
	limited := policyWith("rate", "rate: {per_second: 1, burst: 10}")
	tests := []struct {
		name, policy string
		now, later   int // taken at once, and after 4 seconds
	}{
		{"the same", limited, 0, 4},
		{"other methods", strings.Replace(limited, "[Get]", "[Rotate]", 1), 0, 4},
		{"another caller comes", "callers:\n  - {name: z, match: {dns_san: z}, methods: Get, organizations: '*'}\n" +
			strings.TrimPrefix(limited, "callers:\n"), 0, 4},
		{"another rate", strings.Replace(limited, "per_second: 1", "per_second: 2", 1), 0, 8},
		{"a larger burst", strings.Replace(limited, "burst: 10", "burst: 100", 1), 0, 4},
		{"a smaller burst", strings.Replace(limited, "burst: 10", "burst: 2", 1), 0, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuard(t, limited)
				before := known(t, g)
				if n, _ := taken(t, before); n != 10 {
					t.Fatalf("a burst of %d, want 10", n)
				}
				if err := g.Replace([]byte(tt.policy)); err != nil {
					t.Fatal(err)
				}
				if n, _ := taken(t, known(t, g)); n != tt.now {
					t.Errorf("%d taken at once, want %d", n, tt.now)
				}
				time.Sleep(4 * time.Second)
				if n, _ := taken(t, known(t, g)); n != tt.later {
					t.Errorf("%d taken after 4 seconds, want %d", n, tt.later)
				}
				if n, _ := taken(t, before); n != 0 {
					t.Errorf("a call that began under the old policy took %d more", n)
				}
			})
		})
	}
	t.Run("a policy that is refused changes no rate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGuard(t, limited)
			_, _ = taken(t, known(t, g))
			bad := "jwt_issuers: [{issuer: i, audience: a, jwks_file: /nowhere/keys}]\n" +
				strings.Replace(limited, "per_second: 1", "per_second: 1000", 1)
			if err := g.Replace([]byte(bad)); err == nil {
				t.Fatal("the policy was taken")
			}
			time.Sleep(time.Second)
			if n, _ := taken(t, known(t, g)); n != 1 {
				t.Errorf("%d taken after a second, want 1", n)
			}
		})
	})
}
