package telemetry

import (
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/audit"
	"recoverycodes.internal/server/internal/call"
)

// Observer writes the access line and the audit line of each call and counts it. It is safe for concurrent use.
type Observer struct {
	log      *zap.Logger
	access   *zap.Logger // the same, for lines that may wait
	audit    *audit.Log  // nil when there is none
	registry *prometheus.Registry

	meters    known // of the next four
	calls     *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	outcomes  *prometheus.CounterVec
	upstream  *prometheus.HistogramVec
	replays   *prometheus.CounterVec
	drift     *prometheus.CounterVec
	panics    prometheus.Counter
	dropped   prometheus.Counter
	uncounted *prometheus.CounterVec
	reloads   *prometheus.CounterVec

	refusedKeys prometheus.Counter

	refusals    *prometheus.CounterVec
	credentials prometheus.Counter
	unexported  prometheus.Counter
	unaccepted  *prometheus.CounterVec

	tracing *Tracing // nil: no spans

	drifted   firsts
	trouble   seldom
	unsettled recent
}

// buckets reach from a refusal on the spot to the upstream's own time limit of 30 s.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 32}

// NewObserver returns an observer with a metrics registry of its own. The audit log may be nil.
func NewObserver(log *zap.Logger, audit *audit.Log) *Observer {
	o := &Observer{log: log, access: log.Named(accessName), audit: audit, registry: prometheus.NewRegistry()}
	o.calls = o.counters("recoverycodes_calls_total",
		"Calls that have ended, by RPC, door (grpc, rest), gRPC status code and caller, as the policy names it.",
		"method", "door", "code", "caller")
	o.seconds = o.histograms("recoverycodes_call_duration_seconds", "Time from a call's arrival to its answer.", "method", "door")
	o.outcomes = o.counters("recoverycodes_outcomes_total",
		"What became of calls upstream: done, refused, not_sent, unknown, answer_lost, upstream_failure.", "method", "outcome")
	o.upstream = o.histograms("recoverycodes_upstream_duration_seconds",
		"Time of the exchange with the upstream, by RPC and HTTP status (0: none arrived).", "method", "status")
	o.replays = o.counters("recoverycodes_replays_total",
		"Answers that were given again to the same idempotency key; they are no outcomes of their own.", "method")
	o.refusals = o.counters("recoverycodes_limit_refusals_total",
		"Calls that were refused before anything was sent, by RPC and the limit that refused them.", "method", "limit")
	o.refusedKeys = o.counter("recoverycodes_keyed_calls_refused_total",
		"Calls with an idempotency key that were refused because the store of keys could not be asked or was full.")
	o.uncounted = o.counters("recoverycodes_attempts_store_failures_total",
		"Recovers for which the shared count of wrong codes could not be asked or told: refused, alone (counted here only), unsettled.",
		"consequence")
	o.credentials = o.counter("recoverycodes_upstream_credentials_refused_total",
		"Calls for which the upstream refused this server's own credentials.")
	o.drift = o.counters("recoverycodes_answer_drift_total",
		"Places where an upstream answer departed from the contract, by RPC and kind.", "method", "kind")
	o.panics = o.counter("recoverycodes_panics_total", "Handlers, and reports of calls, that panicked: defects of this server.")
	o.dropped = o.counter("recoverycodes_audit_dropped_total",
		"Audit lines that were lost because they could not be written and there was no place left to keep them.")
	o.reloads = o.counters("recoverycodes_reload_failures_total",
		"States of files that were not taken over because they are wrong: policy, tls, secret, jwks, admin_token.", "what")
	o.unexported = o.counter("recoverycodes_trace_export_failures_total", "Exports of spans that failed.")
	o.unaccepted = o.counters("recoverycodes_accept_failures_total",
		"Connections that could not be accepted, by door (grpc, rest, admin).", "door")
	o.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return o
}

func (o *Observer) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	o.registry.MustRegister(c)
	return c
}

func (o *Observer) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	o.registry.MustRegister(c)
	return c
}

func (o *Observer) histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	o.registry.MustRegister(h)
	return h
}

