// Package attack plays those who mean harm, or do it by mistake, against a running server: what it must not say, what it
// must not believe, and what must not wear it out. docs/threat-model.md names the test of each promise, and a test here
// holds that page to the tests there are.
//
// It knows the server as anybody on the network does, and besides its settings, its log lines and how much memory it has.
package attack

import (
	"flag"
	"os"
	"testing"

	"recoverycodes.internal/test/daemon"
)

// scratch is a directory for what is built, from TestMain on.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		panic(err)
	}
	scratch = dir
	// Most of these tests wait, for a server that is another process or for its limits to pass.
	_ = flag.Set("test.parallel", "6") // unless the command line says something else, which is read after this
	code := m.Run()
	daemon.Remove()
	_ = os.RemoveAll(scratch)
	os.Exit(code)
}

// The sandbox's seed, as its page tells it.
const (
	projectID    = "project-test-00000000-0000-4000-8000-000000000000"
	organization = "organization-test-07971b06-ac8b-4cdb-9c15-63b17e653931"
	member       = "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f"
	code1        = "sand-b0xc-ode1"
)

// The floods. They are as large as two processors take in seconds; each is far beyond what a server without the limit
// that it is about could take without showing it. Under the race detector, those that are many are a tenth.
const (
	manyHeaders     = 10_000
	manyMetadata    = 16 << 20 // bytes
	manyConnections = 10_000 / watchfulness
	manyResets      = 20_000 / watchfulness
	manyWatches     = 5_000 / watchfulness
	manyKeyIDs      = 2_000 / watchfulness
	manyCallers     = 1_000
)
