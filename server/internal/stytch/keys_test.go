package stytch

import (
	"net/http"
	"strings"
	"testing"
)

// TestSessionKeys looks at what is asked, and that a bound on answers holds here too.
func TestSessionKeys(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		fault  Fault
	}{
		"keys":      {`{"keys":[]}`, ""},
		"too large": {strings.Repeat("x", 1<<20+1), FaultTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			servers(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.RequestURI != "/v1/b2b/sessions/jwks/project-test-1" {
					t.Errorf("%s %s", r.Method, r.RequestURI)
				}
				if len(r.Header) != 1 || r.UserAgent() != "recoverycodesd/test" {
					t.Errorf("headers %v", r.Header)
				}
				_, _ = w.Write([]byte(test.answer))
			}, func(t *testing.T, c *Client) {
				x := c.SessionKeys(t.Context())
				if x.Status != http.StatusOK || x.Fault != test.fault || x.Fault == "" && string(x.Body) != test.answer {
					t.Errorf("status %d, fault %q, %d bytes", x.Status, x.Fault, len(x.Body))
				}
			})
		})
	}
	t.Run("a base URL with a path", func(t *testing.T) {
		arrived := ""
		servers(t, func(_ http.ResponseWriter, r *http.Request) { arrived = r.RequestURI }, func(t *testing.T, c *Client) {
			c = newClient(t, c.cfg.BaseURL.String()+"/stytch%2Fproxy/?x=y#z", func(cfg *Config) {
				cfg.ProjectID, cfg.RootCAs = "project/1", c.cfg.RootCAs
			})
			if x := c.SessionKeys(t.Context()); x.Status != http.StatusOK || arrived != "/stytch%2Fproxy/v1/b2b/sessions/jwks/project%2F1" {
				t.Errorf("status %d, asked for %s", x.Status, arrived)
			}
		})
	})
}
