package pages

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"recoverycodes.internal/test/daemon"
)

// busy makes calls that end in every kind of outcome.
func busy(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	for range 12 {
		request(t, http.MethodGet, d.HTTP+pathGet, "")
	}
	request(t, http.MethodGet, d.HTTP+pathGet+"x", "")
	request(t, http.MethodGet, d.HTTP+strings.Replace(pathGet, member, "member-test-fault-status-503", 1), "")
	expect := func(want int, path string, members map[string]any) {
		t.Helper()
		members["organization_id"] = organization
		if status, body := call(t, d, path, members); status != want {
			t.Fatalf("%s: %d, want %d: %s", path, status, want, body)
		}
	}
	expect(http.StatusOK, pathRecover, map[string]any{"member_id": member, "recovery_code": code1})
	expect(http.StatusUnauthorized, pathRecover, map[string]any{"member_id": member, "recovery_code": code1})
	expect(http.StatusInternalServerError, pathRecover, map[string]any{"member_id": "member-test-fault-reset-after-effect", "recovery_code": code2})
	expect(http.StatusInternalServerError, pathRotate, map[string]any{"member_id": "member-test-fault-status-500-after-effect"})
	expect(http.StatusInternalServerError, pathRotate, map[string]any{"member_id": "member-test-fault-truncated"})
	expect(http.StatusOK, pathRotate, map[string]any{"member_id": "member-test-fault-wrong-types"})
	expect(http.StatusOK, pathRotate, map[string]any{"member_id": "member-test-fault-slow-400"})
}

// TestStatusInABrowser looks at the page after calls of all kinds, in both schemes of colours.
func TestStatusInABrowser(t *testing.T) {
	backgrounds := make(map[string]string)
	for _, scheme := range []string{"light", "dark"} {
		t.Run(scheme, func(t *testing.T) {
			d := daemon.Start(t, nil, "--sandbox")
			p := open(t, scheme, 1280)
			busy(t, d)
			p.do(t, chromedp.Navigate("http://"+d.Admin+"/"))
			text := is[string](t, p, `document.body.innerText`)
			for _, want := range []string{"breaker closed", "the sandbox", "anyone", "answer lost", "HTTP 500"} {
				if !strings.Contains(text, want) {
					t.Errorf("the page does not say %q:\n%s", want, text)
				}
			}
			row := is[string](t, p, `[...document.querySelectorAll('tbody tr')].find(r => r.cells[0].textContent === 'Rotate').innerText`)
			if columns := strings.Fields(row); len(columns) < 8 || strings.Join(columns[:8], " ") != "Rotate 4 2 0 0 0 1 1" {
				t.Errorf("the row of Rotate is %q", row)
			}
			if heights := is[[]float64](t, p, `[...document.querySelectorAll('.chart rect.done, .chart rect.unknown')].map(e => e.getBoundingClientRect().height)`); len(heights) < 2 || heights[0] <= heights[1] || heights[1] <= 0 {
				t.Errorf("the bars are %v pixels high", heights)
			}
			p.fits(t)
			backgrounds[scheme] = is[string](t, p, `getComputedStyle(document.body).backgroundColor`)
			p.picture(t, "status-"+scheme)
			p.wasQuiet(t, d.Admin)
		})
	}
	if backgrounds["light"] == backgrounds["dark"] {
		t.Errorf("both schemes have the background %s", backgrounds["dark"])
	}
}
