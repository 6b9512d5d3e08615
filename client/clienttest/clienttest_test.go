package clienttest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/clienttest"
	"recoverycodes.internal/client/internal/servicetest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

func get(t *testing.T, s *clienttest.Service, member string) (*recoverycodesv1.GetResponse, error) {
	t.Helper()
	return s.Client().Get(t.Context(), &recoverycodesv1.GetRequest{OrganizationId: clienttest.OrganizationSlug, MemberId: member})
}

func spend(t *testing.T, s *clienttest.Service, member string) (*recoverycodesv1.RecoverResponse, error) {
	t.Helper()
	return s.Client().Recover(t.Context(), &recoverycodesv1.RecoverRequest{
		OrganizationId: clienttest.OrganizationID, MemberId: member, RecoveryCode: clienttest.RecoveryCodes()[0],
	})
}

func rotate(t *testing.T, s *clienttest.Service, member string) (*recoverycodesv1.RotateResponse, error) {
	t.Helper()
	return s.Client().Rotate(t.Context(), &recoverycodesv1.RotateRequest{OrganizationId: clienttest.OrganizationID, MemberId: member})
}

// TestServices runs two services at once: each answers over both doors, counts what arrives and what it does, and knows
// nothing of the other.
func TestServices(t *testing.T) {
	for range 2 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := clienttest.New(t)
			before, err := get(t, s, clienttest.MemberID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(clienttest.RecoveryCodes(), before.GetRecoveryCodes()); diff != "" {
				t.Errorf("codes at the start (-want +got):\n%s", diff)
			}
			recovered, err := spend(t, s, clienttest.MemberID)
			if err != nil {
				t.Fatal(err)
			}
			if recovered.GetSessionToken() == "" || recovered.GetRecoveryCodesRemaining() != 9 {
				t.Errorf("%d codes remain, and a session: %t", recovered.GetRecoveryCodesRemaining(), recovered.GetSessionToken() != "")
			}
			rotated, err := rotate(t, s, clienttest.MemberID)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.Get("http://" + s.REST + "/v1/b2b/recovery_codes/" + clienttest.OrganizationSlug + "/" + clienttest.MemberID)
			if err != nil {
				t.Fatal(err)
			}
			defer http.DefaultClient.CloseIdleConnections()
			defer func() { _ = resp.Body.Close() }()
			var rest struct {
				RecoveryCodes []string `json:"recovery_codes"`
			}
			if err := json.NewDecoder(resp.Body).Decode(&rest); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rotated.GetRecoveryCodes(), rest.RecoveryCodes); diff != "" {
				t.Errorf("codes over REST after Rotate (-want +got):\n%s", diff)
			}
			want := clienttest.Member{
				Calls:         clienttest.Counts{Get: 2, Recover: 1, Rotate: 1},
				Effects:       clienttest.Counts{Recover: 1, Rotate: 1},
				RecoveryCodes: rotated.GetRecoveryCodes(),
			}
			if diff := cmp.Diff(want, s.Member(clienttest.MemberID)); diff != "" {
				t.Errorf("what arrived (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFaults holds what is said of each fault to what comes of it.
func TestFaults(t *testing.T) {
	s := clienttest.New(t)
	for _, c := range []struct {
		name    string
		fault   clienttest.Fault
		get     codes.Code
		outcome client.Outcome
		reason  string
		effects int
	}{
		{"none", clienttest.NoFault, codes.OK, client.Done, "", 1},
		{"slow", clienttest.Slow(20 * time.Millisecond), codes.OK, client.Done, "", 1},
		{"lost before effect", clienttest.LostBeforeEffect, codes.Unavailable, client.Unknown, "OUTCOME_UNKNOWN", 0},
		{"lost after effect", clienttest.LostAfterEffect, codes.Unavailable, client.Unknown, "OUTCOME_UNKNOWN", 1},
		{"answer lost", clienttest.AnswerLost, codes.Unavailable, client.Unknown, "ANSWER_LOST", 1},
		{"failing", clienttest.Failing, codes.Unavailable, client.Unknown, "OUTCOME_UNKNOWN", 0},
		{"rate limited", clienttest.RateLimited, codes.ResourceExhausted, client.Refused, "TOO_MANY_REQUESTS", 0},
		{"misconfigured", clienttest.Misconfigured, codes.Internal, client.Refused, "UPSTREAM_CREDENTIALS", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			member := c.fault.Member(t.Name())
			_, spent := spend(t, s, member)
			_, rotated := rotate(t, s, member)
			for method, err := range map[string]error{"Recover": spent, "Rotate": rotated} {
				var failed *client.Error
				errors.As(err, &failed)
				if failed == nil {
					failed = &client.Error{Outcome: client.OutcomeOf(err, nil)}
				}
				if failed.Outcome != c.outcome || failed.Reason != c.reason {
					t.Errorf("%s: %v, %q", method, failed.Outcome, failed.Reason)
				}
			}
			if want, got := (clienttest.Counts{Recover: c.effects, Rotate: c.effects}), s.Member(member).Effects; got != want {
				t.Errorf("effects are %+v", got)
			}
			_, err := get(t, s, member)
			var failed *client.Error
			if errors.As(err, &failed); err != nil && failed.Code != c.get || err == nil && c.get != codes.OK {
				t.Errorf("Get: %v", err)
			}
		})
	}
}

// TestFaultsDoNotReachOthers has more failures in a row than a server in production sends after.
func TestFaultsDoNotReachOthers(t *testing.T) {
	s := clienttest.New(t)
	for range 30 {
		if _, err := rotate(t, s, clienttest.Failing.Member(t.Name())); client.OutcomeOf(err, nil) != client.Unknown {
			t.Fatalf("not what was asked for: %v", err)
		}
	}
	if _, err := rotate(t, s, clienttest.MemberID); err != nil {
		t.Error(err)
	}
}

// TestNothingIsSent holds the package comment to its recipe.
func TestNothingIsSent(t *testing.T) {
	s := clienttest.New(t, clienttest.WithSettings("--upstream-timeout=2m", "--upstream-least-time=1m"))
	if _, err := rotate(t, s, clienttest.MemberID); client.OutcomeOf(err, nil) != client.NotSent {
		t.Errorf("%v", err)
	}
	if calls := s.Member(clienttest.MemberID).Calls; calls != (clienttest.Counts{}) {
		t.Errorf("%+v arrived", calls)
	}
}

func TestSeed(t *testing.T) {
	s := clienttest.New(t, clienttest.WithSeed(`{"organizations": [{"organization_id": "organization-test-mill", "members": [
		{"member_id": "member-test-kim", "recovery_codes": ["only-this-one0"]}]}]}`))
	answer, err := s.Client().Get(t.Context(), &recoverycodesv1.GetRequest{OrganizationId: "organization-test-mill", MemberId: "member-test-kim"})
	if err != nil || len(answer.GetRecoveryCodes()) != 1 {
		t.Errorf("%v, %d codes", err, len(answer.GetRecoveryCodes()))
	}
}

// TestPolicy has a policy in force: who has shown its secret may do what it says, and nobody else anything.
func TestPolicy(t *testing.T) {
	const secret = "a-secret-of-a-test-with-more-than-32-characters"
	policy := fmt.Sprintf("callers:\n  - name: login\n    match: { secret_sha256: \"%x\" }\n    methods: [Get]\n    organizations: [\"*\"]\n",
		sha256.Sum256([]byte(secret)))
	var lines bytes.Buffer
	s, err := clienttest.Start(clienttest.WithPolicy(policy), clienttest.WithAudit(&lines),
		clienttest.WithClientOptions(client.WithToken(secret)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, s, clienttest.MemberID); err != nil {
		t.Errorf("the caller: %v", err)
	}
	var failed *client.Error
	if _, err := rotate(t, s, clienttest.MemberID); !errors.As(err, &failed) || failed.Code != codes.PermissionDenied {
		t.Errorf("what the caller may not: %v", err)
	}
	other, err := client.New(s.GRPC, client.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Health(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := other.Get(t.Context(), &recoverycodesv1.GetRequest{
		OrganizationId: clienttest.OrganizationID, MemberId: clienttest.MemberID,
	}); !errors.As(err, &failed) || failed.Code != codes.Unauthenticated {
		t.Errorf("somebody else: %v", err)
	}
	if err := errors.Join(other.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if got := strings.Count(lines.String(), "\n"); got != 3 || !strings.Contains(lines.String(), `"login"`) {
		t.Errorf("%d audit lines:\n%s", got, lines.String())
	}
}

// TestWrongOptions asks for what there cannot be: the error names it, and nothing keeps running.
func TestWrongOptions(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, c := range map[string]struct {
		option clienttest.Option
		want   string
	}{
		"setting": {clienttest.WithSettings("--upstream-timeout=soon"), "--upstream-timeout"},
		"real project": {clienttest.WithSettings("--sandbox=false", "--insecure-allow-any-caller", "--stytch-project-id=project-test-x",
			"--stytch-secret-file=../testdata/token"), "--sandbox: cannot be false"},
		"policy":        {clienttest.WithPolicy("callers: 7"), "--policy"},
		"seed":          {clienttest.WithSeed("{"), "seed"},
		"client option": {clienttest.WithClientOptions(client.WithTimeout(-1)), "WithTimeout"},
		"taken address": {clienttest.WithSettings("--grpc-listen=" + taken.Addr().String()), "--grpc-listen"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := clienttest.Start(c.option)
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestTLS gives the service a certificate, and its client nothing but the authority.
func TestTLS(t *testing.T) {
	authority, dir := servicetest.NewAuthority(t), t.TempDir()
	roots, certificate, key := filepath.Join(dir, "roots.pem"), filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	authority.WriteRoots(roots)
	authority.Write("service.test", certificate, key)
	s := clienttest.New(t,
		clienttest.WithSettings("--tls-certificate-file="+certificate, "--tls-key-file="+key),
		clienttest.WithClientOptions(client.WithCAFile(roots)))
	if _, err := get(t, s, clienttest.MemberID); err != nil {
		t.Error(err)
	}
}

// TestSocket has the gRPC door on a unix socket, which the service's client finds.
func TestSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "clienttest") // a socket's path must be short, which that of t.TempDir need not be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := clienttest.New(t, clienttest.WithSettings("--grpc-listen=unix:"+dir+"/grpc"))
	if _, err := get(t, s, clienttest.MemberID); err != nil {
		t.Error(err)
	}
}

// TestMemberNames makes members of names that are no part of an id, which stay apart and are all known.
func TestMemberNames(t *testing.T) {
	s := clienttest.New(t)
	seen := make(map[string]string)
	for _, name := range []string{"a", "a/b", "a-b", "a b", "é", "", "Test/" + strings.Repeat("x", 300), "Test/" + strings.Repeat("x", 301)} {
		id := clienttest.NoFault.Member(name)
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q are one member", name, other)
		}
		seen[id] = name
		if _, err := get(t, s, id); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestStopsAtOnce closes a service while one waits for an answer that takes long, one for news of its health, and
// one has connected and says nothing.
func TestStopsAtOnce(t *testing.T) {
	s, err := clienttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	slow := clienttest.Slow(10 * time.Minute).Member(t.Name())
	var callers sync.WaitGroup
	callers.Go(func() {
		if _, err := rotate(t, s, slow); client.OutcomeOf(err, nil) != client.Unknown {
			t.Errorf("the call that was under way: %v", err)
		}
	})
	for s.Member(slow).Effects.Rotate == 0 {
		time.Sleep(time.Millisecond)
	}
	silent, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.REST)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	conn, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	callers.Wait()
}

// inAnotherProcess is the variable that tells TestInAnotherProcess, which is no test by itself, how it is to end.
const inAnotherProcess = "CLIENTTEST_ENDS"

func TestInAnotherProcess(t *testing.T) {
	ends := os.Getenv(inAnotherProcess)
	if ends == "" {
		t.Skip("TestPrintsNothingUnlessItFails runs it")
	}
	s := clienttest.New(t)
	var callers sync.WaitGroup
	for _, kind := range []string{
		"slow-0", "reset-before-effect", "reset-after-effect", "refused-stream-after-effect", "goaway-after-effect", "status-503",
		"html-502", "truncated", "not-json", "huge", "redirect", "unknown-fields", "wrong-types", "bad-utf8", "deep", "rate-limited",
		"bad-credentials",
	} {
		callers.Go(func() {
			member := clienttest.Fault(kind).Member(ends)
			_, _ = get(t, s, member) // what comes of them is the matter of other tests
			_, _ = spend(t, s, member)
			_, _ = rotate(t, s, member)
		})
	}
	callers.Wait()
	if ends == "badly" {
		t.Error("it ends badly")
	}
}

// TestPrintsNothingUnlessItFails runs every fault in a process of its own, and looks at all that the process writes. When
// the test has failed, the log is there.
func TestPrintsNothingUnlessItFails(t *testing.T) {
	run := func(ends string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		command := exec.CommandContext(ctx, os.Args[0], "-test.v", "-test.run=^TestInAnotherProcess$")
		command.Env = append(os.Environ(), inAnotherProcess+"="+ends)
		written, err := command.CombinedOutput()
		return string(written), err
	}
	nothing := regexp.MustCompile(`^=== RUN   TestInAnotherProcess\n--- PASS: TestInAnotherProcess \([0-9.]+s\)\nPASS\n`)
	if written, err := run("well"); err != nil || !nothing.MatchString(written) {
		t.Errorf("%v:\n%s", err, written)
	}
	written, err := run("badly")
	if err == nil {
		t.Error("a test that fails passes")
	}
	for _, want := range []string{"it ends badly", "the service's log", "serving", `"reason": "ANSWER_LOST"`, "stopped"} {
		if !strings.Contains(written, want) {
			t.Errorf("%q is not in what a failed test writes:\n%.2000s", want, written)
		}
	}
}

// TestWithLog has the log go where it is wanted.
func TestWithLog(t *testing.T) {
	reader, writer := io.Pipe()
	logged := make(chan string)
	go func() {
		text, _ := io.ReadAll(reader)
		logged <- string(text)
	}()
	s, err := clienttest.Start(clienttest.WithLog(writer), clienttest.WithSettings("--log-format=json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), writer.Close()); err != nil {
		t.Error(err)
	}
	if text := <-logged; !strings.Contains(text, `"message":"serving"`) {
		t.Errorf("%s", text)
	}
}
