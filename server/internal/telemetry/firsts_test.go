package telemetry

import (
	"fmt"
	"testing"
)

// TestFirstsIsBounded looks inside, since memory that grows cannot be seen from outside.
func TestFirstsIsBounded(t *testing.T) {
	var f firsts
	for i := range 3 * maxFirsts {
		if got, want := f.first(fmt.Sprint("name ", i)), i < maxFirsts; got != want {
			t.Fatalf("name %d is a first: %v, want %v", i, got, want)
		}
	}
	if len(f.seen) != maxFirsts {
		t.Errorf("%d names are remembered, want %d", len(f.seen), maxFirsts)
	}
	if f.first("name 0") {
		t.Error("a name was forgotten")
	}
}
