// Package script is what the scripts of both commands, which are their manual, have beyond testscript's own: commands with an
// exit code that they must end with, and a look for goroutines when all is over. It knows neither command.
package script

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// Main runs the tests of a command's package and ends the process. Scripts find the command under its name. After the tests,
// after is called, if there is one, and no goroutine may be left.
func Main(m *testing.M, name string, command, after func()) {
	testscript.Main(leakFree{m, after}, map[string]func(){name: command})
}

type leakFree struct {
	*testing.M

	after func()
}

// Run implements testscript.TestingM.
func (m leakFree) Run() int {
	code := m.M.Run()
	if m.after != nil {
		m.after()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Exits is the command "exits CODE COMMAND", which runs a command that must end with the exit code.
func Exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			ts.Fatalf("%v", err)
		}
		code = ended.ExitCode()
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}
