package attack

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// injected are texts that would be lines, fields or commands of their own where they are written as they come.
var injected = []string{
	"x\n{\"time\":\"2000-01-01T00:00:00.000000Z\",\"caller\":\"forged\",\"method\":\"Rotate\",\"message\":\"forged\"}\n",
	"x\r\n{\"message\":\"forged\"}\r",
	`x","caller":"forged","x":"`,
	"\x1b[2J\x1b]0;forged\x07\x1b[31mforged",
	"\u2028{\"message\":\"forged\"}\u2029\u202eforged\u0085\u009b2J",
	"\x00\x7f\u200b\ufeff",
	`\u000a\n\\"`,
	"%s%n%d${jndi:ldap://forged}",
	strings.Repeat("\x01", 100<<10), // six bytes for each where it is escaped
}

// written holds the lines of a log to what they must be: JSON objects that fit a reader, without anything in them that a
// terminal obeys.
func written(t *testing.T, name, text string, most int) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Errorf("%s: %v: %.200q", name, err, line)
			continue
		}
		if at := strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }); at >= 0 {
			t.Errorf("%s: %q stands in a line as it is", name, line[at:at+1])
		}
		if len(line) > most {
			t.Errorf("%s: a line of %d bytes", name, len(line))
		}
		if object["caller"] == "forged" || object["message"] == "forged" {
			t.Errorf("%s: a line was forged: %.200s", name, line)
		}
		lines = append(lines, object)
	}
	return lines
}

// TestLogInjection puts them wherever a caller's words are recorded: ids, request ids, and whatever is refused.
func TestLogInjection(t *testing.T) {
	t.Parallel()
	x := start(t, options{args: []string{"--audit-fail-closed"}})
	before := x.memory(t)
	conn := x.dial(t)
	calls := 0
	for _, text := range injected {
		for _, credential := range []string{"Bearer " + x.secret, "Bearer forged"} {
			got := callGRPC(t.Context(), conn, &recoverycodesv1.GetRequest{OrganizationId: text, MemberId: text}, "authorization", credential)
			if calls++; got.ok {
				t.Errorf("served: %+v", got)
			}
		}
		if printable(text) {
			var header metadata.MD
			ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+x.secret, "x-request-id", text)
			_, err := recoverycodesv1.NewRecoveryCodesServiceClient(conn).Get(ctx,
				&recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member}, grpc.Header(&header))
			if calls++; err != nil || len(header.Get("x-request-id")) != 1 || !strings.HasPrefix(header.Get("x-request-id")[0], "rc-") {
				t.Errorf("the request id %q is answered by %v, %v", text, header, err)
			}
			if got := x.getREST(t, "Authorization", "Bearer "+x.secret, "X-Request-Id", text); !got.ok {
				t.Errorf("REST: %+v", got)
			}
			calls++
		}
	}
	for _, path := range []string{"a%0a%7b%22caller%22%3a%22forged%22%7d", "%1b%5b2J", "%e2%80%a8", strings.Repeat("%01", 3<<10)} {
		conn := x.raw(t, x.HTTP)
		if _, err := fmt.Fprintf(conn, "GET /v1/b2b/recovery_codes/%s/m HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", path, x.secret); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if calls++; resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	audited := func() []map[string]any { return written(t, "audit", x.read(t, "audit"), 16<<10) }
	eventually(t, 20*time.Second, "a line of the audit log for each call", func() bool {
		return strings.Count(x.read(t, "audit"), "\n") >= calls
	})
	if lines := audited(); len(lines) != calls {
		t.Errorf("%d lines for %d calls", len(lines), calls)
	}
	written(t, "log", x.Log(), 16<<10)
	x.grew(t, before, 48<<20)
}

func printable(text string) bool {
	return len(text) < 1<<10 && strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// TestLogInjectionByUpstream has Stytch, or who is in its place, say such things: as request id, error, and names of members
// that nobody knows.
func TestLogInjectionByUpstream(t *testing.T) {
	t.Parallel()
	for i, text := range injected {
		texts, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, status := range []int{http.StatusOK, http.StatusBadRequest, http.StatusTooManyRequests, http.StatusBadGateway} {
			t.Run(fmt.Sprintf("text %d, status %d", i, status), func(t *testing.T) {
				x := upstreamed(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(status)
					_, _ = fmt.Fprintf(w, `{"status_code":200,"request_id":%s,"member_id":"m",%s:1,"error_type":%[1]s,"error_message":%[1]s,"error_url":%[1]s,"recovery_codes":[]}`, texts, texts)
				})
				_ = getGRPC(t.Context(), x.dial(t), "authorization", "Bearer "+x.secret)
				_ = x.getREST(t, "Authorization", "Bearer "+x.secret)
				eventually(t, 20*time.Second, "two lines", func() bool { return strings.Count(x.read(t, "audit"), "\n") >= 2 })
				if lines := written(t, "audit", x.read(t, "audit"), 16<<10); len(lines) != 2 {
					t.Errorf("%d lines for 2 calls", len(lines))
				}
				written(t, "log", x.Log(), 16<<10)
			})
		}
	}
}

// upstreamed is a target whose Stytch is the handler.
func upstreamed(t *testing.T, upstream http.HandlerFunc, args ...string) *target {
	t.Helper()
	s := httptest.NewServer(upstream)
	t.Cleanup(s.Close)
	x := &target{dir: t.TempDir(), secret: newSecret(), client: &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}}
	t.Cleanup(x.client.CloseIdleConnections)
	x.write(t, "policy.yaml", policy(x.secret, ""))
	x.Daemon = daemon.Start(t, []string{"STYTCH_PROJECT_ID=" + projectID, "STYTCH_SECRET=secret-test-upstream", "STYTCH_BASE_URL=" + s.URL},
		append(args, "--policy="+x.path("policy.yaml"), "--audit-file="+x.path("audit"), "--log-level=debug", "--upstream-breaker-failures=0")...)
	return x
}
