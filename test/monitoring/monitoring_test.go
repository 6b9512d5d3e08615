// Package monitoring holds what operators are given to watch the server with, the rules of deploy/monitoring, its
// dashboard and docs/operations.md, to promtool, to a running Prometheus and to running servers.
package monitoring

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"recoverycodes.internal/test/daemon"
)

const (
	kit  = "../../deploy/monitoring"
	page = "../../docs/operations.md"
)

func TestMain(m *testing.M) {
	code := m.Run()
	daemon.Remove()
	os.Exit(code)
}

// program finds a program of Debian's package prometheus. Without it the test is skipped, but not in CI.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("RECOVERYCODES_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no " + name)
	}
	return path
}

// promtool runs promtool in a directory and returns what it says.
func promtool(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, program(t, "promtool"), args...)
	command.Dir = dir
	said, err := command.CombinedOutput()
	return string(said), err
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rule is a rule of Prometheus: an alert, or a recording.
type rule struct {
	Alert, Record, Expr, For string
	Labels, Annotations      map[string]string
}

func rulesOf(t *testing.T, name string) (out []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(read(t, filepath.Join(kit, name))), &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		out = append(out, group.Rules...)
	}
	if len(out) < 10 {
		t.Fatalf("only %d rules in %s", len(out), name)
	}
	return out
}

func alerts(t *testing.T) []rule     { return rulesOf(t, "alerts.yaml") }
func recordings(t *testing.T) []rule { return rulesOf(t, "recording.yaml") }

// panel is what the tests look at of a panel of the dashboard.
type panel struct {
	Type, Title string
	ID          int
	GridPos     struct{ H, W, X, Y int }
	Datasource  map[string]string
	Targets     []target
}

type target struct {
	Expr, RefID string
	Exemplar    bool
	Datasource  map[string]string
}

type variable struct {
	Name, Type, Definition string
}

type dashboard struct {
	UID           string
	ID            *int
	SchemaVersion int
	Panels        []panel
	Templating    struct{ List []variable }
	Annotations   struct {
		List []struct {
			Name, Expr string
			Datasource map[string]string
		}
	}
}

func board(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, filepath.Join(kit, "dashboard.json"))), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// queries are all queries of the dashboard, by where they stand.
func (d dashboard) queries() map[string]string {
	out := make(map[string]string)
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			out[p.Title+" "+q.RefID] = q.Expr
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			out["annotation "+a.Name] = a.Expr
		}
	}
	return out
}
