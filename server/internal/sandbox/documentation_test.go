package sandbox_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"recoverycodes.internal/server/internal/sandbox"
)

// TestDocumentation holds docs/sandbox.md to what the sandbox is.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "sandbox.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, constant := range append(sandbox.RecoveryCodes(), sandbox.ProjectID, sandbox.Secret, sandbox.OrganizationID,
		sandbox.OrganizationSlug, sandbox.MemberID, sandbox.IntermediateSessionTokenPrefix) {
		if !strings.Contains(page, "`"+constant+"`") {
			t.Errorf("the page does not show %s", constant)
		}
	}

	seed := regexp.MustCompile("(?s)```json\n({\n  \"organizations\".*?)```").FindStringSubmatch(page)
	if seed == nil {
		t.Fatal("the page shows no seed")
	}
	if _, err := sandbox.ReadSeed(strings.NewReader(seed[1])); err != nil {
		t.Errorf("the seed of the page: %v", err)
	}

	_, faults, _ := strings.Cut(page, "| KIND |")
	faults, _, _ = strings.Cut(faults, "\n\n")
	p := start(t, sandbox.Options{})
	number := strings.NewReplacer("MS", "0", "NNN", "500")
	listed := 0
	for _, row := range strings.Split(faults, "\n") {
		first, _, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		for _, kind := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(first, -1) {
			listed++
			id := fault + number.Replace(kind[1])
			if p.overHTTP1(p.about("get", id)); p.state(id).Calls.Get != 1 {
				t.Errorf("the page lists %s, which no member has", kind[1])
			}
		}
	}
	if listed != 20 {
		t.Errorf("the page lists %d kinds of fault, want 20", listed)
	}
}
