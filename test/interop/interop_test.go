// Package interop runs the examples of client/examples, each in its own language, against the running server and against
// services that fail on purpose. It knows what the examples print and how many calls they may make.
package interop

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/test/daemon"
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if products, err = os.MkdirTemp("", "interop"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(products) }()
	defer daemon.Remove()
	return m.Run()
}

// organization is the sandbox's. Every example has a member of its own: the fault is a pause of a millisecond.
const organization = "organization-test-07971b06-ac8b-4cdb-9c15-63b17e653931"

func (e *example) member() string { return "member-test-fault-slow-1~" + e.name }

const everythingWorks = `get: 10 active codes
recover: done, 9 codes left
recover, same key: the same session: true
recover, no such session: refused, SESSION_NOT_FOUND
rotate: done, 10 new codes
`

// TestPackages looks into what would be published for what the examples do not load: types, and the license.
func TestPackages(t *testing.T) {
	for name, files := range map[string][]string{
		"Node": {
			"client/examples/node/node_modules/recoverycodes/src/stytch/b2b/recoverycodes/v1/recovery_codes_pb.d.ts",
			"client/examples/node/node_modules/recoverycodes/src/stytch/b2b/organizations/v1/member_pb.d.ts",
			"client/examples/node/node_modules/recoverycodes/README.md", "client/examples/node/node_modules/recoverycodes/LICENSE",
		},
		"Python": {
			"installed/recoverycodes/py.typed", "installed/recoverycodes/stytch/b2b/recoverycodes/v1/recovery_codes_pb2.pyi",
			"installed/recoverycodes/stytch/b2b/organizations/v1/member_pb2.pyi", "installed/recoverycodes-*.dist-info/LICENSE",
		},
	} {
		i := slices.IndexFunc(languages, func(l language) bool { return l.name == name })
		languages[i].run(t, func(t *testing.T, _ *example) {
			for _, file := range files {
				if _, err := only(filepath.Join(products, name), file); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestSandbox is what a newcomer sees.
func TestSandbox(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	eachLanguage(t, func(t *testing.T, example *example) {
		if got := example.run(t, d.GRPC, example.member()); got != everythingWorks {
			t.Errorf("it prints\n%s", got)
		}
	})
}

// TestTLSAndToken is the same with a server that wants to know its callers.
func TestTLSAndToken(t *testing.T) {
	dir := t.TempDir()
	certificate, key := selfSigned(t, dir)
	policy := filepath.Join(dir, "policy.yaml")
	text := fmt.Sprintf("callers:\n  - name: example\n    match: { secret_sha256: %x }\n    methods: [Get, Recover, Rotate]\n    organizations: %s\n",
		sha256.Sum256([]byte("the-callers-token")), organization)
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemon.Start(t, nil, "--sandbox", "--policy="+policy, "--tls-certificate-file="+certificate, "--tls-key-file="+key)
	eachLanguage(t, func(t *testing.T, example *example) {
		got := example.run(t, d.GRPC, example.member(), "RECOVERYCODES_CA_FILE="+certificate, "RECOVERYCODES_TOKEN=the-callers-token")
		if got != everythingWorks {
			t.Errorf("it prints\n%s", got)
		}
	})
}

// TestUnknownOutcomes has Stytch do what it is asked to, and its answers lost: no example sends the call again, and
// each learns by Get what came of it.
func TestUnknownOutcomes(t *testing.T) {
	for name, test := range map[string]struct {
		spoil  spoiler
		reason string
	}{
		"a 500":            {failed, "OUTCOME_UNKNOWN"},
		"half of a 200":    {halved, "ANSWER_LOST"},
		"a connection cut": {cut, "OUTCOME_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			sandbox := daemon.StartSandbox(t, false)
			d := daemon.Start(t, append(slices.Clip(sandbox.Env), "STYTCH_BASE_URL="+inFrontOf(t, sandbox.URL, test.spoil)), "--insecure-allow-any-caller")
			eachLanguage(t, func(t *testing.T, example *example) {
				want := fmt.Sprintf("get: 10 active codes\nrecover: unknown, %[1]s\nresolve: the code is inactive\n"+
					"rotate: unknown, %[1]s\nresolve: 10 codes are valid\n", test.reason)
				if got := example.run(t, d.GRPC, example.member()); got != want {
					t.Errorf("it prints\n%s", got)
				}
				if calls := sandbox.Member(t, example.member()).Calls; calls.Recover != 1 || calls.Rotate != 1 {
					t.Errorf("Stytch was asked %+v", calls)
				}
			})
		})
	}
}

// TestRetries holds each example to its retry configuration: Get is sent three times, Recover and Rotate once.
func TestRetries(t *testing.T) {
	for name, test := range map[string]struct {
		fail failure
		want string
	}{
		"UNAVAILABLE, by somebody on the way": {
			failure{code: codes.Unavailable}, "recover: unknown\nresolve: the code is active\nrotate: unknown\nresolve: 1 codes are valid\n",
		},
		"a broken connection": {
			failure{broken: true}, "recover: unknown\nresolve: the code is active\nrotate: unknown\nresolve: 1 codes are valid\n",
		},
		"not sent": {
			failure{code: codes.Unavailable, reason: "NOT_SENT"}, "recover: not sent, NOT_SENT\nrotate: not sent, NOT_SENT\n",
		},
		"an ErrorInfo of somebody else": {
			failure{code: codes.PermissionDenied, domain: "proxy.example", reason: "NOT_SENT"},
			"recover: unknown\nresolve: the code is active\nrotate: unknown\nresolve: 1 codes are valid\n",
		},
		"a defect of the service": {
			failure{code: codes.Internal, reason: "INTERNAL"},
			"recover: unknown, INTERNAL\nresolve: the code is active\nrotate: unknown, INTERNAL\nresolve: 1 codes are valid\n",
		},
		"a refusal": {
			failure{code: codes.PermissionDenied, reason: "OPERATION_NOT_ALLOWED"},
			"recover: refused, OPERATION_NOT_ALLOWED\nrotate: refused, OPERATION_NOT_ALLOWED\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachLanguage(t, func(t *testing.T, example *example) {
				stub := startStub(t, test.fail)
				if got, want := example.run(t, stub.address, "member"), "get: 1 active codes\n"+test.want; got != want {
					t.Errorf("it prints\n%s", got)
				}
				first, recovers, rotates := stub.calls()
				if first != 3 || recovers != 1 || rotates != 1 {
					t.Errorf("%d Get before the first answer, %d Recover, %d Rotate; want 3, 1, 1", first, recovers, rotates)
				}
				if stub.withoutKey.Load() || stub.withoutDeadline.Load() {
					t.Errorf("a call without an idempotency key: %t; without a deadline: %t", stub.withoutKey.Load(), stub.withoutDeadline.Load())
				}
			})
		})
	}
}
