package monitoring

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// filled is a query as Grafana sends it.
func filled(query string) string {
	return strings.NewReplacer("$job", ".+", "$instance", ".+", "$__rate_interval", "1m", "$__range", "15m").Replace(query)
}

// TestDashboard looks at what Grafana does not forgive, or forgives in silence.
func TestDashboard(t *testing.T) {
	d := board(t)
	if d.UID == "" || d.ID != nil || d.SchemaVersion < 41 {
		t.Errorf("uid %q, id %v, schema %d", d.UID, d.ID, d.SchemaVersion)
	}
	ids, cells := make(map[int]bool), make(map[[2]int]string)
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" {
			t.Errorf("panel %q has the id %d, and another may too", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("panel %q lies outside, or over %q", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource["uid"] != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %q asks %v", p.Title, p.Datasource)
		}
		refs := make(map[string]bool)
		for _, q := range p.Targets {
			if q.Datasource["uid"] != "${datasource}" || q.RefID == "" || refs[q.RefID] || q.Expr == "" {
				t.Errorf("panel %q: target %+v", p.Title, q)
			}
			refs[q.RefID] = true
		}
	}
	if d.Panels[0].Type != "row" || !strings.Contains(d.Panels[1].Targets[0].Expr, "recoverycodes_outcomes_total") {
		t.Error("outcomes do not come first")
	}
	known := map[string]bool{"__rate_interval": true, "__range": true, "__all": true}
	for _, v := range d.Templating.List {
		known[v.Name] = true
	}
	if !known["datasource"] {
		t.Error("there is no choice of a datasource")
	}
	text := read(t, filepath.Join(kit, "dashboard.json"))
	for _, m := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(text, -1) {
		if !known[m[1]] {
			t.Errorf("there is no variable %s", m[1])
		}
	}
}

// TestDashboardQueriesParse has promtool read each of them, as rules.
func TestDashboardQueriesParse(t *testing.T) {
	queries := board(t).queries()
	if len(queries) < 40 {
		t.Fatalf("only %d queries", len(queries))
	}
	type recording struct{ Record, Expr string }
	type group struct {
		Name  string
		Rules []recording
	}
	rules := group{Name: "dashboard"}
	for _, where := range slices.Sorted(maps.Keys(queries)) {
		rules.Rules = append(rules.Rules, recording{"a:" + regexp.MustCompile(`\W`).ReplaceAllString(where, "_"), filled(queries[where])})
	}
	content, err := yaml.Marshal(map[string][]group{"groups": {rules}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := promtool(t, ".", "check", "rules", path); err != nil {
		t.Errorf("%v\n%s\n%s", err, said, content)
	}
}
