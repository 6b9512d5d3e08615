// Package pages looks at the admin door's pages: by HTTP, and in a real browser. It knows what an operator sees and
// nothing of how it is made.
package pages

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"recoverycodes.internal/test/daemon"
)

func TestMain(m *testing.M) {
	m.Run()
	stopBrowser()
	daemon.Remove()
}

// The sandbox's seed, as docs/sandbox.md tells it.
const (
	organization = "example-org"
	member       = "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f"
	code1        = "sand-b0xc-ode1"
	code2        = "mill-7pon-d2ru"
)

const (
	pathGet     = "/v1/b2b/recovery_codes/" + organization + "/" + member
	pathRecover = "/v1/b2b/recovery_codes/recover"
	pathRotate  = "/v1/b2b/recovery_codes/rotate"
)

// request asks for a page, or the REST door, and returns the answer with its body read.
func request(t *testing.T, method, url, content string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+url, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// call is a POST to the REST door, with a body of the given members.
func call(t *testing.T, d *daemon.Daemon, path string, members map[string]any, header ...string) (status int, body string) {
	t.Helper()
	content, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	resp, body := request(t, http.MethodPost, d.HTTP+path, string(content), append(header, "Content-Type", "application/json")...)
	return resp.StatusCode, body
}
