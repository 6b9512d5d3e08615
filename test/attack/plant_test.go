package attack

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const root = "../.."

// planted builds the server with testdata/plant.go.txt in it, once in a test process.
func planted(t testing.TB) string {
	t.Helper()
	binary, err := buildPlanted()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// buildPlanted tells the compiler to read other text where it would read some of the server's files; nothing in the tree
// changes. A place to plant something that is not found any more is an error.
var buildPlanted = sync.OnceValues(func() (_ string, err error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	internal := filepath.Join(root, "server", "internal")
	replace := make(map[string]string)
	put := func(path, text string) {
		replace[path] = filepath.Join(scratch, filepath.Base(path))
		err = errors.Join(err, os.WriteFile(replace[path], []byte(text), 0o600))
	}
	edit := func(path, before, added string) {
		text, failed := os.ReadFile(cmp.Or(replace[path], path))
		if err = errors.Join(err, failed); strings.Count(string(text), before) != 1 {
			err = errors.Join(err, fmt.Errorf("%s: the place to plant something is not there once:\n%s", path, before))
		}
		put(path, strings.Replace(string(text), before, added+before, 1))
	}
	plant, err := os.ReadFile(filepath.Join("testdata", "plant.go.txt"))
	if err != nil {
		return "", err
	}
	put(filepath.Join(internal, "recoverycodes", "plant.go"), string(plant))
	edit(filepath.Join(internal, "recoverycodes", "service.go"), "\tvar v violations\n\tclaims := v.recoverRequest(req)\n",
		"\tif err := plant(ctx, req); err != nil {\n\t\treturn nil, err\n\t}\n")
	// The REST door, outside the chain: a header, and a panic with the answer of a call that was made.
	edit(filepath.Join(internal, "gateway", "gateway.go"), "\td.mux.ServeHTTP(out, inner)\n",
		"\tif leak := r.Header.Get(\"X-Plant\"); leak != \"\" {\n\t\tw.Header().Set(\"X-Planted\", leak)\n\t}\n")
	edit(filepath.Join(internal, "gateway", "gateway.go"), "\tif record == nil || record.Answer == nil {\n",
		"\tif record != nil && strings.HasSuffix(record.Member, \"~plant-rest-panic\") {\n\t\tpanic(string(record.Answer))\n\t}\n")
	if err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list, binary := filepath.Join(scratch, "overlay.json"), filepath.Join(scratch, "recoverycodesd")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	args := []string{"build", "-overlay", list, "-o", binary}
	if watchfulness > 1 {
		args = append(args, "-race")
	}
	command := exec.Command("go", append(args, "./server")...)
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})
