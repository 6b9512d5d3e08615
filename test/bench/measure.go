package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// door is how a server is called.
type door int

const (
	byGRPC door = iota
	byHTTP
	byItself // it calls the upstream itself when told to
)

// A row is one line of a table: a server under a load.
type row struct {
	name    string
	server  string
	door    door
	keyed   bool // Recover, each call with a key of its own; else Get
	size    int  // of the answers, in bytes
	callers int
	rate    int // calls a second; 0 is as many as there can be

	// measure is what a round of the row does.
	measure func(*bench, *row) (sample, error)
}

// sample is what one round of a row came to. What the row does not tell is 0.
type sample struct {
	Requests    int     `json:"requests"`
	CPU         float64 `json:"cpu_us_per_request"`
	Rate        float64 `json:"requests_per_second"`
	Busy        float64 `json:"server_core_busy"` // share of the server's core
	Allocations float64 `json:"allocations_per_request"`
	Dials       float64 `json:"upstream_dials_per_request"`
	P50         float64 `json:"p50_us"`
	P99         float64 `json:"p99_us"`
	Resident    float64 `json:"resident_mb"`
	Start       float64 `json:"start_to_first_answer_ms"`
	Stolen      float64 `json:"stolen"`       // share of the time of both cores that a hypervisor took away
	FirstP50    float64 `json:"first_p50_us"` // of the first attempt at this round, however much was stolen of it
}

// steady is how much may be stolen of a round that tells how long calls take. They take several times as long when a
// core stands still again and again, and then it is the hypervisor that is measured.
const steady = 0.05

// bench runs rounds.
type bench struct {
	rig    *rig
	round  time.Duration
	proven map[string]bool // rows whose answers have been looked at

	spare            time.Duration // what is left for measuring rounds again
	again, disturbed int           // rounds that were measured again, and those that would have had to be
}

// undisturbed measures a round of a row, again and again while too much of it was stolen and there is time to spare.
func (b *bench) undisturbed(ctx context.Context, r *row) (s sample, err error) {
	for first := 0.0; ; {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		start := time.Now()
		if s, err = r.measure(b, r); err != nil {
			return s, err
		}
		if first == 0 {
			first = s.P50
		}
		s.FirstP50 = first
		if r.rate == 0 || s.Stolen <= steady {
			return s, nil
		}
		if b.spare <= 0 {
			b.disturbed++
			return s, nil
		}
		b.again++
		b.spare -= time.Since(start)
	}
}

// open connects the callers of a row.
func (b *bench) open(r *row, p *process) (load, error) {
	switch r.door {
	case byGRPC:
		request := getRequest
		if r.keyed {
			request = recoverRequest
		}
		return newGRPCLoad(p.grpc, request(), r.callers)
	case byHTTP:
		if p == nil {
			return newHTTPLoad(strings.TrimPrefix(b.rig.upstreams.plain.url, "http://"), r.callers)
		}
		return newHTTPLoad(p.http, r.callers)
	default:
		return &fetchLoad{p.admin, r.callers}, nil
	}
}

// loaded measures a row under its load. Callers connect and the server warms up before the round begins.
func loaded(b *bench, r *row) (s sample, err error) {
	if err := b.rig.upstreams.serve(r.size); err != nil {
		return s, err
	}
	p, err := b.rig.server(r.server)
	if err != nil {
		return s, err
	}
	if err := b.prove(r, p); err != nil {
		return s, fmt.Errorf("before the first round: %w", err)
	}
	l, err := b.open(r, p)
	if err != nil {
		return s, err
	}
	defer l.close()
	if _, _, err := drive(l, r, b.round/4); err != nil {
		return s, err
	}
	before, err := p.usage(false)
	if err != nil {
		return s, err
	}
	lost := b.rig.stolen()
	dials, start := b.rig.upstreams.dials(), time.Now()
	n, times, err := drive(l, r, b.round)
	if err != nil {
		return s, err
	}
	took, dials := time.Since(start), b.rig.upstreams.dials()-dials
	lost = b.rig.stolen() - lost
	after, err := p.usage(true)
	if err != nil {
		return s, err
	}
	if n == 0 {
		return s, errors.New("not one answer")
	}
	cpu := after.cpu - before.cpu
	s = sample{
		Requests:    n,
		CPU:         micros(cpu) / float64(n),
		Rate:        float64(n) / took.Seconds(),
		Busy:        cpu.Seconds() / took.Seconds(),
		Allocations: (after.allocations - before.allocations) / float64(n),
		Dials:       float64(dials) / float64(n),
		Resident:    float64(after.resident) / 1e6,
		Stolen:      lost.Seconds() / (took.Seconds() * float64(len(b.rig.cores))),
	}
	if len(times) > 0 {
		slices.Sort(times)
		s.P50, s.P99 = micros(times[len(times)/2]), micros(times[len(times)*99/100])
	}
	return s, p.cutLogs()
}

