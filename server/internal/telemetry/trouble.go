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
	mu   sync.Mutex
	next time.Time
	held int
}

// now reports whether a line may be written, and how often there was trouble since the last.
func (s *seldom) now() (times int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held++
	if now := time.Now(); now.After(s.next) {
		s.next = now.Add(troubleQuiet)
		times, s.held = s.held, 0
		return times, true
	}
	return 0, false
}

// ExportFailed counts an export of spans that failed, and logs its class, now and then.
func (o *Observer) ExportFailed(class string) {
	o.unexported.Inc()
	if times, ok := o.exportTrouble.now(); ok {
		o.log.Warn("spans cannot be exported", zap.String("cause", class), zap.Int("exports", times))
	}
}

// AcceptFailed counts a connection that a door could not take, and logs why, now and then. The cause must be a text of
// the operating system, without an address.
func (o *Observer) AcceptFailed(door, cause string) {
	o.unaccepted.WithLabelValues(door).Inc()
	if times, ok := o.acceptTrouble.now(); ok {
		o.log.Error("connections cannot be accepted", zap.String("door", door), zap.String("cause", cause), zap.Int("times", times))
	}
}
