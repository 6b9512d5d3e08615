package monitoring

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/emptypb"
)

func nothing() *emptypb.Empty { return &emptypb.Empty{} }

// neverInTrouble are the alerts that the servers of these tests give no reason for: no server is missing, none panics,
// none has 800 calls or 8 MB of lines that nobody reads, and they have not run for a day. rules_test.yaml alone shows those.
var neverInTrouble = []string{"RecoverycodesAbsent", "RecoverycodesPanics", "RecoverycodesInFlightHigh", "RecoverycodesLogDropped"}

// TestLive puts a Prometheus with the rules in front of servers that are in every trouble. What the rules and the dashboard
// ask for is what the servers expose; each alert comes; no panel is empty; exemplars lead to traces; and the page tells of
// each metric.
func TestLive(t *testing.T) {
	s := start(t)
	p := startPrometheus(t, s)
	await(t, "a first look at the servers", func() bool { return len(p.query(t, `count_over_time(recoverycodes_ready[1m]) > 2`)) == 4 })

	s.trouble(t)
	seen := exposed{}
	for _, d := range s.all() {
		seen.add(metrics(t, d))
	}
	seen.records(recordings(t))
	t.Run("what is asked for is there", func(t *testing.T) {
		queries := board(t).queries()
		for _, v := range board(t).Templating.List {
			if text, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
				metric, label, _ := strings.Cut(strings.TrimSuffix(text, ")"), ", ")
				queries["variable "+v.Name] = "sum by (" + label + ") (" + metric + ")"
			}
		}
		for _, r := range append(alerts(t), recordings(t)...) {
			queries[r.Alert+r.Record] = r.Expr
		}
		histograms := regexp.MustCompile(`^recoverycodes_\w+_duration_seconds$`)
		for _, query := range pageQueries(t) {
			queries["the page: "+query] = histograms.ReplaceAllString(query, "${0}_count")
		}
		for where, query := range queries {
			for _, lack := range seen.lacks(query) {
				t.Errorf("%s: no server has %s", where, lack)
			}
		}
	})
	t.Run("the page has each metric", func(t *testing.T) { holdTable(t, s) })
	t.Run("each alert comes", func(t *testing.T) {
		var want []string
		for _, a := range alerts(t) {
			if !slices.Contains(neverInTrouble, a.Alert) {
				want = append(want, a.Alert)
			}
		}
		slices.Sort(want)
		var got map[string]string
		for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
			if got = p.alerts(t); cmp.Equal(slices.Sorted(maps.Keys(got)), want) {
				break
			}
			s.trouble(t) // some take more than a moment
		}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		for name, text := range got {
			if strings.Contains(text, "<no value>") || strings.Contains(text, "<error") || strings.Contains(text, "{{") {
				t.Errorf("%s says %s", name, text)
			}
		}
	})
	t.Run("no panel is empty", func(t *testing.T) {
		empty := board(t).queries()
		delete(empty, "annotation Starts") // a minute after they have started, there are none
		for deadline := time.Now().Add(20 * time.Second); len(empty) > 0 && time.Now().Before(deadline); {
			maps.DeleteFunc(empty, func(_, query string) bool { return len(p.query(t, filled(query))) > 0 })
		}
		for where, query := range empty {
			t.Errorf("%s: nothing for %s", where, filled(query))
		}
	})
	t.Run("exemplars lead to traces", func(t *testing.T) {
		asked := 0
		for _, panel := range board(t).Panels {
			for _, q := range panel.Targets {
				if q.Exemplar {
					asked++
					if text := p.exemplars(t, filled(q.Expr)); !strings.Contains(text, `"trace_id"`) {
						t.Errorf("%s: none for %s", panel.Title, q.Expr)
					}
				}
			}
		}
		if asked < 5 {
			t.Errorf("only %d queries ask for exemplars", asked)
		}
	})
}

// prometheus is a running Prometheus with the rules.
type prometheus struct{ address string }

func startPrometheus(t *testing.T, s *servers) *prometheus {
	t.Helper()
	binary := program(t, "prometheus")
	rules, err := filepath.Abs(kit)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var targets []string
	for _, d := range s.all() {
		targets = append(targets, d.Admin)
	}
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global: { scrape_interval: 500ms, evaluation_interval: 500ms }
rule_files: [%q, %q]
scrape_configs: [{ job_name: recoverycodes, static_configs: [{ targets: [%s] }] }]
`, filepath.Join(rules, "recording.yaml"), filepath.Join(rules, "alerts.yaml"), strings.Join(targets, ", ")))
	command := exec.Command(binary, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--enable-feature=exemplar-storage")
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Wait() })
	t.Cleanup(func() { _ = command.Process.Signal(syscall.SIGKILL) })
	p := &prometheus{}
	lines := bufio.NewScanner(stderr)
	var said strings.Builder
	for !strings.Contains(said.String(), "Server is ready") {
		if !lines.Scan() {
			t.Fatalf("Prometheus does not start:\n%s", said.String())
		}
		said.WriteString(lines.Text() + "\n")
		if _, address, ok := strings.Cut(lines.Text(), `msg="Listening on" address=`); ok {
			p.address = address
		}
	}
	go func() {
		for lines.Scan() {
		}
	}()
	return p
}

// ask asks Prometheus's API.
func (p *prometheus) ask(t *testing.T, path string, parameters url.Values, into any) string {
	t.Helper()
	text := fetch(t, p.address+"/api/v1/"+path+"?"+parameters.Encode())
	answer := struct {
		Status string
		Data   any
	}{Data: into}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v\n%s", path, err, text)
	}
	return text
}

func (p *prometheus) query(t *testing.T, query string) []any {
	t.Helper()
	var data struct{ Result []any }
	p.ask(t, "query", url.Values{"query": {query}}, &data)
	return data.Result
}

func (p *prometheus) exemplars(t *testing.T, query string) string {
	t.Helper()
	return p.ask(t, "query_exemplars", url.Values{"query": {query}, "start": {fmt.Sprint(time.Now().Add(-time.Hour).Unix())}, "end": {fmt.Sprint(time.Now().Add(time.Hour).Unix())}}, nil)
}

// alerts are those that fire or wait to, with their texts.
func (p *prometheus) alerts(t *testing.T) map[string]string {
	t.Helper()
	var data struct {
		Alerts []struct{ Labels, Annotations map[string]string }
	}
	p.ask(t, "alerts", nil, &data)
	out := make(map[string]string)
	for _, a := range data.Alerts {
		out[a.Labels["alertname"]] += a.Annotations["summary"] + "\n" + a.Annotations["description"] + "\n"
	}
	return out
}