// readStolen reads the times of some cores in /proc/stat.
func readStolen(stat string, cores ...int) (sum time.Duration, err error) {
	found := 0
	for line := range strings.Lines(stat) {
		fields := strings.Fields(line)
		if len(fields) < 9 || !slices.ContainsFunc(cores, func(core int) bool { return fields[0] == fmt.Sprintf("cpu%d", core) }) {
			continue
		}
		ticks, err := strconv.ParseInt(fields[8], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		found++
		sum += time.Duration(ticks) * time.Second / 100
	}
	if found != len(cores) {
		return 0, errors.New("/proc/stat does not tell what was stolen")
	}
	return sum, nil
}

func drive(l load, r *row, d time.Duration) (n int, times []time.Duration, err error) {
	if r.rate == 0 {
		n, err = l.saturate(d)
		return n, nil, err
	}
	times, err = l.pace(r.rate, d)
	return len(times), times, err
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// fresh starts a process of the row's server for one round only.
func (b *bench) fresh(r *row, use func(*process) error) error {
	p, err := b.rig.start(r.server)
	if err != nil {
		return err
	}
	defer p.stop()
	return use(p)
}

// held measures the memory of a new process while an upstream that does not answer holds all calls.
func held(b *bench, r *row) (s sample, err error) {
	if err := b.rig.upstreams.serve(r.size); err != nil {
		return s, err
	}
	up := b.rig.upstreams.plain
	err = b.fresh(r, func(p *process) error {
		if err := p.await(); err != nil {
			return err
		}
		l, err := b.open(r, p)
		if err != nil {
			return err
		}
		defer l.close()
		hold := make(chan struct{})
		up.hold.Store(&hold)
		release := func() { up.hold.Store(nil); close(hold) }
		wait, err := l.begin()
		if err != nil {
			release()
			return err
		}
		for end := time.Now().Add(patience); up.waiting.Load() < int64(r.callers); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				release()
				return fmt.Errorf("of %d calls only %d reached the upstream", r.callers, up.waiting.Load())
			}
		}
		bytes, err := resident(p.command.Process.Pid)
		release()
		s = sample{Requests: r.callers, Resident: float64(bytes) / 1e6}
		return errors.Join(err, wait())
	})
	return s, err
}

// started measures the time from starting a process to its first answer.
func started(b *bench, r *row) (s sample, err error) {
	if err := b.rig.upstreams.serve(r.size); err != nil {
		return s, err
	}
	start := time.Now()
	err = b.fresh(r, func(p *process) error {
		var l load
		for end := start.Add(patience); ; time.Sleep(200 * time.Microsecond) {
			var err error
			if l, err = b.open(r, p); err == nil {
				break
			}
			if time.Now().After(end) {
				return err
			}
		}
		defer l.close()
		wait, err := l.begin()
		if err == nil {
			err = wait()
		}
		s = sample{Requests: 1, Start: micros(time.Since(start)) / 1e3}
		return err
	})
	return s, err
}

// fetchLoad tells a process to load the upstream itself.
type fetchLoad struct {
	admin   string
	callers int
}

func (l *fetchLoad) saturate(d time.Duration) (int, error) {
	query := url.Values{"callers": {strconv.Itoa(l.callers)}, "for": {d.String()}}
	resp, err := http.Get("http://" + l.admin + "/fetch?" + query.Encode())
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("fetch: status %d, %s: %w", resp.StatusCode, text, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

var errItself = errors.New("this load can only saturate")

func (*fetchLoad) pace(int, time.Duration) ([]time.Duration, error) { return nil, errItself }
func (*fetchLoad) begin() (func() error, error)                     { return nil, errItself }
func (*fetchLoad) close()                                           {}
