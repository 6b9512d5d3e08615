// Package deploy holds what is handed out to the product: the chart's rendered pods to the binary, its schema to the
// settings, the image and the release to what they promise.
package deploy

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"recoverycodes.internal/test/daemon"
)

const root = "../.."

var update = flag.Bool("update", false, "write the golden files and the chart's schema of the settings anew")

func TestMain(m *testing.M) {
	code := m.Run()
	daemon.Remove()
	if dir, err := scratch(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// tool is the path of one that `make packaging-tools` builds. Without it the test is skipped, but not in CI.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, ".ci", "tools", "bin", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		unavailable(t, "%s is not built: %v", name, err)
	}
	return path
}

// unavailable skips a test that this machine cannot run, and fails it in CI.
func unavailable(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("RECOVERYCODES_CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// output runs a command in a directory and returns what it has written to standard output.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	text, stderr, err := try(dir, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, text, stderr)
	}
	return text
}

func try(dir, name string, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	command := exec.Command(name, args...)
	command.Dir, command.Stdout, command.Stderr = dir, &out, &errs
	err = command.Run()
	return out.String(), errs.String(), err
}
