package pages

import (
	"sync"
	"time"
)

// The history reaches back an hour, by the minute.
const (
	every = time.Minute
	kept  = 60
)

// The methods of the service, by the names that the metrics have for them.
var methods = []string{"Get", "Recover", "Rotate"}

// An outcomeGroup is the outcomes that mean the same to an operator.
type outcomeGroup struct {
	Name, Class string // for people, and in the style sheet
	outcomes    []string
}

// groups are in the order in which charts stack them: what somebody should look at is on top.
var groups = []outcomeGroup{
	{"done", "done", []string{"done"}},
	{"refused", "refused", []string{"refused"}},
	{"not sent, or Get failed", "failed", []string{"not_sent", "upstream_failure"}},
	{"unknown, or answer lost", "unknown", []string{"unknown", "answer_lost"}},
}

// sample is what the charts need of one moment. Counters count from the start of the process.
type sample struct {
	at       time.Time
	outcomes [4]float64 // of all methods, by group
	methods  [3]float64 // calls by method
	calls    times
	upstream times
}

func sampleOf(m metrics, at time.Time) sample {
	s := sample{at: at, upstream: m.times("recoverycodes_upstream_duration_seconds")}
	for i, group := range groups {
		for _, outcome := range group.outcomes {
			s.outcomes[i] += m.sum("recoverycodes_outcomes_total", "outcome", outcome)
		}
	}
	for i, method := range methods {
		s.methods[i] = m.sum("recoverycodes_calls_total", "method", method)
		s.calls = s.calls.and(m.times("recoverycodes_call_duration_seconds", "method", method))
	}
	return s
}

// and adds two histograms with the same bounds.
func (t times) and(other times) times {
	if t.bounds == nil {
		return other
	}
	for i := range other.counts {
		t.counts[i] += other.counts[i]
	}
	t.total += other.total
	return t
}

// history is the samples of the last hour, the oldest first. It is safe for concurrent use.
type history struct {
	start time.Time

	mu      sync.Mutex
	samples []sample // never empty
}

// newHistory begins at the start of the process, when all counters are 0.
func newHistory(start time.Time) *history {
	return &history{start: start, samples: []sample{{at: start}}}
}

func (h *history) add(s sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.samples = append(h.samples, s)
	if len(h.samples) > kept {
		h.samples = append([]sample(nil), h.samples[len(h.samples)-kept:]...)
	}
}

// minutes are the differences between the samples of the last hour, the oldest first. The last is of the minute that
// is not over and ends now.
func (h *history) minutes(now sample) []sample {
	h.mu.Lock()
	points := append(append([]sample(nil), h.samples...), now)
	h.mu.Unlock()
	out := make([]sample, 0, len(points)-1)
	for i, point := range points[1:] {
		before := points[i]
		minute := sample{at: point.at, calls: point.calls.since(before.calls), upstream: point.upstream.since(before.upstream)}
		for g := range minute.outcomes {
			minute.outcomes[g] = point.outcomes[g] - before.outcomes[g]
		}
		for m := range minute.methods {
			minute.methods[m] = point.methods[m] - before.methods[m]
		}
		out = append(out, minute)
	}
	return out
}
