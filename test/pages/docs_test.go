package pages

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"recoverycodes.internal/test/daemon"
)

// try submits the form of an operation and waits for the answer's status; fields are filled in first, by name.
func try(t *testing.T, p *tab, operation string, fields map[string]string) (status, text string) {
	t.Helper()
	form := "#" + operation + " form"
	is[any](t, p, fmt.Sprintf(`delete document.querySelector('%s .result').dataset.status`, form))
	for name, value := range fields {
		p.do(t, chromedp.SetValue(chromedp.CSS(fmt.Sprintf(`%s [name="%s"]`, form, name)), value))
	}
	p.do(t, chromedp.Click(chromedp.CSS(form+" button")),
		chromedp.WaitVisible(chromedp.CSS(form+" .result[data-status]")))
	return is[string](t, p, fmt.Sprintf(`document.querySelector('%s .result').dataset.status`, form)),
		is[string](t, p, fmt.Sprintf(`document.querySelector('%s .result').innerText`, form))
}

// TestReferenceCallsTheSandbox reads the reference as a person does, and makes the calls that it offers.
func TestReferenceCallsTheSandbox(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	p := open(t, "light", 1280)
	p.do(t, chromedp.Navigate("http://"+d.Admin+"/docs"))
	if names := is[[]string](t, p, `[...document.querySelectorAll('.operation > h2')].map(e => e.textContent)`); strings.Join(names, " ") != "Get Recover Rotate" {
		t.Errorf("the operations are %q", names)
	}
	p.fits(t)
	p.picture(t, "docs-light")

	status, text := try(t, p, "Get", nil)
	if status != "200" || !strings.Contains(text, code1) || !strings.Contains(text, `"recovery_codes": [`) {
		t.Errorf("Get: %s\n%s", status, text)
	}
	status, text = try(t, p, "Recover", nil)
	if status != "200" || !strings.Contains(text, `"recovery_codes_remaining": 9`) {
		t.Errorf("Recover: %s\n%s", status, text)
	}
	// Refusals and doubts are answers, and the page takes them as such.
	status, text = try(t, p, "Recover", nil)
	if status != "401" || !strings.Contains(text, "unable_to_authenticate_recovery_code") {
		t.Errorf("Recover with a code that is spent: %s\n%s", status, text)
	}
	body := `{"organization_id": "example-org", "member_id": "member-test-fault-reset-after-effect"}`
	status, text = try(t, p, "Rotate", map[string]string{"body": body})
	if status != "500" || !strings.Contains(text, "outcome_unknown") {
		t.Errorf("Rotate with an answer that is cut off: %s\n%s", status, text)
	}
	status, text = try(t, p, "Get", map[string]string{"path:member_id": "no such/member?#"})
	if status != "400" || !strings.Contains(text, "member_id") {
		t.Errorf("Get of a member with an id that is none: %s\n%s", status, text)
	}
	p.picture(t, "docs-tried")
	p.wasQuiet(t, d.Admin)
}

// TestReferenceShowsTypesInPlace opens a type where it is used, and one within it.
func TestReferenceShowsTypesInPlace(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	p := open(t, "dark", 1280)
	p.do(t, chromedp.Navigate("http://"+d.Admin+"/docs"))
	const answer = `#Get .answers li:first-child details.nested`
	p.do(t, chromedp.Click(chromedp.CSS(answer+" > summary")), chromedp.WaitVisible(chromedp.CSS(answer+" > .fields")))
	if names := is[[]string](t, p, `[...document.querySelectorAll('`+answer+` > .fields > li > div > .field')].map(e => e.textContent)`); !strings.Contains(strings.Join(names, " "), "member organization recovery_codes") {
		t.Errorf("the answer to Get has the fields %q", names)
	}
	p.do(t, chromedp.Click(chromedp.CSS(answer+" > .fields > li:nth-child(3) > details > summary")),
		chromedp.WaitVisible(chromedp.CSS(answer+" > .fields > li:nth-child(3) > details > .fields")))
	p.fits(t)
	p.picture(t, "docs-dark")
	p.wasQuiet(t, d.Admin)
}

// TestReferenceOnATelephone has little room.
func TestReferenceOnATelephone(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	p := open(t, "light", 390)
	p.do(t, chromedp.Navigate("http://"+d.Admin+"/docs"))
	p.fits(t)
	p.picture(t, "docs-narrow")
	busy(t, d)
	p.do(t, chromedp.Navigate("http://"+d.Admin+"/"))
	p.fits(t)
	p.picture(t, "status-narrow")
	p.wasQuiet(t, d.Admin)
}

// TestReferenceBehindAToken reads and calls as a person does whom the browser has asked for a password.
func TestReferenceBehindAToken(t *testing.T) {
	const token = "admin-token-0123456789-0123456789"
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemon.Start(t, nil, "--sandbox", "--admin-token-file="+path)
	p := open(t, "light", 1280)
	p.do(t, chromedp.Navigate("http://operator:"+token+"@"+d.Admin+"/"), chromedp.Navigate("http://"+d.Admin+"/docs"))
	if status, text := try(t, p, "Get", nil); status != "200" {
		t.Errorf("Get: %s\n%s", status, text)
	}
	p.wasQuiet(t, d.Admin)
}
