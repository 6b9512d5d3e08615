package pages

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Charts are drawn on a grid of one slot for each minute; the page stretches them to its width.
const (
	slot        = 10.0
	barWidth    = 8.0
	chartHeight = 100.0
)

// chart is an hour, the latest minute on the right.
type chart struct {
	Width, Height float64
	Top           string // what the upper edge stands for
	Columns       []column
	Lines         []line
}

// column is one minute: bars that stand on each other, and what it says when it is pointed at.
type column struct {
	X, Width float64
	Title    string
	Bars     []bar
}

type bar struct {
	Y, Height float64
	Class     string
}

// line is a run of minutes without a gap.
type line struct{ Points, Class string }

// left is where the slot of a minute begins, so that the last one ends at the right edge.
func left(i, n int) float64 { return slot * float64(kept-n+i) }

// nice is the smallest of 1, 2, 5, 10, … and, below 1, of 0.5, 0.2, 0.1, … that is at least v.
func nice(v float64) float64 {
	if v <= 0 || math.IsNaN(v) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 5} {
		if v <= step*power*(1+1e-9) {
			return step * power
		}
	}
	return 10 * power
}

// callsChart shows the outcomes of each minute.
func callsChart(minutes []sample) chart {
	most := 1.0
	for _, minute := range minutes {
		sum := 0.0
		for _, n := range minute.outcomes {
			sum += n
		}
		most = max(most, sum)
	}
	top := nice(most)
	c := chart{Width: slot * kept, Height: chartHeight, Top: count(top)}
	for i, minute := range minutes {
		col := column{X: left(i, len(minutes)), Width: barWidth, Title: clock(minute.at)}
		y := chartHeight
		var said []string
		for g, n := range minute.outcomes {
			if n <= 0 {
				continue
			}
			height := chartHeight * n / top
			y -= height
			col.Bars = append(col.Bars, bar{Y: y, Height: height, Class: groups[g].Class})
			said = append(said, count(n)+" "+groups[g].Name)
		}
		if said != nil {
			col.Title += ": " + strings.Join(said, "; ")
		}
		c.Columns = append(c.Columns, col)
	}
	return c
}

// slowShare is the share of calls of which charts show the longest time: one in twenty took longer.
const slowShare = 0.95

// timesChart shows within which time 19 of 20 calls of each minute were answered, and the upstream's share of it.
func timesChart(minutes []sample) chart {
	calls, upstream := make([]float64, len(minutes)), make([]float64, len(minutes))
	most := 0.0
	for i, minute := range minutes {
		calls[i], upstream[i] = minute.calls.quantile(slowShare), minute.upstream.quantile(slowShare)
		for _, v := range []float64{calls[i], upstream[i]} {
			if !math.IsNaN(v) {
				most = max(most, v)
			}
		}
	}
	top := nice(most)
	c := chart{Width: slot * kept, Height: chartHeight}
	if most > 0 {
		c.Top = seconds(top)
	}
	for i, minute := range minutes {
		col := column{X: left(i, len(minutes)), Width: barWidth, Title: clock(minute.at)}
		if !math.IsNaN(calls[i]) {
			col.Title += ": calls " + seconds(calls[i])
		}
		if !math.IsNaN(upstream[i]) {
			col.Title += "; upstream " + seconds(upstream[i])
		}
		c.Columns = append(c.Columns, col)
	}
	c.Lines = append(lines(upstream, top, "upstream"), lines(calls, top, "calls")...)
	return c
}

// lines joins neighbours that have a value. One that stands alone is as wide as a bar.
func lines(values []float64, top float64, class string) []line {
	var out []line
	var points []string
	var lone [2]float64
	end := func() {
		if len(points) == 1 {
			points = []string{point(lone[0]-barWidth/2, lone[1]), point(lone[0]+barWidth/2, lone[1])}
		}
		if points != nil {
			out = append(out, line{strings.Join(points, " "), class})
		}
		points = nil
	}
	for i, v := range values {
		if math.IsNaN(v) {
			end()
			continue
		}
		lone = [2]float64{left(i, len(values)) + barWidth/2, chartHeight * (1 - v/top)}
		points = append(points, point(lone[0], lone[1]))
	}
	end()
	return out
}

func point(x, y float64) string { return fmt.Sprintf("%.1f,%.1f", x, y) }

// methodChart shows the calls of one method, small.
func methodChart(minutes []sample, method int) chart {
	most := 1.0
	for _, minute := range minutes {
		most = max(most, minute.methods[method])
	}
	c := chart{Width: slot * kept, Height: chartHeight}
	for i, minute := range minutes {
		if n := minute.methods[method]; n > 0 {
			height := chartHeight * n / most
			c.Columns = append(c.Columns, column{
				X: left(i, len(minutes)), Width: barWidth, Title: clock(minute.at) + ": " + count(n),
				Bars: []bar{{Y: chartHeight - height, Height: height, Class: "calls"}},
			})
		}
	}
	return c
}

// clock is the minute that ends at a moment, as charts name it.
func clock(t time.Time) string { return t.UTC().Format("15:04") }

// count writes a whole number with its thousands apart.
func count(n float64) string {
	digits := fmt.Sprintf("%.0f", n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	return digits
}

// seconds writes a time as people read it, with two or three digits; a dash when there is none.
func seconds(s float64) string {
	switch {
	case math.IsNaN(s):
		return "–"
	case s < .00995:
		return fmt.Sprintf("%.1f\u202fms", s*1000)
	case s < .995:
		return fmt.Sprintf("%.0f\u202fms", s*1000)
	case s < 9.95:
		return fmt.Sprintf("%.1f\u202fs", s)
	default:
		return fmt.Sprintf("%.0f\u202fs", s)
	}
}
