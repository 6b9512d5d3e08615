package main

import (
	"fmt"
	"strconv"
)

// A table is rows that are compared with each other: their rounds take turns.
type table struct {
	name    string
	title   string
	columns []column
	rows    []row
	times   int // how many rounds there are for each of another table; 0 is one
}

// column is one figure of a sample.
type column struct {
	name   string
	digits int
	value  func(*sample) float64
}

var (
	cpu         = column{"CPU µs/request", 1, func(s *sample) float64 { return s.CPU }}
	throughput  = column{"requests/s", 0, func(s *sample) float64 { return s.Rate }}
	busy        = column{"core busy", 2, func(s *sample) float64 { return s.Busy }}
	allocations = column{"allocations/request", 1, func(s *sample) float64 { return s.Allocations }}
	dials       = column{"upstream dials/request", 4, func(s *sample) float64 { return s.Dials }}
	p50         = column{"p50 µs", 0, func(s *sample) float64 { return s.P50 }}
	firstP50    = column{"p50 µs of first attempts", 0, func(s *sample) float64 { return s.FirstP50 }}
	p99         = column{"p99 µs", 0, func(s *sample) float64 { return s.P99 }}
	memory      = column{"resident MB", 1, func(s *sample) float64 { return s.Resident }}
	firstAnswer = column{"first answer ms", 1, func(s *sample) float64 { return s.Start }}
)

// The usual load: what a table says nothing of.
const (
	usualSize    = 5 << 10
	usualCallers = 64
	pacedRate    = 1000
	slowCalls    = 1000
)

// The names of rows that figures are made of.
const (
	oursGRPC      = "ours, gRPC"
	oursREST      = "ours, REST"
	bareGRPC      = "ours bare, gRPC"
	bareREST      = "ours bare, REST"
	oursRecover   = "ours, gRPC, keyed Recover"
	reverseProxy  = "httputil.ReverseProxy"
	plainProxy    = "httputil.ReverseProxy, no buffer pool"
	nginxProxy    = "nginx"
	facadeGRPC    = "straightforward façade, gRPC"
	facadeREST    = "straightforward façade, REST"
	floorGRPC     = "floor: gRPC without an upstream"
	floorEncoded  = "floor: the same, encoded beforehand"
	floorFetch    = "floor: fetch alone"
	direct        = "the upstream, called directly"
	overHTTP1     = "ours, gRPC; upstream HTTP/1.1"
	overTLSHTTP1  = "ours, gRPC; upstream HTTP/1.1 over TLS"
	overTLSHTTP2  = "ours, gRPC; upstream HTTP/2 over TLS"
	tableServers  = "servers"
	tablePaced    = "paced"
	tableSizes    = "sizes"
	tableCallers  = "callers"
	tableUpstream = "upstream"
	tableMemory   = "memory"
	tableStart    = "start"
)

// usually returns a row at the usual load.
func usually(name, server string, by door) row {
	return row{name: name, server: server, door: by, size: usualSize, callers: usualCallers, measure: loaded}
}

