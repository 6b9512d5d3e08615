package stytch

import (
	"context"
	"net/http"
	"net/url"
)

// pathKeys is where Stytch publishes the keys of a project; the project's id follows.
const pathKeys = "/v1/b2b/sessions/jwks/"

// SessionKeys asks for the public keys by which the project's session JWTs are checked. Anybody may, so no credential
// goes with it. It has no effect, and is given up when ctx ends.
func (c *Client) SessionKeys(ctx context.Context) Exchange {
	bounded, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req := c.requestTo(bounded, http.MethodGet, c.base+pathKeys+url.PathEscape(c.cfg.ProjectID), http.Header{"User-Agent": {c.cfg.UserAgent}})
	x := c.exchange(c.reads, req, pathKeys+"{project_id}")
	x.blame(ctx)
	return x
}
