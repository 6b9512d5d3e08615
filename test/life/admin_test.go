package life

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"recoverycodes.internal/test/daemon"
)

// TestAdminDoorAsksForAToken starts with tokens and exchanges them while the server runs.
func TestAdminDoorAsksForAToken(t *testing.T) {
	const first, second, third = "admin-token-0123456789-0123456789-1", "admin-token-0123456789-0123456789-2", "admin-token-0123456789-0123456789-3"
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(first+"\n"+second+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemon.Start(t, nil, "--sandbox", "--admin-token-file="+path, "--reload-interval=10ms")
	ask := func(method, where, content string, header ...string) int {
		status, text := fetch(t, method, d.Admin+where, content, header...)
		if status == http.StatusUnauthorized && strings.Contains(text, "recoverycodes_") {
			t.Errorf("%s tells something to who has no token", where)
		}
		return status
	}
	for _, where := range []string{"/livez", "/readyz"} {
		if status := ask(http.MethodGet, where, ""); status != http.StatusOK {
			t.Errorf("%s: %d without a token", where, status)
		}
	}
	for _, request := range [][3]string{{http.MethodGet, "/metrics"}, {http.MethodGet, "/log-level"}, {http.MethodPut, "/log-level", `{"level":"debug"}`}} {
		for name, header := range map[string][]string{
			"none": nil, "wrong": {"Authorization", "Bearer " + first + "x"}, "empty": {"Authorization", "Bearer "},
			"another scheme": {"Authorization", "Basic " + first}, "no scheme": {"Authorization", first},
			"in two headers": {"Authorization", "Bearer x", "Authorization", "Bearer " + first},
		} {
			if status := ask(request[0], request[1], request[2], header...); status != http.StatusUnauthorized {
				t.Errorf("%s %s, %s: %d", request[0], request[1], name, status)
			}
		}
		for _, token := range []string{first, second} {
			if status := ask(request[0], request[1], request[2], "Authorization", "Bearer "+token); status != http.StatusOK {
				t.Errorf("%s %s: %d with a token", request[0], request[1], status)
			}
		}
	}
	next := path + ".next"
	if err := os.WriteFile(next, []byte(third), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	await(t, "the new token", func() bool {
		return ask(http.MethodGet, "/metrics", "", "Authorization", "Bearer "+third) == http.StatusOK
	})
	if status := ask(http.MethodGet, "/metrics", "", "Authorization", "Bearer "+first); status != http.StatusUnauthorized {
		t.Errorf("%d with a token that was withdrawn", status)
	}
	if strings.Contains(d.Log(), "admin-token-") {
		t.Error("a token is in the log")
	}
}

// TestLogLevelChangesWhileItRuns looks for a line that is written at debug alone: a health check's.
func TestLogLevelChangesWhileItRuns(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	conn := d.Dial(t)
	check := func(id string) {
		t.Helper()
		if err := conn.Invoke(metadata.AppendToOutgoingContext(t.Context(), "x-request-id", id), "/grpc.health.v1.Health/Check", nothing(), nothing()); err != nil {
			t.Fatal(err)
		}
	}
	check("before")
	if status, text := fetch(t, http.MethodPut, d.Admin+"/log-level", `{"level":"loud"}`); status != http.StatusBadRequest {
		t.Errorf("%d %s", status, text)
	}
	if status, text := fetch(t, http.MethodPut, d.Admin+"/log-level", "level=debug", "Content-Type", "application/x-www-form-urlencoded"); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
	if _, text := fetch(t, http.MethodGet, d.Admin+"/log-level", ""); !strings.Contains(text, `"debug"`) {
		t.Errorf("the level is %s", text)
	}
	check("between")
	await(t, "a line at debug", func() bool { return strings.Contains(d.Log(), `"request_id":"between"`) })
	if status, _ := fetch(t, http.MethodPut, d.Admin+"/log-level", `{"level":"info"}`); status != http.StatusOK {
		t.Errorf("%d", status)
	}
	check("after")
	if status, _ := fetch(t, http.MethodGet, d.HTTP+pathGet, "", "X-Request-Id", "an access line"); status == 0 {
		t.Error("no answer")
	}
	await(t, "what came later", func() bool { return strings.Contains(d.Log(), `"door":"rest"`) })
	if log := d.Log(); strings.Contains(log, `"request_id":"before"`) || strings.Contains(log, `"request_id":"after"`) ||
		strings.Count(log, "the log level was changed") != 2 {
		t.Errorf("%s", log)
	}
}

// TestLogLevelHidesNoError asks for levels that --log-level cannot have, under which unknown outcomes would leave no line, and
// for the highest that there is. Who makes the log quieter stands in it.
func TestLogLevelHidesNoError(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	for _, content := range []string{
		`{"level":"dpanic"}`, `{"level":"panic"}`, `{"level":"fatal"}`, `{"level":""}`, `{}`, `"error"`, "",
		`{"level":"debug","` + strings.Repeat("x", 2000) + `":""}`,
	} {
		if status, text := fetch(t, http.MethodPut, d.Admin+"/log-level", content); status != http.StatusBadRequest || !strings.Contains(text, "error") {
			t.Errorf("%.40q: %d %s", content, status, text)
		}
	}
	for _, level := range []string{"error", "error", "debug"} {
		if status, text := fetch(t, http.MethodPut, d.Admin+"/log-level", `{"level":"`+level+`"}`); status != http.StatusOK || !strings.Contains(text, level) {
			t.Errorf("%s: %d %s", level, status, text)
		}
	}
	d.Signal(t, syscall.SIGTERM)
	d.Wait(t)
	log := d.Log()
	for _, change := range []string{`"from":"info","to":"error"`, `"from":"error","to":"debug"`} {
		if strings.Count(log, change) != 1 {
			t.Errorf("not once %s", change)
		}
	}
	if strings.Count(log, "the log level was changed") != 2 {
		t.Errorf("%s", log)
	}
}

// TestRequestIDs proposes ids through both doors. One that is sane is taken, in the place of others the server makes one; either
// way the caller is given it and the access line has it.
func TestRequestIDs(t *testing.T) {
	d := daemon.Start(t, behind(t, answering))
	conn := d.Dial(t)
	for door, call := range map[string]func(t *testing.T, proposed string) string{
		"grpc": func(t *testing.T, proposed string) string {
			var header metadata.MD
			ctx := t.Context()
			if proposed != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", proposed)
			}
			request, answer := messages("Get")
			if err := conn.Invoke(ctx, fullName("Get"), request, answer, grpc.Header(&header)); err != nil {
				t.Fatal(err)
			}
			return strings.Join(header.Get("x-request-id"), " and ")
		},
		"rest": func(t *testing.T, proposed string) string {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.HTTP+pathGet, nil)
			if err != nil {
				t.Fatal(err)
			}
			if proposed != "" {
				req.Header.Set("X-Request-Id", proposed)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			return strings.Join(resp.Header.Values("X-Request-Id"), " and ")
		},
	} {
		for name, test := range map[string]struct {
			proposed string
			taken    bool
		}{
			"sane": {"id-of-" + door, true}, "none": {"", false}, "too long": {strings.Repeat("x", 129), false}, "two words": {"two words", false},
			"quoted": {`"}`, false},
		} {
			t.Run(door+", "+name, func(t *testing.T) {
				got := call(t, test.proposed)
				if got == "" || strings.Contains(got, " ") || (got == test.proposed) != test.taken {
					t.Errorf("%q became %q", test.proposed, got)
				}
				if !d.AwaitLog(`"request_id":"`+got+`"`, 1) {
					t.Errorf("no line, or more than one, has %q\n%s", got, d.Log())
				}
			})
		}
	}
}
