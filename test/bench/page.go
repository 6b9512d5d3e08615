package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// machine is what a run ran on, and how.
type machine struct {
	Date    string `json:"date"`
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Memory  int    `json:"memory_gb"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	Load    string `json:"load_at_start"` // the load average of the last minute
	Rounds  int    `json:"rounds"`
	Round   string `json:"round"`
	Command string `json:"command"`
}

func thisMachine(rounds int, round time.Duration, args []string) machine {
	load, _, _ := strings.Cut(firstValue("/proc/loadavg", ""), " ")
	var kilobytes int
	_, _ = fmt.Sscan(firstValue("/proc/meminfo", "MemTotal"), &kilobytes)
	return machine{
		Date: time.Now().UTC().Format(time.DateOnly),
		CPU:  firstValue("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Memory: kilobytes >> 20,
		Kernel: kernel(), Go: runtime.Version(), Load: load,
		Rounds: rounds, Round: round.String(),
		Command: strings.TrimSpace("go run ./test/bench " + strings.Join(args, " ")),
	}
}

// firstValue is what stands after "name:" in a file of /proc, or its first line when there is no name.
func firstValue(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if name == "" {
			return lines.Text()
		}
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m machine) markdown() string {
	return fmt.Sprintf("Run of %s: `%s`, %d rounds of %s; %d cores of %s, %d GB, Linux %s, %s; load average at the start %s.\n"+
		"Figures are medians, with the least and the most in brackets.\n",
		m.Date, m.Command, m.Rounds, m.Round, m.Cores, m.CPU, m.Memory, m.Kernel, m.Go, m.Load)
}

// What a run writes into the page stands between these lines.
const (
	markBegin = "<!-- bench -->\n"
	markEnd   = "<!-- /bench -->\n"
)

// updatePage replaces what stands between the marks.
func updatePage(file, content string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(text), markBegin)
	_, after, ok2 := strings.Cut(rest, markEnd)
	if !ok1 || !ok2 {
		return errors.New(file + ": the marks of the bench are not there")
	}
	return os.WriteFile(file, []byte(before+markBegin+content+markEnd+after), 0o644)
}