// tables are all tables. Quick leaves out the steps between the ends.
func tables(quick bool) []table {
	keyed := usually(oursRecover, oursKeyed, byGRPC)
	keyed.keyed = true
	servers := table{
		name:    tableServers,
		title:   fmt.Sprintf("Saturated: %d callers, answers of %d KB, as many calls as one core serves", usualCallers, usualSize>>10),
		columns: []column{cpu, throughput, busy, allocations, dials, memory},
		rows: []row{
			usually(oursGRPC, ours, byGRPC),
			usually(oursREST, ours, byHTTP),
			usually(bareGRPC, bare, byGRPC),
			usually(bareREST, bare, byHTTP),
			keyed,
			usually(reverseProxy, proxy, byHTTP),
			usually(plainProxy, allocates, byHTTP),
			usually(nginxProxy, nginx, byHTTP),
			usually(facadeGRPC, facade, byGRPC),
			usually(facadeREST, facade, byHTTP),
			usually(floorGRPC, floor, byGRPC),
			usually(floorEncoded, encoded, byGRPC),
			usually(floorFetch, floor, byItself),
		},
	}
	paced := table{
		name:    tablePaced,
		title:   fmt.Sprintf("At %d calls a second over 8 connections, answers of %d KB, from the intended start of each call", pacedRate, usualSize>>10),
		columns: []column{p50, p99, cpu},
		times:   2, // what else the machine's host does moves times more than it moves CPU time
		rows: []row{
			usually(direct, nobody, byHTTP),
			usually(oursGRPC, ours, byGRPC),
			usually(oursREST, ours, byHTTP),
			usually(reverseProxy, proxy, byHTTP),
			usually(nginxProxy, nginx, byHTTP),
			usually(facadeGRPC, facade, byGRPC),
			usually(facadeREST, facade, byHTTP),
			usually(floorGRPC, floor, byGRPC),
		},
	}
	for i := range paced.rows {
		paced.rows[i].rate, paced.rows[i].callers = pacedRate, maxConnections
	}
	upstream := table{
		name:    tableUpstream,
		title:   fmt.Sprintf("By the protocol to the upstream: %d callers, answers of %d KB", usualCallers, usualSize>>10),
		columns: []column{cpu, throughput, busy, allocations, dials},
		rows: []row{
			usually(overHTTP1, ours, byGRPC),
			usually(overTLSHTTP1, oursTLS1, byGRPC),
			usually(overTLSHTTP2, oursTLS2, byGRPC),
		},
	}
	return []table{servers, paced, sizes(quick), callers(quick), upstream, slow(), starts()}
}

// compared are the servers of the tables that vary one thing.
func compared() []row {
	return []row{
		usually(oursGRPC, ours, byGRPC), usually(oursREST, ours, byHTTP),
		usually(reverseProxy, proxy, byHTTP), usually(facadeGRPC, facade, byGRPC),
	}
}

func sizes(quick bool) table {
	t := table{
		name: tableSizes, title: fmt.Sprintf("By the size of the answer: %d callers", usualCallers),
		columns: []column{cpu, throughput, allocations, memory},
	}
	steps := []int{1, 5, 16, 64}
	if quick {
		steps = []int{5, 64}
	}
	for _, kilobytes := range steps {
		for _, r := range compared() {
			r.name, r.size = bySize(r.name, kilobytes), kilobytes<<10
			t.rows = append(t.rows, r)
		}
	}
	return t
}

func bySize(name string, kilobytes int) string { return name + "; " + strconv.Itoa(kilobytes) + " KB" }

func callers(quick bool) table {
	t := table{
		name: tableCallers, title: fmt.Sprintf("By the number of callers: answers of %d KB", usualSize>>10),
		columns: []column{cpu, throughput, busy, memory},
	}
	steps := []int{1, 4, 16, 64, 256, 512}
	if quick {
		steps = []int{16, 512}
	}
	for _, n := range steps {
		for _, r := range compared()[:3] {
			r.name, r.callers = byCallers(r.name, n), n
			t.rows = append(t.rows, r)
		}
	}
	return t
}

func byCallers(name string, n int) string { return name + "; " + strconv.Itoa(n) }

func slow() table {
	t := table{
		name: tableMemory, title: fmt.Sprintf("With %d calls at an upstream that does not answer, in a new process", slowCalls),
		columns: []column{memory},
	}
	for _, r := range compared()[:3] {
		r.callers, r.measure = slowCalls, held
		t.rows = append(t.rows, r)
	}
	return t
}

func starts() table {
	t := table{
		name: tableStart, title: "From starting the process to its first answer",
		columns: []column{firstAnswer},
	}
	for _, r := range compared()[:3] {
		r.callers, r.measure = 1, started
		t.rows = append(t.rows, r)
	}
	return t
}
