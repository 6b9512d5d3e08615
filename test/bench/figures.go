package main

import "fmt"

// A figure is one promise about what the server costs, and what a run says of it.
type figure struct {
	Name     string   `json:"name"`
	AtLeast  bool     `json:"at_least"` // must is a lower bound; else an upper
	Must     *float64 `json:"must,omitempty"`
	Aim      float64  `json:"aim,omitempty"`
	Measured *float64 `json:"measured,omitempty"` // nil when this run did not measure it
	Verdict  string   `json:"verdict"`

	unit   string
	digits int
}

// verdict says what a run makes of a promise.
func (f *figure) verdict() string {
	switch {
	case f.Measured == nil:
		return "not measured"
	case f.Must == nil:
		return "for information"
	case f.AtLeast && *f.Measured >= *f.Must, !f.AtLeast && *f.Measured <= *f.Must:
		return "held"
	default:
		return "NOT HELD"
	}
}

// figures takes what must hold from the medians of a run. binary is the size of the stripped server in bytes.
func figures(r *results, binary int64) []figure {
	var all []figure
	add := func(f figure, value float64, ok bool) {
		if ok {
			f.Measured = &value
		}
		f.Verdict = f.verdict()
		all = append(all, f)
	}
	// at is a bound from above, over one from below.
	at := func(name string, must, aim float64) figure {
		return figure{Name: name, Must: &must, Aim: aim, digits: 2}
	}
	over := func(name string, must, aim float64) figure {
		return figure{Name: name, Must: &must, Aim: aim, AtLeast: true, digits: 2}
	}
	ratio := func(f figure, table, above, below string, c column) {
		a, ok1 := r.median(table, above, c)
		b, ok2 := r.median(table, below, c)
		add(f, a/b, ok1 && ok2 && b > 0)
	}
	ratio(at("ours gRPC ÷ ReverseProxy, CPU per request", 1.2, 0.95), tableServers, oursGRPC, reverseProxy, cpu)
	ratio(at("ours REST ÷ ReverseProxy, CPU per request", 1.6, 1.25), tableServers, oursREST, reverseProxy, cpu)
	ratio(over("straightforward façade ÷ ours, gRPC", 2.5, 4), tableServers, facadeGRPC, oursGRPC, cpu)
	ratio(over("straightforward façade ÷ ours, REST", 3, 5), tableServers, facadeREST, oursREST, cpu)
	grpc, ok := r.median(tableServers, oursGRPC, cpu)
	fetch, ok2 := r.median(tableServers, floorFetch, cpu)
	for _, f := range []struct {
		figure figure
		row    string
	}{
		{at("ours gRPC ÷ (floor gRPC + floor fetch)", 1.3, 1.0), floorGRPC},
		{figure{Name: "the same, floor gRPC encoded beforehand", digits: 2}, floorEncoded},
	} {
		answer, ok3 := r.median(tableServers, f.row, cpu)
		add(f.figure, grpc/(answer+fetch), ok && ok2 && ok3)
	}
	made, ok := r.median(tableServers, oursGRPC, allocations)
	add(at("allocations per gRPC call, whole chain", 200, 130), made, ok)
	dialled, ok := r.median(tableServers, oursGRPC, dials)
	f := at("upstream dials per request in steady state, 64 callers", 0, 0)
	f.digits = 5
	add(f, dialled, ok)
	added := func(f figure, c column) {
		without, ok1 := r.median(tablePaced, direct, c)
		mine, ok2 := r.median(tablePaced, oursGRPC, c)
		theirs, ok3 := r.median(tablePaced, reverseProxy, c)
		add(f, (mine-without)/(theirs-without), ok1 && ok2 && ok3 && theirs > without)
	}
	added(at("p50 added to a direct call at 1,000/s, ours gRPC ÷ ReverseProxy", 1.3, 1.0), p50)
	added(figure{Name: "the same, had no round been measured again", digits: 2}, firstP50)
	ratio(at("64 KB ÷ 5 KB, ours gRPC, CPU per request", 8, 5), tableSizes, bySize(oursGRPC, 64), bySize(oursGRPC, 5), cpu)
	ratio(at("512 callers ÷ 16, ours gRPC, CPU per request", 1.2, 1.0), tableCallers, byCallers(oursGRPC, 512), byCallers(oursGRPC, 16), cpu)
	ratio(at("memory with 1,000 slow calls, ours gRPC ÷ ReverseProxy", 2, 1.2), tableMemory, oursGRPC, reverseProxy, memory)
	ratio(figure{Name: "the same, ours REST", digits: 2}, tableMemory, oursREST, reverseProxy, memory)
	first, ok := r.median(tableStart, oursGRPC, firstAnswer)
	f = at("start to first answer, gRPC", 100, 30)
	f.unit, f.digits = " ms", 1
	add(f, first, ok)
	f = at("stripped binary", 30, 25)
	f.unit, f.digits = " MB", 1
	add(f, float64(binary)/1e6, true)
	return all
}

func figuresMarkdown(all []figure) string {
	var rows [][]string
	for _, f := range all {
		sign, must, aim, measured := "≤ ", "", "", "–"
		if f.AtLeast {
			sign = "≥ "
		}
		if f.Must != nil {
			must, aim = fmt.Sprintf("%s%g%s", sign, *f.Must, f.unit), fmt.Sprintf("%g%s", f.Aim, f.unit)
		}
		if f.Measured != nil {
			measured = fmt.Sprintf("%.*f%s", f.digits, *f.Measured, f.unit)
		}
		rows = append(rows, []string{f.Name, must, aim, measured, f.Verdict})
	}
	return markdown([]string{"", "must", "aim", "measured", ""}, rows)
}
