// Package access tests who may call and what they may do, with servers as an operator runs them: who is told apart by
// what proof, what a policy gives, what limits take away, what is recorded, and what happens when files change. Each case
// passes through both doors, and the doors have to agree.
package access

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/test/daemon"
)

func TestMain(m *testing.M) {
	code := m.Run()
	daemon.Remove()
	os.Exit(code)
}

// The sandbox's seed.
const (
	organization = "organization-test-07971b06-ac8b-4cdb-9c15-63b17e653931"
	slug         = "example-org"
	member       = "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f"
	rightCode    = "sand-b0xc-ode1"
	wrongCode    = "no-such-code"
	projectID    = "project-test-00000000-0000-4000-8000-000000000000"
)

// another is an organization that the sandbox does not have.
const another = "organization-test-another"

// fresh is a member of the seeded organization whom nobody else has named.
func fresh(name string) string {
	return "member-test-fault-slow-0~" + strings.NewReplacer(" ", "-", "/", "-").Replace(name)
}

// told is what both doors say of a reason of this server's: the gRPC code and the HTTP status.
var told = map[string]struct {
	code codes.Code
	http int
}{
	"":                           {codes.OK, 200},
	"CALLER_UNKNOWN":             {codes.Unauthenticated, 401},
	"CREDENTIAL_INVALID":         {codes.Unauthenticated, 401},
	"CALLER_CONFLICT":            {codes.Unauthenticated, 401},
	"FORWARDED_IDENTITY_REFUSED": {codes.Unauthenticated, 401},
	"OPERATION_NOT_ALLOWED":      {codes.PermissionDenied, 403},
	"ORGANIZATION_NOT_ALLOWED":   {codes.PermissionDenied, 403},
	"ORGANIZATION_ID_REQUIRED":   {codes.PermissionDenied, 403},
	"UPSTREAM_CREDENTIALS":       {codes.Internal, 500},

	// These are Stytch's.
	"ORGANIZATION_NOT_FOUND":               {codes.NotFound, 404},
	"UNABLE_TO_AUTHENTICATE_RECOVERY_CODE": {codes.Unauthenticated, 401},
}

// put replaces a file as a careful operator does: at once.
func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// file writes a file of the test's own.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	put(t, path, content)
	return path
}

// await repeats a question until it is answered with yes.
func await(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !yes(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// awaitLog waits until the log holds a text n times, and no more often.
func awaitLog(t *testing.T, d *daemon.Daemon, text string, n int) {
	t.Helper()
	if !d.AwaitLog(text, n) {
		t.Fatalf("not %d times %q in the log:\n%s", n, text, d.Log())
	}
}
