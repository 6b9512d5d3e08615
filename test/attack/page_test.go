package attack

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// testsIn returns the names of the tests in a directory.
func testsIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
	}
	return names
}

// TestThreatModel holds docs/threat-model.md to the tests that it names: each promise has one at least, each of them exists
// where the page says, and none of this package is left out.
func TestThreatModel(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("((?:`Test\\w+`(?:, )?)+) in `([\\w/]+)`")
	there := make(map[string][]string)
	here := map[string]bool{"TestThreatModel": true}
	promises := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 2 || cells[0] == " promise" {
			continue
		}
		promises++
		left := named.ReplaceAllString(cells[1], "")
		if left = strings.Trim(left, " ,"); left != "" || !named.MatchString(cells[1]) {
			t.Errorf("%q is held by no test, or by something else: %q", cells[0], left)
		}
		for _, m := range named.FindAllStringSubmatch(cells[1], -1) {
			dir := m[2]
			if there[dir] == nil {
				there[dir] = testsIn(t, dir)
			}
			for _, name := range regexp.MustCompile(`Test\w+`).FindAllString(m[1], -1) {
				if !slices.Contains(there[dir], name) {
					t.Errorf("%q: there is no %s in %s", cells[0], name, dir)
				}
				if dir == "test/attack" {
					here[name] = true
				}
			}
		}
	}
	if promises < 40 {
		t.Errorf("only %d promises were found: %v", promises, slices.Collect(maps.Keys(there)))
	}
	for _, name := range testsIn(t, "test/attack") {
		if !here[name] {
			t.Errorf("the page does not name %s", name)
		}
	}
}
