package pages

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/telemetry"
)

// refresh is how often the status page loads itself again.
const refresh = 30 * time.Second

// expirySoon is how long before its end a certificate is pointed out: time enough to see to it by hand.
const expirySoon = 14 * 24 * time.Hour

// functions are what the templates need beside their own.
var functions = template.FuncMap{
	"count":   count,
	"seconds": seconds,
	"lost":    func(o call.Outcome) bool { return o == call.Lost },
	"utc":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
}

// status is the status page of one moment.
type status struct {
	Now       time.Time
	Refresh   int // seconds
	Facts     []fact
	Calls     chart
	Times     chart
	Groups    []outcomeGroup
	Methods   []methodRow
	Upstream  []upstreamRow
	Troubles  []troubleRow
	Unsettled []unsettledRow
}

// fact is one thing that is so now. Class says whether somebody should look at it: good, warn, bad or nothing.
type fact struct{ Name, Value, Note, Class string }

// methodRow is what became of the calls of one method since the start.
type methodRow struct {
	Name                                          string
	Calls                                         float64
	Done, Refused, NotSent, Failed, Unknown, Lost float64
	Replays                                       float64
	Median, Slow, Slowest                         float64 // seconds
	Chart                                         chart
}

// upstreamRow is how long the upstream took for its answers to one method with one status.
type upstreamRow struct {
	Method, Status        string
	Calls                 float64
	Median, Slow, Slowest float64
}

// troubleRow is something that should not happen, and how often it has.
type troubleRow struct {
	What, Labels string
	Times        float64
}

type unsettledRow struct {
	telemetry.Unsettled
	Ago string
}

func (p *Pages) statusNow(now time.Time) *status {
	m := p.gather()
	minutes := p.history.minutes(sampleOf(m, now))
	s := &status{
		Now: now, Refresh: int(refresh.Seconds()), Groups: groups,
		Facts: p.facts(m, now),
		Calls: callsChart(minutes), Times: timesChart(minutes),
		Upstream: upstreamRows(m), Troubles: troubleRows(m),
	}
	for i, method := range methods {
		s.Methods = append(s.Methods, rowOf(m, method, methodChart(minutes, i)))
	}
	for _, u := range p.options.Unsettled() {
		s.Unsettled = append(s.Unsettled, unsettledRow{u, span(now.Sub(u.Ended))})
	}
	return s
}

func (p *Pages) facts(m metrics, now time.Time) []fact {
	ready := fact{"State", "ready", "takes calls", "good"}
	if m.sum("recoverycodes_ready") == 0 {
		ready = fact{"State", "not ready", "starting or stopping", "bad"}
	}
	lost := m.sum("recoverycodes_outcomes_total", "outcome", "unknown") + m.sum("recoverycodes_outcomes_total", "outcome", "answer_lost")
	unknown := fact{"Unknown outcomes", count(lost), "answers lost included", "good"}
	if lost > 0 {
		unknown.Class = "warn"
	}
	inFlight := fact{
		Name: "In flight", Value: count(m.sum("recoverycodes_calls_in_flight")),
		Note: count(m.sum("recoverycodes_upstream_calls_in_flight")) + " of them upstream",
	}
	return []fact{ready, p.breaker(m), inFlight, unknown, drift(m), callers(m), certificate(m, now), p.build(m, now)}
}

func drift(m metrics) fact {
	f := fact{"Drift", count(m.sum(driftMetric)), "departures from the contract", "good"}
	if m.sum(driftMetric) > 0 {
		f.Class = "warn"
	}
	return f
}

func (p *Pages) build(m metrics, now time.Time) fact {
	f := fact{Name: "Version", Value: "unknown", Note: "up for " + span(now.Sub(p.history.start))}
	for _, series := range m.series("recoverycodes_build_info") {
		f.Value, f.Note = label(series, "version"), label(series, "goversion")+", "+f.Note
	}
	return f
}

func (p *Pages) breaker(m metrics) fact {
	f := fact{Name: "Upstream", Note: p.options.Upstream}
	switch {
	case m.sum("recoverycodes_upstream_breaker", "state", "open") > 0:
		f.Value, f.Class = "breaker open", "bad"
	case m.sum("recoverycodes_upstream_breaker", "state", "half_open") > 0:
		f.Value, f.Class = "breaker trying", "warn"
	default:
		f.Value, f.Class = "breaker closed", "good"
	}
	return f
}

