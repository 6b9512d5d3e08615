package sandbox

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
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
		s.only(http.MethodPost, w, r, func() { s.serveCall(w, r, opRecover) })
	case path == codesPath+string(opRotate):
		s.only(http.MethodPost, w, r, func() { s.serveCall(w, r, opRotate) })
	case len(ids(path, codesPath)) == 2:
		s.only(http.MethodGet, w, r, func() { s.serveCall(w, r, opGet) })
	case len(ids(path, jwksPath)) == 1:
		s.only(http.MethodGet, w, r, func() { s.serveJWKS(w, ids(path, jwksPath)[0]) })
	default:
		writeFailure(w, routeNotFound)
	}
}

func (s *Sandbox) only(method string, w http.ResponseWriter, r *http.Request, serve func()) {
	if r.Method != method {
		writeFailure(w, methodNotAllowed)
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
		writeFailure(w, unauthorizedCredentials)
		return
	}
	c, fail := parseCall(r, op)
	if fail != nil {
		writeFailure(w, fail)
		return
	}
	answer, fail := s.perform(c)
	if fail != nil {
		writeFailure(w, fail)
		return
	}
	writeAnswer(w, http.StatusOK, answer)
}

func parseCall(r *http.Request, op operation) (*call, *failure) {
	if fail := checkContentType(r); fail != nil {
		return nil, fail
	}
	c := &call{op: op}
	if op == opGet {
		named := ids(r.URL.EscapedPath(), codesPath)
		c.organizationID, c.memberID = named[0], named[1]
	} else {
		var fail *failure
		if c, fail = readCall(r, op); fail != nil {
			return nil, fail
		}
	}
	return c, c.required()
}

// perform carries a call out and returns its answer.
func (s *Sandbox) perform(c *call) (document, *failure) {
	if c.sessionJWT != "" {
		c.jwtSessionID = s.keys.sessionID(c.sessionJWT)
	}
	now := s.now()
	s.mu.Lock()
	m, fail := s.state.find(c)
	if fail == nil {
		m.calls[c.op]++
		fail = m.admits(c.op)
	}
	var answer, claims document
	if fail == nil {
		answer, claims, fail = s.state.apply(c, m, now)
	}
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

// apply takes a call's effect. After a Recover, the claims of the JWT that the
// answer still lacks are returned beside it: signing is too slow to do while
// every other call waits.
func (s *state) apply(c *call, m *member, now time.Time) (answer, claims document, fail *failure) {
	answer = document{"status_code": http.StatusOK}
	switch c.op {
	case opGet, opRotate:
		if c.op == opRotate {
			m.rotate()
		}
		answer["recovery_codes"] = m.codesLeft()
	case opRecover:
		recovered, fail := s.recover(c, m, now)
		if fail != nil {
			return nil, nil, fail
		}
		claims = recovered.jwtClaims(now)
		answer["member_device"] = deviceDocument(c.telemetryID, now)
		answer["member_session"] = recovered.document()
		answer["recovery_codes_remaining"] = len(m.codes)
		answer["session_token"] = recovered.token
	}
	answer["member"] = m.document(now)
	answer["member_id"] = m.seed.ID
	answer["organization"] = m.organization.document()
	answer["request_id"] = newRequestID()
	return answer, claims, nil
}

// recover spends a code for a session. Everything that can be refused is
// refused before the code is looked at, so that a bad argument costs nothing.
func (s *state) recover(c *call, m *member, now time.Time) (*session, *failure) {
	duration, fail := c.sessionDuration()
	if fail != nil {
		return nil, fail
	}
	current, fail := s.sessionOf(c, m, now)
	if fail != nil {
		return nil, fail
	}
	var old map[string]any
	if current != nil {
		old = current.claims
	}
	claims, fail := mergeClaims(old, c.claims)
	if fail != nil {
		return nil, fail
	}
	if fail := m.authenticate(c.recoveryCode, now); fail != nil {
		return nil, fail
	}
	m.spend(c.recoveryCode)
	if current == nil {
		current = s.begin(m, now)
	}
	current.extend(now, duration, claims)
	return current, nil
}

func (s *Sandbox) serveJWKS(w http.ResponseWriter, projectID string) {
	if projectID != ProjectID {
		writeFailure(w, projectNotFound)
		return
	}
	keys, err := s.keys.jwks()
	if err != nil {
		writeFailure(w, internalError)
		return
	}
	writeAnswer(w, http.StatusOK, document{"keys": keys, "request_id": newRequestID(), "status_code": http.StatusOK})
}

func newRequestID() string { return "request-id-test-" + newUUID() }

func writeFailure(w http.ResponseWriter, f *failure) {
	writeAnswer(w, f.status, document{
		"error_message": f.message,
		"error_type":    f.kind,
		"error_url":     errorURL + strconv.Itoa(f.status),
		"request_id":    newRequestID(),
		"status_code":   f.status,
	})
}

func writeAnswer(w http.ResponseWriter, status int, answer document) {
	body, err := encode(answer)
	if err != nil {
		panic(http.ErrAbortHandler) // documents are made here, of values that JSON has
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone; that changes nothing here
}
