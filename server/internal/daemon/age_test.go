package daemon

import (
	"testing"
	"time"
)

// TestAgesAreSpread looks inside, since it takes many connections to see it: those that were made at once become too old at
// different times, within a tenth of the limit.
func TestAgesAreSpread(t *testing.T) {
	const limit, connections = time.Hour, 1000
	a := &age{limit: limit}
	start := time.Now()
	first, last := 2*limit, time.Duration(0)
	for range connections {
		tooOld, ok := a.connection(t.Context(), nil).Value(tooOldKey{}).(time.Time)
		if !ok {
			t.Fatal("a connection may become as old as it likes")
		}
		lives := tooOld.Sub(start)
		first, last = min(first, lives), max(last, lives)
	}
	since := time.Since(start)
	if first < limit*9/10 || last > limit*11/10+since {
		t.Errorf("connections live between %v and %v", first, last)
	}
	if last-first < limit/10 {
		t.Errorf("all connections end within %v", last-first)
	}
	if a.limit = 0; a.connection(t.Context(), nil).Value(tooOldKey{}) != nil {
		t.Error("without a limit a connection becomes too old")
	}
}
