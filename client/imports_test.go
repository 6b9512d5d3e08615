package client_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports keeps the server out of every program that uses the client or its command line: of this module they link
// what is generated and what is under client, but for clienttest, which runs the server.
func TestImports(t *testing.T) {
	const module = "recoverycodes.internal/"
	deps, err := exec.Command("go", "list", "-deps", module+"client", module+"client/cmd/recoverycodes").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for path := range strings.Lines(string(deps)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(path), module)
		if !ok {
			continue
		}
		ours++
		allowed := strings.HasPrefix(path, "gen/") || path == "client" || strings.HasPrefix(path, "client/")
		if !allowed || strings.HasPrefix(path, "client/clienttest") || strings.HasPrefix(path, "client/internal/servicetest") {
			t.Errorf("%s is linked", path)
		}
	}
	if ours < 4 {
		t.Fatalf("only %d packages of this module: these are no dependencies", ours)
	}
}
