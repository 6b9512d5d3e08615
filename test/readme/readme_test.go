// Package readme holds the README to the product: its settings table to --help, its picture of the house to the tree,
// and its commands to what they print.
package readme

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"recoverycodes.internal/test/daemon"
)

const root = "../.."

func TestMain(m *testing.M) {
	m.Run()
	daemon.Remove()
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSettings compares the table in the README with what --help prints, row by row.
func TestSettings(t *testing.T) {
	_, rest, _ := strings.Cut(readme(t), "<!-- settings -->")
	table, _, ok := strings.Cut(rest, "<!-- /settings -->")
	if !ok {
		t.Fatal("the README has no settings table")
	}
	help, err := exec.Command(daemon.Binary(t), "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| flag | environment | default | |\n|---|---|---|---|\n")
	columns := regexp.MustCompile(`^  (--[a-z-]+|\(none\)) +([A-Z_]+)  +(.*)$`)
	rows := 0
	var defaultAt, docAt int
	for line := range strings.Lines(string(help)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "  flag ") {
			defaultAt, docAt = strings.Index(line, "default"), len(line)
		}
		m := columns.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rows++
		row := []string{code(strings.TrimPrefix(m[1], "(none)")), code(m[2]), code(strings.TrimSpace(line[defaultAt:docAt])), line[docAt:]}
		want.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	if rows < 10 {
		t.Fatalf("only %d settings in --help:\n%s", rows, help)
	}
	if strings.TrimSpace(table) != strings.TrimSpace(want.String()) {
		t.Errorf("the table should be\n%s", want.String())
	}
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// TestHouse compares the packages that the README lists with those there are.
func TestHouse(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(root, "server", "internal"))
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, entry := range entries {
		have = append(have, entry.Name())
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| ").FindAllStringSubmatch(readme(t), -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(listed)
	if !slices.Equal(have, listed) {
		t.Errorf("the README lists %v, there are %v", listed, have)
	}
}

// TestCommands runs what stands in the console blocks, in order, against one server, and compares what is printed. In
// what the README prints, "…" stands for anything.
func TestCommands(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("RECOVERYCODES_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no curl")
	}
	d := daemon.Start(t, nil, "--sandbox")
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "./client/cmd/recoverycodes")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	commands := 0
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(readme(t), -1) {
		for _, example := range strings.Split("\n"+strings.TrimSpace(block[1]), "\n$ ")[1:] {
			commands++
			line, want, _ := strings.Cut(example, "\n")
			line = strings.NewReplacer("localhost:8080", d.HTTP, "bin/recoverycodes", filepath.Join(bin, "recoverycodes")).Replace(line)
			command := exec.Command("sh", "-c", line)
			command.Env = append(os.Environ(), "RECOVERYCODES_SERVER="+d.GRPC)
			out, err := command.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(want)), "…", "(?s:.*)")
			if !regexp.MustCompile("^" + pattern + "$").MatchString(strings.TrimSpace(string(out))) {
				t.Errorf("$ %s\nprints\n%s\nwant\n%s", line, out, want)
			}
		}
	}
	if commands < 5 {
		t.Errorf("only %d commands in the README", commands)
	}
}

// TestErrors compares the reasons in docs/errors.md with those that the server knows, both ways.
func TestErrors(t *testing.T) {
	source := filepath.Join(root, "server", "internal", "apierror", "apierror.go")
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if value, ok := spec.Values[0].(*ast.BasicLit); ok && regexp.MustCompile(`^"[A-Z_]+"$`).MatchString(value.Value) {
				known = append(known, strings.Trim(value.Value, `"`))
			}
		}
		return true
	})
	page, err := os.ReadFile(filepath.Join(root, "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| ").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(known)
	slices.Sort(listed)
	if len(known) < 10 || !slices.Equal(known, listed) {
		t.Errorf("docs/errors.md lists\n%v, the server knows\n%v", listed, known)
	}
}

// TestLinks follows every link to a file of this repository in the README and in docs.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\]\(([^):#]+)\)`).FindAllStringSubmatch(string(text), -1) {
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
	if links < 10 {
		t.Errorf("only %d links", links)
	}
}
