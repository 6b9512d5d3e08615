package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// link is the price of one link of the chain, by the benchmarks that stand beside the chain. They run one link around
// a handler that does nothing.
type link struct {
	Name        string  `json:"name"`
	Nanoseconds float64 `json:"ns_per_call"`
	Bytes       float64 `json:"bytes_per_call"`
	Allocations float64 `json:"allocations_per_call"`
}

// linkBenchmark is the benchmark whose parts are the links.
const linkBenchmark = "BenchmarkLink"

// measureLinks runs the benchmarks on the core of the servers. It returns none when there are none.
func (r *rig) measureLinks(ctx context.Context, rounds int) ([]link, error) {
	var out, stderr bytes.Buffer
	command := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^"+linkBenchmark+"$", "-benchmem", "-benchtime=100ms",
		"-count="+strconv.Itoa(rounds), "./server/internal/interceptor")
	command.Stdout, command.Stderr = &out, &stderr
	if err := startOn(r.serverCore, command); err != nil {
		return nil, err
	}
	if err := command.Wait(); err != nil {
		return nil, fmt.Errorf("the chain's benchmarks: %w\n%s%s", err, out.String(), stderr.String())
	}
	return readLinks(&out), nil
}

// readLinks takes the median of each benchmark out of what `go test -bench` prints.
func readLinks(out *bytes.Buffer) []link {
	var names []string
	found := make(map[string]*rowResult) // the columns of a sample do, three of them
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		name, ok := strings.CutPrefix(strings.Join(fields[:min(len(fields), 1)], ""), linkBenchmark+"/")
		if !ok {
			continue
		}
		if found[name] == nil {
			found[name] = &rowResult{}
			names = append(names, name)
		}
		var s sample
		for i := 2; i+1 < len(fields); i += 2 {
			value, _ := strconv.ParseFloat(fields[i], 64)
			switch fields[i+1] {
			case "ns/op":
				s.CPU = value
			case "B/op":
				s.Resident = value
			case "allocs/op":
				s.Allocations = value
			}
		}
		found[name].Rounds = append(found[name].Rounds, s)
	}
	links := make([]link, 0, len(names))
	for _, name := range names {
		r := found[name]
		links = append(links, link{name, r.spread(cpu).median, r.spread(memory).median, r.spread(allocations).median})
	}
	return links
}

func linksMarkdown(links []link) string {
	var rows [][]string
	for _, l := range links {
		rows = append(rows, []string{
			l.Name, fmt.Sprintf("%.0f", l.Nanoseconds), fmt.Sprintf("%.0f", l.Bytes), fmt.Sprintf("%.0f", l.Allocations),
		})
	}
	return "### Each link of the chain by itself, around a handler that does nothing\n\n" +
		markdown([]string{"", "ns/call", "bytes/call", "allocations/call"}, rows)
}
