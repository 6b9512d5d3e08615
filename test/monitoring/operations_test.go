package monitoring

import (
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"recoverycodes.internal/test/daemon"
)

// A row is what the page says of a metric.
type row struct {
	Kind   string
	Labels []string
	text   string
}

// rowsOf reads the page's table of metrics.
func rowsOf(t *testing.T) map[string]row {
	t.Helper()
	_, rest, _ := strings.Cut(read(t, page), "<!-- metrics -->")
	table, _, ok := strings.Cut(rest, "<!-- /metrics -->")
	if !ok {
		t.Fatal("the page has no table of metrics")
	}
	out := make(map[string]row)
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*)\\| (.*) \\|$").FindAllStringSubmatch(table, -1) {
		r := row{Kind: m[2], Labels: []string{}, text: m[4]}
		for _, label := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(m[3], -1) {
			r.Labels = append(r.Labels, label[1])
		}
		slices.Sort(r.Labels)
		out[m[1]] = r
	}
	return out
}

// told are labels whose every value the page explains. Of the others it names none, or Stytch and the policy do.
var told = []string{"outcome", "limit", "state", "kind", "consequence", "what", "door"}

// holdTable compares the page's table with what servers expose: names, types and labels, and the values of those labels
// that the page explains.
func holdTable(t *testing.T, s *servers) {
	t.Helper()
	want, got := make(map[string]row), rowsOf(t)
	for _, d := range s.all() {
		text := metrics(t, d)
		seen := exposed{}
		seen.add(text)
		for _, m := range regexp.MustCompile(`(?m)^# TYPE (recoverycodes_\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
			r := row{Kind: m[2], Labels: []string{}}
			series := seen[m[1]]
			if m[2] == "histogram" {
				series = seen[m[1]+"_count"]
			}
			for label, values := range series {
				r.Labels = append(r.Labels, label)
				for value := range values {
					if slices.Contains(told, label) && !strings.Contains(got[m[1]].text, "`"+value+"`") {
						t.Errorf("%s: nothing is said of the %s %q", m[1], label, value)
					}
				}
			}
			slices.Sort(r.Labels)
			want[m[1]] = r
		}
	}
	if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".text" }, cmp.Ignore())); diff != "" {
		t.Errorf("the page's table: -servers +page:\n%s", diff)
	}
}

// TestPageTells holds what the page says of flags, variables and log lines to the command and its source.
func TestPageTells(t *testing.T) {
	text := read(t, page)
	_, help := daemon.Run(t, nil, "serve", "--help")
	for _, m := range regexp.MustCompile("`(--[a-z-]+|[A-Z][A-Z0-9]*_[A-Z0-9_]+)").FindAllStringSubmatch(text, -1) {
		switch name := m[1]; {
		case strings.Contains(help, name+" "), name == "--enable-feature": // Prometheus's
		case strings.HasPrefix(name, "--"):
			t.Errorf("there is no flag %s", name)
		case !strings.Contains(read(t, "../../docs/errors.md"), "`"+name+"`"): // else it is a reason, which is no variable
			t.Errorf("there is no variable %s", name)
		}
	}
	written := texts(t, "../../server")
	for _, m := range regexp.MustCompile(`"message":"([^"]+)"`).FindAllStringSubmatch(text, -1) {
		if !written[m[1]] {
			t.Errorf("no line of the server says %q", m[1])
		}
	}
	if problem := stops(text, help); problem != "" {
		t.Error(problem)
	}
}

// stops compares what the page says of how long a stop takes with the defaults.
func stops(text, help string) string {
	total := 6 * time.Second // 2 s with the upstream's, and what ends afterwards
	for _, flag := range []string{"--drain-delay", "--drain-timeout", "--upstream-timeout"} {
		m := regexp.MustCompile(`(?m)^  ` + flag + ` +\S+ +(\S+) `).FindStringSubmatch(help)
		if m == nil {
			return "no default of " + flag
		}
		d, err := time.ParseDuration(m[1])
		if err != nil {
			return err.Error()
		}
		total += d
	}
	if want := fmt.Sprintf("it ends within %d s", int(total.Seconds())); !strings.Contains(text, want) {
		return "the page does not say: " + want
	}
	return ""
}

// texts are the string literals of Go files that are no tests.
func texts(t *testing.T, root string) map[string]bool {
	t.Helper()
	out := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var s scanner.Scanner
		files := token.NewFileSet()
		s.Init(files.AddFile(path, files.Base(), len(content)), content, nil, 0)
		for {
			_, kind, literal := s.Scan()
			if kind == token.EOF {
				return nil
			}
			if kind == token.STRING {
				if value, err := strconv.Unquote(literal); err == nil {
					out[value] = true
				}
			}
		}
	})
	if err != nil || len(out) < 100 {
		t.Fatal(err, len(out))
	}
	return out
}

// TestPageIsWhole: each alert is explained in the three steps, and every link of the page leads somewhere.
func TestPageIsWhole(t *testing.T) {
	text := read(t, page)
	for _, section := range regexp.MustCompile(`(?m)^### `).Split(text, -1)[1:] {
		name, rest, _ := strings.Cut(section, "\n")
		at := -1
		for _, step := range []string{"\n- **Means** ", "\n- **Look** ", "\n- **Do** "} {
			next := strings.Index(rest, step)
			if next <= at {
				t.Errorf("%s: no%s, or not in its place", name, strings.TrimSpace(step))
			}
			at = next
		}
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#]*)(?:#([^)]*))?\)`).FindAllStringSubmatch(text, -1) {
		path := filepath.Join("../../docs", m[1])
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		} else if m[2] != "" && !slices.Contains(headings(read(t, path)), m[2]) {
			t.Errorf("%s has no heading for #%s", m[1], m[2])
		}
	}
}

// headings are the anchors that a page's headings make.
func headings(text string) (out []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		out = append(out, strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// pageQueries are the queries that the page gives, by themselves.
func pageQueries(t *testing.T) (out []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("`([^`]*(?:recoverycodes_|process_)[^`]*)`").FindAllStringSubmatch(read(t, page), -1) {
		if !strings.HasSuffix(m[1], "…") {
			out = append(out, m[1])
		}
	}
	if len(out) < 20 {
		t.Fatalf("only %d queries in the page", len(out))
	}
	return out
}
