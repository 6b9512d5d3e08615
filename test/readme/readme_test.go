// Package readme holds the README and the pages of docs to the product: the settings' table to --help, the packages to the
// tree, links to where they lead, and every command to what it does.
package readme

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "grpcurl" {
		if err := grpcurl(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// read returns a file of the repository, by its path from the root.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSettings compares the table in the README with what --help prints, row by row.
func TestSettings(t *testing.T) {
	_, rest, _ := strings.Cut(read(t, "README.md"), "<!-- settings -->")
	table, _, ok := strings.Cut(rest, "<!-- /settings -->")
	if !ok {
		t.Fatal("the README has no settings table")
	}
	help, err := exec.Command(binary(t, "recoverycodesd"), "serve", "--help").Output()
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

// TestHouse compares the packages that docs/architecture.md lists with those there are.
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
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| ").FindAllStringSubmatch(read(t, "docs/architecture.md"), -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(listed)
	if !slices.Equal(have, listed) {
		t.Errorf("the page lists %v, there are %v", listed, have)
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
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| ").FindAllStringSubmatch(read(t, "docs/errors.md"), -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(known)
	slices.Sort(listed)
	if len(known) < 10 || !slices.Equal(known, listed) {
		t.Errorf("docs/errors.md lists\n%v, the server knows\n%v", listed, known)
	}
}

// TestLinks follows every link to a file of this repository, and to a heading in it.
func TestLinks(t *testing.T) {
	links := 0
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile(`\]\(([^):#]*)(?:#([^)]+))?\)`).FindAllStringSubmatch(read(t, page), -1) {
			target := page
			if m[1] != "" {
				target = path.Join(path.Dir(page), m[1])
			}
			links++
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			} else if m[2] != "" && !slices.Contains(anchors(read(t, target)), m[2]) {
				t.Errorf("%s links to %s#%s, and there is no such heading", page, m[1], m[2])
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links", links)
	}
}

// anchors are the names that a page's headings have in links.
func anchors(text string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

// TestEveryPageIsReached: from the README, by links.
func TestEveryPageIsReached(t *testing.T) {
	reached := make(map[string]bool)
	var walk func(page string)
	walk = func(page string) {
		if reached[page] {
			return
		}
		reached[page] = true
		for _, m := range regexp.MustCompile(`\]\(([^):#]+\.md)[#)]`).FindAllStringSubmatch(read(t, page), -1) {
			walk(path.Join(path.Dir(page), m[1]))
		}
	}
	walk("README.md")
	for _, page := range pages(t) {
		if !reached[page] {
			t.Errorf("no link leads to %s", page)
		}
	}
}

// TestFirstScreen: whoever opens the README sees what this is, the picture, the two commands and the way to every reader's page
// without scrolling far.
func TestFirstScreen(t *testing.T) {
	first, _, ok := strings.Cut(read(t, "README.md"), "\n## ")
	if lines := strings.Count(first, "\n"); !ok || lines > 50 {
		t.Errorf("the first screen has %d lines", lines)
	}
	for _, what := range []string{"```text\n", "\nmake run ", "\nmake test ", "docs/callers.md", "docs/drop-in.md", "docs/operations.md", "docs/contributing.md"} {
		if !strings.Contains(first, what) {
			t.Errorf("the first screen lacks %q", what)
		}
	}
	for line := range strings.Lines(first) {
		if width := len([]rune(strings.TrimRight(line, "\n"))); width > 120 && !strings.HasPrefix(line, "|") {
			t.Errorf("%d characters in a line: %s", width, line)
		}
	}
}
