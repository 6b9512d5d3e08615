package attack

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// memory is what a process has, in bytes: now, and the most it has had since this was last asked.
type memory struct{ now, most int }

func (x *target) memory(t testing.TB) memory {
	t.Helper()
	proc := "/proc/" + strconv.Itoa(x.PID())
	text, err := os.ReadFile(proc + "/status")
	if err != nil {
		t.Skip("the memory of a process is known by /proc alone: ", err)
	}
	read := func(name string) int {
		m := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in\n%s", name, text)
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n << 10
	}
	// The most begins anew; where the system does not let it, the bound is only harder to keep.
	_ = os.WriteFile(proc+"/clear_refs", []byte("5"), 0)
	return memory{now: read("VmRSS"), most: read("VmHWM")}
}

// grew fails the test when the most memory that the server has had since is more than by over what it had before.
func (x *target) grew(t testing.TB, before memory, by int) {
	t.Helper()
	after := x.memory(t)
	t.Logf("memory: %d MiB before, %d MiB now, %d MiB at most", before.now>>20, after.now>>20, after.most>>20)
	if grown := after.most - before.now; grown > by*watchfulness {
		t.Errorf("the server's memory grew by %d MiB, want at most %d", grown>>20, by*watchfulness>>20)
	}
}
