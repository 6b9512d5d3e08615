package attempts

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSketchNeverCountsLess, with names so few and counted so often that they fall together and counters are full.
func TestSketchNeverCountsLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s sketch
		truth := map[place]int{}
		column := rapid.Uint16Range(0, 2)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			p := place{column.Draw(t, "column"), column.Draw(t, "column"), column.Draw(t, "column"), column.Draw(t, "column")}
			times := rapid.SampledFrom([]int{1, 5, 100, 300}).Draw(t, "times")
			if rapid.Bool().Draw(t, "add") {
				for range times {
					s.add(p)
				}
				truth[p] += times
			} else {
				times = min(times, truth[p])
				for range times {
					s.remove(p)
				}
				truth[p] -= times
			}
			for p, n := range truth {
				if got := s.count(p); got < min(n, 255) {
					t.Fatalf("%v is counted %d times, it was added %d times", p, got, n)
				}
			}
		}
	})
}

// TestSketchForgetsWhatIsRemoved: without strangers it counts exactly.
func TestSketchForgetsWhatIsRemoved(t *testing.T) {
	var s sketch
	a, b := place{1, 2, 3, 4}, place{1, 2, 3, 5}
	s.add(a)
	s.add(b)
	s.add(b)
	s.remove(a)
	if got := [2]int{s.count(a), s.count(b)}; got != [2]int{0, 2} {
		t.Errorf("counted %v, want none and two", got)
	}
}

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		same       bool
	}{
		{"case", "member-Live-0a", "MEMBER-live-0A", true},
		{"hyphens, braces, spaces", "member-live-0a1b", " {memberlive0a-1b}\t", true},
		{"other letters", "ÄB", "äb", true},
		{"another digit", "member-1", "member-2", false},
		{"another letter", "ä", "a", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if same := fold(tt.a) == fold(tt.b); same != tt.same {
				t.Errorf("%q and %q are the same: %t", fold(tt.a), fold(tt.b), same)
			}
		})
	}
}
