package telemetry

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/call"
)

// kind tells apart the calls that are counted apart, by the labels of metrics. Callers cannot choose any of them: they are of
// the policy, of this server, and the upstream's HTTP status.
type kind struct {
	method  string
	door    call.Door
	code    codes.Code
	caller  string
	outcome call.Outcome // empty when the call is counted as no outcome of its own
	status  int          // of the upstream's answer; noExchange when there was no exchange to be counted
}

const noExchange = -1

func kindOf(record *call.Call, method string, code codes.Code) kind {
	k := kind{method: method, door: record.Door, code: code, caller: record.Caller, status: noExchange}
	if record.Replayed { // it was counted when it was made
		return k
	}
	if !record.GaveUp {
		k.outcome = record.Outcome
	}
	if record.UpstreamTime > 0 {
		k.status = record.UpstreamStatus
	}
	return k
}

// meters are the series that a call of one kind is counted in: to find them by their labels takes longer than to count.
type meters struct {
	calls    prometheus.Counter
	seconds  prometheus.Observer
	outcomes prometheus.Counter  // nil: none
	upstream prometheus.Observer // nil: none
}

// known are the meters of the kinds that there were. The zero value is ready.
type known struct {
	mu     sync.RWMutex
	meters map[kind]*meters
}

func (o *Observer) metersOf(k kind) *meters {
	o.meters.mu.RLock()
	m := o.meters.meters[k]
	o.meters.mu.RUnlock()
	if m != nil {
		return m
	}
	m = &meters{
		calls:   o.calls.WithLabelValues(k.method, string(k.door), k.code.String(), k.caller),
		seconds: o.seconds.WithLabelValues(k.method, string(k.door)),
	}
	if k.outcome != "" {
		m.outcomes = o.outcomes.WithLabelValues(k.method, string(k.outcome))
	}
	if k.status != noExchange {
		m.upstream = o.upstream.WithLabelValues(k.method, strconv.Itoa(k.status))
	}
	o.meters.mu.Lock()
	defer o.meters.mu.Unlock()
	if o.meters.meters == nil {
		o.meters.meters = make(map[kind]*meters)
	}
	o.meters.meters[k] = m // two who made it made the same
	return m
}
