package telemetry

import (
	"sync"
	"time"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
)

// keptUnsettled is how many calls an operator can look back on. The access log has all of them.
const keptUnsettled = 20

// Unsettled is a Recover or Rotate that ended without its caller being told, or told all, of what came of it. It says
// where to look and what to ask Stytch about, and names no person and no secret.
type Unsettled struct {
	Ended           time.Time
	Method          string
	Door            call.Door
	Caller          string // as the policy names it; empty when there was none
	Outcome         call.Outcome
	Reason          string
	RequestID       string // ours
	StytchRequestID string // empty when none arrived
	Status          int    // the upstream's HTTP status, 0 when none arrived
	Fault           string // the class of failure that cut the exchange short; empty when it came to its end
}

// recent holds the last calls that are unsettled. The zero value is ready.
type recent struct {
	mu   sync.Mutex
	kept [keptUnsettled]Unsettled
	seen int // how many there have been; the next goes into the place of the oldest
}

func (r *recent) add(u Unsettled) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[r.seen%keptUnsettled] = u
	r.seen++
}

// Unsettled returns the last calls whose outcome was unknown or whose answer was lost, the latest first. It keeps 20.
func (o *Observer) Unsettled() []Unsettled {
	r := &o.unsettled
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Unsettled, 0, min(r.seen, keptUnsettled))
	for i := range min(r.seen, keptUnsettled) {
		out = append(out, r.kept[(r.seen-1-i)%keptUnsettled])
	}
	return out
}

// keepUnsettled keeps a call that has ended, if it is one of those. An answer that is given again is none: it was kept
// when it was given first. Nor is a call that gave up waiting for another, which is kept itself if it is one.
func (o *Observer) keepUnsettled(record *call.Call, err *apierror.Error, method string, ended time.Time) {
	if record.Replayed || record.GaveUp || record.Outcome != call.Unknown && record.Outcome != call.Lost {
		return
	}
	u := Unsettled{
		Ended: ended, Method: method, Door: record.Door, Caller: record.Caller, Outcome: record.Outcome,
		RequestID: record.RequestID, StytchRequestID: record.UpstreamRequestID,
		Status: record.UpstreamStatus, Fault: record.UpstreamFault,
	}
	if err != nil {
		u.Reason = err.Reason
	}
	o.unsettled.add(u)
}
