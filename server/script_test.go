package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"recoverycodes.internal/test/script"
)

func TestMain(m *testing.M) {
	script.Main(m, "recoverycodesd", main, nil)
}

// TestScripts runs what testdata/script shows of the command. The files are meant to be read: they are its manual, beside the
// pages of docs.
//
// Two commands are not testscript's. "exits N COMMAND" runs a command that must end with the exit code N. "awaits FILE" waits
// until a command in the background has made a file.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // a second for each command, otherwise
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": script.Exits, "awaits": awaits},
	})
}

func awaits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: awaits FILE")
	}
	path := ts.MkAbs(args[0])
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s is not there", args[0])
		}
	}
}
