package monitoring

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestRules has promtool check the rules and play the recorded series.
func TestRules(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "recording.yaml", "alerts.yaml"},
		{"test", "rules", "rules_test.yaml"},
		{"test", "rules", "rules_slow_test.yaml"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			if said, err := promtool(t, kit, args...); err != nil {
				t.Errorf("%v\n%s", err, said)
			}
		})
	}
}

// played are the recorded series: cases by the name of their job, and what they expect when.
type played struct {
	Tests []struct {
		Expectations []struct {
			Expr    string
			Samples []struct{ Labels string } `yaml:"exp_samples"`
		} `yaml:"promql_expr_test"`
	}
}

// TestEveryAlertIsPlayed: since each moment of a case tells all alerts that there are, an alert is held to its rule when
// some case has it fire, and has it not before. One that waits must be seen waiting, and one that does not must not.
func TestEveryAlertIsPlayed(t *testing.T) {
	state := regexp.MustCompile(`alertname="(\w+)",alertstate="(\w+)"`)
	fires, waits, before := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, name := range []string{"rules_test.yaml", "rules_slow_test.yaml"} {
		var file played
		if err := yaml.Unmarshal([]byte(read(t, filepath.Join(kit, name))), &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Tests {
			firing := make(map[string][]string) // by case, in the order of time
			for _, moment := range test.Expectations {
				if !strings.HasPrefix(moment.Expr, "ALERTS") || strings.Contains(moment.Expr, "alertname") {
					t.Errorf("%s does not ask for all alerts of a case", moment.Expr)
				}
				var now []string
				for _, sample := range moment.Samples {
					m := state.FindStringSubmatch(sample.Labels)
					if m == nil {
						t.Fatalf("%s: no alert", sample.Labels)
					}
					if m[2] == "pending" {
						waits[m[1]] = true
						continue
					}
					now = append(now, m[1])
					fires[m[1]] = true
					if earlier, ok := firing[moment.Expr]; ok && !slices.Contains(earlier, m[1]) {
						before[m[1]] = true
					}
				}
				firing[moment.Expr] = now
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !before[a.Alert] {
			t.Errorf("%s: no case has it fire that has it not fire before", a.Alert)
		}
		if waits[a.Alert] != (a.For != "") {
			t.Errorf("%s: for %q, and seen waiting: %v", a.Alert, a.For, waits[a.Alert])
		}
	}
}

// TestAlertsTell what is wrong, how urgent it is, and where the page says what to do.
func TestAlertsTell(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^#+ (\w+)$`)
	anchors := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(read(t, page), -1) {
		anchors[strings.ToLower(m[1])] = true
	}
	recorded := make(map[string][]string)
	for _, r := range recordings(t) {
		recorded[r.Record] = parse(r.Expr).labels
	}
	seen := make(map[string]bool)
	for _, a := range alerts(t) {
		if seen[a.Alert] {
			t.Errorf("%s is there twice", a.Alert)
		}
		seen[a.Alert] = true
		if severity := a.Labels["severity"]; len(a.Labels) != 1 || severity != "critical" && severity != "warning" {
			t.Errorf("%s: labels %v", a.Alert, a.Labels)
		}
		anchor, ok := strings.CutPrefix(a.Annotations["runbook_url"], "https://recoverycodes.internal/docs/operations#")
		if !ok || anchor != strings.ToLower(a.Alert) || !anchors[anchor] {
			t.Errorf("%s: runbook_url %q", a.Alert, a.Annotations["runbook_url"])
		}
		if len(a.Annotations) != 3 || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s: annotations %v", a.Alert, a.Annotations)
		}
		asked := parse(a.Expr)
		labels := asked.labels
		for _, s := range asked.selectors {
			labels = append(labels, recorded[s.metric]...)
		}
		for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(a.Annotations["summary"]+a.Annotations["description"], -1) {
			if !slices.Contains(labels, m[1]) {
				t.Errorf("%s: the text names a label %s, which the alert has not", a.Alert, m[1])
			}
		}
	}
	for _, m := range heading.FindAllStringSubmatch(read(t, page), -1) {
		if strings.HasPrefix(m[1], "Recoverycodes") && !seen[m[1]] {
			t.Errorf("the page has %s, and there is no such alert", m[1])
		}
	}
}