// Metrics serves the registry in Prometheus form, and with exemplars to whoever asks for OpenMetrics.
func (o *Observer) Metrics() http.Handler {
	return promhttp.HandlerFor(o.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Gatherer is the registry, for whoever reads it within the process.
func (o *Observer) Gatherer() prometheus.Gatherer { return o.registry }

// Ended writes the access line and the audit line and counts the call, once per record however often it is told. err is
// what the caller hears, nil for an answer.
func (o *Observer) Ended(record *call.Call, err *apierror.Error) {
	if report := o.Ending(record, err); report != nil {
		report()
	}
}

// Ending is Ended in two parts, for whoever answers in between. It ends the call's span and notes the time; what the record and
// err say must not change from then on. report does the rest, and waits for nothing. It is nil when the call had ended.
func (o *Observer) Ending(record *call.Call, err *apierror.Error) (report func()) {
	if record.Reported {
		return nil
	}
	record.Reported = true
	ended := time.Now()
	concluded(record, err)
	return func() {
		defer func() {
			if recover() != nil { // the call is answered, and others are under way
				o.Panicked(record, debug.Stack())
			}
		}()
		o.report(record, err, ended)
	}
}

func (o *Observer) report(record *call.Call, err *apierror.Error, ended time.Time) {
	code := codes.OK
	if err != nil {
		code = err.Code
	}
	took := ended.Sub(record.Start)
	method := rpc(record.Method)
	o.record(record, method, code) // these two before all that could fail
	o.keepUnsettled(record, err, method, ended)
	trace := exemplar(record)
	m := o.metersOf(kindOf(record, method, code))
	count(m.calls, trace)
	observe(m.seconds, took.Seconds(), trace)
	if record.Replayed {
		count(o.replays.WithLabelValues(method), trace)
	}
	if m.outcomes != nil {
		count(m.outcomes, trace)
	}
	if m.upstream != nil {
		observe(m.upstream, record.UpstreamTime.Seconds(), trace)
	}
	if err != nil && err.Limit != "" {
		count(o.refusals.WithLabelValues(method, string(err.Limit)), trace)
	}
	if err != nil && err.Reason == apierror.UpstreamCredentials {
		count(o.credentials, trace)
	}
	if line := o.access.Check(levelOf(record, err), "call"); line != nil {
		line.Time = ended
		line.Write(zap.Inline(&accessLine{record, err, method, code, took}))
	}
}

// record writes the audit line of a call of the service. Where a place was kept for it, it is used.
func (o *Observer) record(record *call.Call, method string, code codes.Code) {
	if o.audit == nil || !OfService(record.Method) {
		if record.Place != nil {
			record.Place.Release()
		}
		return
	}
	line := audit.Line{
		Time: record.Start, Caller: record.Caller, Method: method, Door: string(record.Door),
		Organization: record.Organization, Member: record.Member,
		Outcome: string(record.Outcome), Code: code.String(),
		StytchRequestID: record.UpstreamRequestID, RequestID: record.RequestID,
		Replayed: record.Replayed, CodeFingerprint: record.CodeFingerprint,
	}
	if record.Place != nil {
		record.Place.Write(line)
	} else {
		o.audit.Write(line)
	}
}

// levelOf raises the lines somebody should look at, and lowers those nobody reads: health checks and reflection.
func levelOf(record *call.Call, err *apierror.Error) zapcore.Level {
	switch {
	case strings.HasPrefix(record.Method, "/grpc."):
		return zap.DebugLevel
	case record.GaveUp: // nothing of its own was sent
		return zap.InfoLevel
	case record.Outcome == call.Unknown, record.Outcome == call.Lost:
		return zap.ErrorLevel
	case err != nil && err.Code == codes.Internal:
		return zap.ErrorLevel
	default:
		return zap.InfoLevel
	}
}

// OfService reports whether a full RPC name is one of the recovery-codes service, and not of health or reflection.
func OfService(method string) bool { return strings.HasPrefix(method, "/stytch.") }

// rpc shortens "/package.Service/Method" to "Method" for the service, and keeps the service's name for others. A
// call that never found its route has no method.
func rpc(full string) string {
	switch {
	case full == "":
		return "none"
	case OfService(full):
		return full[strings.LastIndexByte(full, '/')+1:]
	default:
		return strings.TrimPrefix(full, "/")
	}
}

// Panicked logs and counts a panic. The stack holds addresses and no values; the panic's value is not looked at.
func (o *Observer) Panicked(record *call.Call, stack []byte) {
	o.panics.Inc()
	o.log.Error("panic", zap.String("method", rpc(record.Method)), zap.String("request_id", record.RequestID),
		zap.ByteString("stack", stack))
}

// StoreRefused counts a keyed call that the store of keys has refused, and logs why, now and then.
func (o *Observer) StoreRefused(err error) {
	o.refusedKeys.Inc()
	if times, ok := o.trouble.now("keys"); ok {
		o.log.Warn("calls with an idempotency key are refused", zap.Error(err), zap.Int("calls", times))
	}
}

// AuditDropped counts an audit line that was lost.
func (o *Observer) AuditDropped() { o.dropped.Inc() }

// Uncounted counts an attempt that the shared store of attempts does not know of.
func (o *Observer) Uncounted(consequence string) { o.uncounted.WithLabelValues(consequence).Inc() }

// NotReloaded counts and logs a file whose new content is not taken over; what names it. The old one stays in force.
func (o *Observer) NotReloaded(what string, err error) {
	o.reloads.WithLabelValues(what).Inc()
	o.log.Error("a file has changed and is wrong; the old content stays in force", zap.String("what", what), zap.Error(err))
}

// Gauge adds a metric that is read when it is asked for.
func (o *Observer) Gauge(name, help string, value func() float64) {
	o.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

// LogDropped adds the metric of the lines that the log has lost.
func (o *Observer) LogDropped(dropped func() uint64) {
	o.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "recoverycodes_log_dropped_total",
		Help: "Log lines that were lost because a write failed, or did not return until there was no place left to keep them.",
	}, func() float64 { return float64(dropped()) }))
}

// Build adds the metric that says what runs.
func (o *Observer) Build(version, goVersion, revision string) {
	o.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "recoverycodes_build_info", Help: "1, by the version of the server, its source and the Go that built it.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": goVersion},
	}, func() float64 { return 1 }))
}

// State adds a metric of the states of something: 1 for the one that it is in, 0 for the others.
func (o *Observer) State(name, help string, states []string, current func() string) {
	for _, state := range states {
		o.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name, Help: help, ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 {
			if current() == state {
				return 1
			}
			return 0
		}))
	}
}

// Drifted counts a departure of an upstream answer from the contract, and logs each place once in the process's life.
// path names members of the contract and never holds a value.
func (o *Observer) Drifted(method, path, kind string) {
	o.drift.WithLabelValues(method, kind).Inc()
	if o.drifted.first(method + " " + kind + " " + path) {
		o.log.Warn("the upstream's answer departs from the contract; the rest of it was delivered",
			zap.String("method", method), zap.String("path", path), zap.String("kind", kind))
	}
}
