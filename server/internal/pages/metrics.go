package pages

import (
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// metrics is what the registry held at one moment, by name.
type metrics map[string]*dto.MetricFamily

// gather reads the registry. What it cannot read is missing, as it is for Prometheus.
func (p *Pages) gather() metrics {
	families, _ := p.options.Metrics.Gather() // the error is about what is missing
	m := make(metrics, len(families))
	for _, family := range families {
		m[family.GetName()] = family
	}
	return m
}

// series are the series of a metric that have all the labels, which are given as name, value, name, value.
func (m metrics) series(name string, labels ...string) []*dto.Metric {
	var out []*dto.Metric
	for _, series := range m[name].GetMetric() {
		fits := true
		for i := 0; i+1 < len(labels); i += 2 {
			fits = fits && label(series, labels[i]) == labels[i+1]
		}
		if fits {
			out = append(out, series)
		}
	}
	return out
}

// sum adds up the series of a counter or gauge that have the labels; it is 0 when there are none.
func (m metrics) sum(name string, labels ...string) float64 {
	total := 0.0
	for _, series := range m.series(name, labels...) {
		total += series.GetCounter().GetValue() + series.GetGauge().GetValue()
	}
	return total
}

// gauge is the value of a gauge, and whether it is there.
func (m metrics) gauge(name string) (value float64, ok bool) {
	all := m.series(name)
	if len(all) != 1 {
		return 0, false
	}
	return all[0].GetGauge().GetValue(), true
}

func label(series *dto.Metric, name string) string {
	for _, pair := range series.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

// values are the values that a label has in a metric, in order.
func (m metrics) values(name, of string) []string {
	var out []string
	for _, series := range m[name].GetMetric() {
		if value := label(series, of); !slices.Contains(out, value) {
			out = append(out, value)
		}
	}
	slices.Sort(out)
	return out
}

// times is a histogram of seconds: how many observations there were up to each bound. The zero value has none.
type times struct {
	bounds []float64
	counts []float64 // cumulative, one for each bound
	total  float64   // those beyond the last bound too
}

// times adds up the histograms that have the labels. All series of one metric have the same bounds.
func (m metrics) times(name string, labels ...string) times {
	var t times
	for _, series := range m.series(name, labels...) {
		histogram := series.GetHistogram()
		t.total += float64(histogram.GetSampleCount())
		if t.bounds == nil {
			for _, bucket := range histogram.GetBucket() {
				t.bounds = append(t.bounds, bucket.GetUpperBound())
			}
			t.counts = make([]float64, len(t.bounds))
		}
		for i, bucket := range histogram.GetBucket() {
			t.counts[i] += float64(bucket.GetCumulativeCount())
		}
	}
	return t
}

// since is what came after an earlier reading of the same histogram.
func (t times) since(before times) times {
	out := times{bounds: t.bounds, counts: slices.Clone(t.counts), total: t.total - before.total}
	for i := range before.counts {
		out.counts[i] -= before.counts[i]
	}
	return out
}

// quantile estimates the time within which a share of the observations lies, as Prometheus does: as if they were spread
// evenly within each bucket. It is NaN without observations, and the last bound for what lies beyond it.
func (t times) quantile(share float64) float64 {
	if t.total <= 0 {
		return math.NaN()
	}
	rank, below, from := share*t.total, 0.0, 0.0
	for i, count := range t.counts {
		if count >= rank && count > below {
			return from + (t.bounds[i]-from)*(rank-below)/(count-below)
		}
		below, from = count, t.bounds[i]
	}
	return from
}
