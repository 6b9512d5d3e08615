package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPage holds docs/callers.md to the examples: every piece of code on it is a part of one, as it stands there, and
// what it says they print is what they print.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "callers.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	if !strings.Contains(page, "\n```text\n"+everythingWorks+"```\n") {
		t.Errorf("the page does not have what the examples print:\n%s", everythingWorks)
	}
	quoted := make(map[string][]string)
	for _, m := range regexp.MustCompile("(?s)(<!-- ([^ ]+) \\[([a-z]+)\\] -->\n)?```([a-z]+)\n(.*?)\n```\n").FindAllStringSubmatch(page, -1) {
		file, part, kind, code := m[2], m[3], m[4], m[5]
		switch {
		case kind == "sh" || kind == "text":
			continue
		case file == "":
			t.Errorf("a block of %s says not where it is from:\n%s", kind, code)
		default:
			quoted[file] = append(quoted[file], part)
			if want := partOf(t, file, part); code != want {
				t.Errorf("%s [%s] is quoted as\n%s\nand is\n%s", file, part, code, want)
			}
		}
	}
	for file, want := range map[string][]string{
		"client/examples/go/main.go":      {"connect", "recover", "errors"}, // its client knows what to retry
		"client/clienttest/login_test.go": {"test"},
		"client/examples/node/main.js":    {"retries", "connect", "recover", "errors"},
		"client/examples/python/main.py":  {"retries", "connect", "recover", "errors"},
		"client/examples/ruby/main.rb":    {"retries", "connect", "recover", "errors"},
	} {
		if !slices.Equal(quoted[file], want) {
			t.Errorf("%s: the page quotes %v, want %v", file, quoted[file], want)
		}
	}
}

// partOf returns what stands in a file between the marks of a part, as far to the left as it goes.
func partOf(t *testing.T, file, part string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	mark := func(name string) *regexp.Regexp {
		return regexp.MustCompile(fmt.Sprintf(`(?m)^\s*(//|#) \[%s\]\n`, name))
	}
	from, to := mark(part).FindIndex(text), mark("/"+part).FindIndex(text)
	if from == nil || to == nil {
		t.Fatalf("%s has no part %s", file, part)
	}
	lines := strings.Split(strings.Trim(string(text[from[1]:to[0]]), "\n"), "\n")
	indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " \t"))
	for i, line := range lines {
		lines[i] = line[min(indent, len(line)):]
	}
	return strings.Join(lines, "\n")
}
