package attempts_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"recoverycodes.internal/server/internal/attempts"
)

// TestAtOnce has a caller begin more attempts than it may have under way: the share of wrong codes knows nothing of them
// yet.
func TestAtOnce(t *testing.T) {
	memory, err := attempts.NewMemory(attempts.Limits{Window: time.Minute, MemberLimit: 4, CallerFailures: 3, CallerShare: .5})
	if err != nil {
		t.Fatal(err)
	}
	store := attempts.NewAtOnce(memory, 3)
	attempt := func(caller string, i int) (func(attempts.Verdict), error) {
		return store.Reserve(t.Context(), attempts.Attempt{Caller: caller, Member: fmt.Sprint("m", i)})
	}
	var open []func(attempts.Verdict)
	for i := range 3 {
		settle, err := attempt("a", i)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, settle)
	}
	var exceeded *attempts.ExceededError
	if _, err := attempt("a", 3); !errors.As(err, &exceeded) || exceeded.Who != attempts.Caller || exceeded.RetryAfter <= 0 {
		t.Errorf("one too many: %v", err)
	}
	if settle, err := attempt("b", 4); err != nil {
		t.Errorf("another caller: %v", err)
	} else {
		settle(attempts.Right)
	}
	open[0](attempts.Right)
	open[0](attempts.Right) // the second time is nothing
	if _, err := attempt("a", 5); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
	if _, err := attempt("a", 6); err == nil {
		t.Error("a settlement that was repeated gave two places back")
	}
	// What the store refuses takes no place.
	for range 3 {
		_, _ = memory.Reserve(t.Context(), attempts.Attempt{Caller: "c", Member: "full"})
	}
	_, _ = memory.Reserve(t.Context(), attempts.Attempt{Caller: "c", Member: "full"})
	for range 5 {
		if _, err := store.Reserve(t.Context(), attempts.Attempt{Caller: "d", Member: "full"}); !errors.As(err, &exceeded) || exceeded.Who != attempts.Member {
			t.Errorf("a member without a budget: %v", err)
		}
	}
}

// TestMembersOfOrganizations: who names an organization by its id uses up the budget of its members and nobody else's.
func TestMembersOfOrganizations(t *testing.T) {
	memory, err := attempts.NewMemory(attempts.Limits{Window: time.Minute, MemberLimit: 1, CallerFailures: 100, CallerShare: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, organization := range []string{"organization-test-a", "organization-test-b", ""} {
		for i := range 2 {
			_, err := memory.Reserve(t.Context(), attempts.Attempt{Caller: "a", Member: "m", Organization: organization})
			if (err != nil) != (i == 1) {
				t.Errorf("attempt %d in %q: %v", i, organization, err)
			}
		}
	}
}
