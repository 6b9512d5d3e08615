package readme

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// pages are the README and what is in docs, by their paths from the root.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md"}
	err := fs.WalkDir(os.DirFS(root), "docs", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".md") {
			all = append(all, path)
		}
		return err
	})
	if err != nil || len(all) < 10 {
		t.Fatalf("%v; %d pages", err, len(all))
	}
	return all
}

// A block is what stands between fences.
type block struct {
	page, language string
	line           int // of the opening fence
	text           string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// blocksOf returns the blocks of a page. Each has to say what it is written in, so that no command goes by another name.
func blocksOf(t *testing.T, page string) (all []block) {
	t.Helper()
	var open *block
	for i, line := range strings.Split(read(t, page), "\n") {
		fence, rest, _ := strings.Cut(line, "```")
		switch fenced := strings.Contains(line, "```") && strings.TrimSpace(fence) == ""; {
		case fenced && open == nil:
			open = &block{page: page, language: strings.TrimSpace(rest), line: i + 1}
			if !slices.Contains([]string{"sh", "console", "text", "yaml", "json", "go", "js", "python", "ruby", "java", "php", "rust", "csharp"}, open.language) {
				t.Errorf("%s: a block of %q", open, open.language)
			}
		case fenced:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "    ") && strings.TrimSpace(line[4:]) != "" && !regexp.MustCompile(`^ +([-*|]|\d\.|[a-z`+"`"+`(])`).MatchString(line):
			t.Errorf("%s:%d: an indented block; fence it: %s", page, i+1, line)
		}
	}
	if open != nil {
		t.Errorf("%s: the block is not closed", open)
	}
	return all
}

// A command is one that a page tells its reader to run.
type command struct {
	text    string // without its comment
	prints  string // what the page shows that it prints, in a block of console
	printed bool   // whether the page shows that
}

// commands returns the commands of a block: the lines of sh, and those of console that begin with a prompt.
func (b block) commands() (all []command) {
	switch b.language {
	case "sh":
		for line := range strings.SplitSeq(strings.ReplaceAll(b.text, "\\\n", " "), "\n") {
			if line = withoutComment(line); line != "" {
				all = append(all, command{text: line})
			}
		}
	case "console":
		for _, part := range strings.Split("\n"+b.text, "\n$ ")[1:] {
			line, prints, _ := strings.Cut(part, "\n")
			prints = strings.TrimSpace(prints)
			all = append(all, command{withoutComment(line), prints, prints != ""})
		}
	}
	return all
}

// withoutComment cuts off what a shell passes over, which is not what stands in quotes.
func withoutComment(line string) string {
	quote := rune(0)
	for i, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == '#' && (i == 0 || line[i-1] == ' '):
			return strings.TrimSpace(line[:i])
		}
	}
	return strings.TrimSpace(line)
}

func TestWithoutComment(t *testing.T) {
	for line, want := range map[string]string{
		"make run     # the server": "make run", "# all of it": "", "echo a#b": "echo a#b",
		`curl -d '{"a":" # "}' x # y`: `curl -d '{"a":" # "}' x`,
	} {
		if got := withoutComment(line); got != want {
			t.Errorf("%q: %q", line, got)
		}
	}
}

// TestHeadings: no page has a heading twice, as two changes that are merged can leave it, since links find the first alone.
func TestHeadings(t *testing.T) {
	for _, page := range pages(t) {
		text, seen := read(t, page), make(map[string]bool)
		for _, b := range blocksOf(t, page) {
			text = strings.Replace(text, b.text, "", 1) // a comment of a shell is no heading
		}
		for _, heading := range regexp.MustCompile(`(?m)^#+ .*$`).FindAllString(text, -1) {
			if seen[heading] {
				t.Errorf("%s: %q stands there twice", page, heading)
			}
			seen[heading] = true
		}
	}
}

// TestMentions: a command that a page mentions within a sentence is not run, but the tests and the targets that it names exist.
func TestMentions(t *testing.T) {
	targets := read(t, "Makefile")
	tests, made := 0, 0
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile("`(go test|make) ([^`]+)`").FindAllStringSubmatch(read(t, page), -1) {
			if m[1] == "make" {
				for _, word := range strings.Fields(m[2]) {
					if made++; !strings.Contains(word, "=") && !strings.Contains(targets, "\n"+word+":") {
						t.Errorf("%s: make knows no %s", page, word)
					}
				}
				continue
			}
			tests++
			dir := regexp.MustCompile(`\./([\w/]+)`).FindStringSubmatch(m[2])
			if dir == nil {
				t.Errorf("%s: go test %s: of what?", page, m[2])
			} else if name := regexp.MustCompile(`-run '?\^?(Test\w+)`).FindStringSubmatch(m[2]); name != nil && !hasTest(t, name[1], dir[1]) {
				t.Errorf("%s: %s has no %s", page, dir[1], name[1])
			} else if !hasTest(t, "", dir[1]) {
				t.Errorf("%s: there are no tests in %s", page, dir[1])
			}
		}
	}
	if tests < 5 || made < 10 {
		t.Errorf("only %d tests and %d targets are mentioned", tests, made)
	}
}

// hasTest reports whether a directory has a test whose name begins so.
func hasTest(t *testing.T, name, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		} else if strings.Contains(string(text), "\nfunc "+name) {
			return true
		}
	}
	return false
}
