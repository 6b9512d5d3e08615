package sandbox_test

import (
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"recoverycodes.internal/server/internal/sandbox"
)

func TestRedirectIsRecorded(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		p := start(t, sandbox.Options{TLS: encrypted})
		stay := p.headOf(p.about("rotate", fault+"redirect"))
		target, err := url.Parse(stay.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		if target.Host == p.addr || target.Hostname() != "127.0.0.1" || target.Path != rotatePath || (target.Scheme == "https") != encrypted {
			t.Errorf("redirect from %s to %s", p.url, target)
		}
		if diff := cmp.Diff(sandbox.RedirectTarget{Requests: []sandbox.RedirectedRequest{}}, p.wholeState().RedirectTarget); diff != "" {
			t.Errorf("recorded before anything was sent (-want +got):\n%s", diff)
		}

		p.http.CheckRedirect = nil
		if a := p.do(p.about("rotate", fault+"redirect-308")); a.status != 200 || len(a.object) != 0 {
			t.Errorf("the target answered %d %s", a.status, a.body)
		}
		got := p.wholeState().RedirectTarget
		if got.Connections != 1 || got.Bytes < 200 || len(got.Requests) != 1 {
			t.Fatalf("recorded: %+v", got)
		}
		want := sandbox.RedirectedRequest{Method: "POST", Target: rotatePath, Header: got.Requests[0].Header,
			Body: `{"organization_id":"` + sandbox.OrganizationID + `","member_id":"` + fault + `redirect-308"}`}
		if diff := cmp.Diff(want, got.Requests[0]); diff != "" {
			t.Errorf("recorded (-want +got):\n%s", diff)
		}
		if want.Header.Get("Content-Type") != "application/json" {
			t.Errorf("recorded header is %v", want.Header)
		}
		wantCall(t, p.state(fault+"redirect-308"), "rotate", false)
	}
}

// headOf sends a request of which only the head of the answer matters.
func (p *peer) headOf(r *http.Request) *http.Response {
	p.t.Helper()
	response, err := p.http.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		p.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response
}

func TestRedirectWithoutServe(t *testing.T) {
	p := foreign(t)
	p.http.CheckRedirect = nil
	p.do(p.about("get", fault+"redirect"))
	got := p.wholeState().RedirectTarget
	if len(got.Requests) != 1 || got.Requests[0].Target != "/_sandbox/redirect-target/v1/b2b/recovery_codes/"+sandbox.OrganizationID+"/"+fault+"redirect" {
		t.Errorf("recorded: %+v", got)
	}
}
