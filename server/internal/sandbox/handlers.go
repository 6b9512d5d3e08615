package sandbox

import (
	"net/http"
	"net/url"
	"strings"
)

const (
	codesPath = "/v1/b2b/recovery_codes/"
	jwksPath  = "/v1/b2b/sessions/jwks/"
)

// route finds the handler by the path as it was sent: an id of ".." or one
// with an escaped slash is an id, and no path is tidied up by a redirect.
func (s *Sandbox) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	switch {
	case path == codesPath+string(opRecover):
		only(http.MethodPost, w, r, func() { s.serveCall(w, r, opRecover) })
	case path == codesPath+string(opRotate):
		only(http.MethodPost, w, r, func() { s.serveCall(w, r, opRotate) })
	case len(ids(path, codesPath)) == 2:
		only(http.MethodGet, w, r, func() { s.serveCall(w, r, opGet) })
	case len(ids(path, jwksPath)) == 1:
		only(http.MethodGet, w, r, func() { s.jwks(ids(path, jwksPath)[0]).write(w) })
	case path == statePath:
		only(http.MethodGet, w, r, func() { answerReply(s.State()).write(w) })
	case path == resetPath:
		only(http.MethodPost, w, r, func() { s.Reset(); answerReply(s.State()).write(w) })
	case path == certificatePath && s.certificate != nil:
		only(http.MethodGet, w, r, func() { reply{http.StatusOK, "application/x-pem-file", s.CertificatePEM()}.write(w) })
	case strings.HasPrefix(path, redirectTargetPath):
		s.recordRedirected(w, r)
	default:
		routeNotFound.reply().write(w)
	}
}

func only(method string, w http.ResponseWriter, r *http.Request, serve func()) {
	if r.Method != method {
		methodNotAllowed.reply().write(w)
		return
	}
	serve()
}

// ids returns the unescaped segments that follow the prefix, or nil when the
// path does not begin with it or one cannot be unescaped.
func ids(path, prefix string) []string {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return nil
	}
	segments := strings.Split(rest, "/")
	for i, segment := range segments {
		id, err := url.PathUnescape(segment)
		if err != nil {
			return nil
		}
		segments[i] = id
	}
	return segments
}

func authorized(r *http.Request) bool {
	project, secret, ok := r.BasicAuth()
	return ok && project == ProjectID && secret == Secret
}

func (s *Sandbox) serveCall(w http.ResponseWriter, r *http.Request, op operation) {
	if !authorized(r) {
		unauthorizedCredentials.reply().write(w)
		return
	}
	c, fail := parseCall(r, op)
	if fail != nil {
		fail.reply().write(w)
		return
	}
	m, fail := s.admit(c)
	switch {
	case fail != nil:
		fail.reply().write(w)
	case m.fault != nil:
		m.fault(&exchange{w: w, r: r, take: func() (document, *failure) { return s.perform(c, m) }})
	default:
		outcome(s.perform(c, m)).write(w)
	}
}

// parseCall reads and checks all of a request that does not depend on state.
func parseCall(r *http.Request, op operation) (*call, *failure) {
	if fail := checkContentType(r); fail != nil {
		return nil, fail
	}
	if op == opGet {
		named := ids(r.URL.EscapedPath(), codesPath)
		c := &call{op: op, organizationID: named[0], memberID: named[1]}
		return c, c.required()
	}
	c, fail := readCall(r, op)
	if fail != nil {
		return nil, fail
	}
	return c, c.required()
}

// admit finds the member that a call is about and counts the call.
func (s *Sandbox) admit(c *call) (*member, *failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, fail := s.state.find(c)
	if fail != nil {
		return nil, fail
	}
	m.calls.add(c.op)
	return m, m.admits(c.op)
}

// perform takes the effect of a call and returns its answer.
func (s *Sandbox) perform(c *call, m *member) (document, *failure) {
	if c.sessionJWT != "" {
		c.jwtSessionID = s.keys.sessionID(c.sessionJWT)
	}
	s.mu.Lock()
	answer, claims, fail := s.state.apply(c, m, s.now())
	s.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	if claims != nil {
		jwt, err := s.keys.sign(claims)
		if err != nil {
			return nil, internalError
		}
		answer["session_jwt"] = jwt
	}
	return answer, nil
}

func (s *Sandbox) jwks(projectID string) reply {
	if projectID != ProjectID {
		return projectNotFound.reply()
	}
	keys, err := s.keys.jwks()
	if err != nil {
		return internalError.reply()
	}
	return answerReply(document{"keys": keys, "request_id": newRequestID(), "status_code": http.StatusOK})
}

func newRequestID() string { return "request-id-test-" + newUUID() }
