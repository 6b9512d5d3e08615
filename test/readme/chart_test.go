package readme

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestSecretsOfTheChart renders the chart as docs/deploy.md installs it, and compares the Secrets that its pods want, with their
// keys, with those that the page makes.
func TestSecretsOfTheChart(t *testing.T) {
	const page = "docs/deploy.md"
	helm, err := filepath.Abs(filepath.Join(root, ".ci", "tools", "bin", "helm"))
	if err == nil {
		_, err = os.Stat(helm)
	}
	if err != nil {
		unavailable(t, "%v", err)
	}
	s := &stage{dir: t.TempDir()}
	s.replace("sha256:…", "sha256:"+strings.Repeat("0", 64), "project-live-…", "project-live-1", `"…"`, `"`+strings.Repeat("0", 64)+`"`)
	var made []string
	var render *exec.Cmd
	for _, b := range blocksOf(t, page) {
		if b.language == "yaml" {
			s.show(t, b)
		}
		for _, c := range b.commands() {
			if m := regexp.MustCompile(`^kubectl create secret generic ([\w-]+) --from-(?:file|literal)=(\w+)=`).FindStringSubmatch(c.text); m != nil {
				made = append(made, m[1]+" "+m[2])
			}
			if args, ok := strings.CutPrefix(c.text, "helm upgrade --install "); ok {
				args = strings.Replace(args, "deploy/chart", filepath.Join(root, "deploy", "chart"), 1)
				args = strings.Replace(args, "values-production.yaml", s.path("values-production.yaml"), 1)
				render = exec.Command(helm, append([]string{"template"}, strings.Fields(args)...)...)
			}
		}
	}
	if render == nil {
		t.Fatal("the page does not install the chart")
	}
	manifests, err := render.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, manifests)
	}
	wanted := secretsIn(t, string(manifests))
	slices.Sort(made)
	if len(made) != 4 || !slices.Equal(made, wanted) {
		t.Errorf("the page makes %q, the pods want %q", made, wanted)
	}
}

// secretsIn are the Secrets that manifests name, each with a key that they take of it.
func secretsIn(t *testing.T, manifests string) (all []string) {
	t.Helper()
	var walk func(node any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, child := range node {
				walk(child)
			}
		case map[string]any:
			if name, ok := node["secretName"].(string); ok {
				items, _ := node["items"].([]any)
				for _, item := range items {
					key, _ := item.(map[string]any)["key"].(string)
					all = append(all, name+" "+key)
				}
			}
			if ref, ok := node["secretKeyRef"].(map[string]any); ok {
				name, _ := ref["name"].(string)
				key, _ := ref["key"].(string)
				all = append(all, name+" "+key)
			}
			for _, child := range node {
				walk(child)
			}
		}
	}
	for decoder := yaml.NewDecoder(strings.NewReader(manifests)); ; {
		var document any
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		walk(document)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