func callers(m metrics) fact {
	if m.sum("recoverycodes_any_caller") > 0 {
		return fact{"Callers", "anyone", "there is no policy", "warn"}
	}
	return fact{Name: "Callers", Value: count(m.sum("recoverycodes_policy_callers")), Note: "in the policy"}
}

func certificate(m metrics, now time.Time) fact {
	end, ok := m.gauge("recoverycodes_certificate_expiry_timestamp_seconds")
	if !ok {
		return fact{Name: "Certificate", Value: "none", Note: "the doors serve plaintext"}
	}
	at := time.Unix(int64(end), 0)
	f := fact{Name: "Certificate", Value: "ends in " + span(at.Sub(now)), Note: "on " + at.UTC().Format("2006-01-02 15:04") + " UTC"}
	switch {
	case !at.After(now):
		f.Value, f.Class = "has ended", "bad"
	case at.Sub(now) < expirySoon:
		f.Class = "warn"
	default:
		f.Class = "good"
	}
	return f
}

// span is a time in one unit, rounded down.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	default:
		return fmt.Sprintf("%d s", max(d, 0)/time.Second)
	}
}

func rowOf(m metrics, method string, small chart) methodRow {
	outcome := func(name string) float64 {
		return m.sum("recoverycodes_outcomes_total", "method", method, "outcome", name)
	}
	took := m.times("recoverycodes_call_duration_seconds", "method", method)
	return methodRow{
		Name: method, Calls: m.sum("recoverycodes_calls_total", "method", method),
		Done: outcome("done"), Refused: outcome("refused"), NotSent: outcome("not_sent"),
		Failed: outcome("upstream_failure"), Unknown: outcome("unknown"), Lost: outcome("answer_lost"),
		Replays: m.sum("recoverycodes_replays_total", "method", method),
		Median:  took.quantile(.5), Slow: took.quantile(slowShare), Slowest: took.quantile(.99),
		Chart: small,
	}
}

func upstreamRows(m metrics) []upstreamRow {
	const name = "recoverycodes_upstream_duration_seconds"
	var out []upstreamRow
	for _, method := range methods {
		for _, code := range m.values(name, "status") {
			took := m.times(name, "method", method, "status", code)
			if took.total == 0 {
				continue
			}
			if code == "0" {
				code = "none arrived"
			}
			out = append(out, upstreamRow{method, code, took.total, took.quantile(.5), took.quantile(slowShare), took.quantile(.99)})
		}
	}
	return out
}

const driftMetric = "recoverycodes_answer_drift_total"

// troubles are the counters of what should not happen, or not often.
var troubles = []struct{ metric, what string }{
	{driftMetric, "Drift: places where Stytch’s answers departed from the contract"},
	{"recoverycodes_keyed_calls_refused_total", "Calls with an idempotency key refused by the store of keys"},
	{"recoverycodes_limit_refusals_total", "Calls refused by a limit before anything was sent"},
	{"recoverycodes_upstream_credentials_refused_total", "Calls for which Stytch refused this server’s credentials"},
	{"recoverycodes_attempts_store_failures_total", "Recovers that the shared count of wrong codes does not know of"},
	{"recoverycodes_audit_dropped_total", "Audit lines lost"},
	{"recoverycodes_log_dropped_total", "Lines of the log lost"},
	{"recoverycodes_reload_failures_total", "Files that changed and are wrong"},
	{"recoverycodes_trace_export_failures_total", "Exports of spans that failed"},
	{"recoverycodes_accept_failures_total", "Connections that could not be accepted"},
	{"recoverycodes_panics_total", "Panics"},
}

func troubleRows(m metrics) []troubleRow {
	var out []troubleRow
	for _, trouble := range troubles {
		some := false
		for _, series := range m.series(trouble.metric) {
			times := series.GetCounter().GetValue()
			if times == 0 {
				continue
			}
			var labels []string
			for _, pair := range series.GetLabel() {
				if pair.GetName() == "method" {
					labels = append([]string{pair.GetValue()}, labels...)
				} else {
					labels = append(labels, pair.GetValue())
				}
			}
			out, some = append(out, troubleRow{trouble.what, strings.Join(labels, ", "), times}), true
		}
		if !some {
			out = append(out, troubleRow{What: trouble.what})
		}
	}
	return out
}
