package telemetry

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// troubleQuiet is how long the same trouble is not logged again.
const troubleQuiet = 10 * time.Second

// seldom lets one line in a while through about trouble that lasts. The zero value is ready.
type seldom struct {
	mu    sync.Mutex
	where map[string]*trouble // one for each place of ours where there can be trouble
}

type trouble struct {
	next time.Time
	held int
}

// now reports whether a line about a place may be written, and how often there was trouble since the last.
func (s *seldom) now(where string) (times int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.where == nil {
		s.where = make(map[string]*trouble)
	}
	t := s.where[where]
	if t == nil {
		t = &trouble{}
		s.where[where] = t
	}
	t.held++
	if now := time.Now(); now.After(t.next) {
		t.next = now.Add(troubleQuiet)
		times, t.held = t.held, 0
		return times, true
	}
	return 0, false
}

// ExportFailed counts an export of spans that failed, and logs its class, now and then.
func (o *Observer) ExportFailed(class string) {
	o.unexported.Inc()
	if times, ok := o.trouble.now("export"); ok {
		o.log.Warn("spans cannot be exported", zap.String("cause", class), zap.Int("exports", times))
	}
}

// AcceptFailed counts a connection that a door could not take, and logs why, now and then. The cause must be a text of
// the operating system, without an address.
func (o *Observer) AcceptFailed(door, cause string) {
	o.unaccepted.WithLabelValues(door).Inc()
	if times, ok := o.trouble.now(door); ok {
		o.log.Error("connections cannot be accepted", zap.String("door", door), zap.String("cause", cause), zap.Int("times", times))
	}
}
