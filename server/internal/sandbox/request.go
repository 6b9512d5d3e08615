package sandbox

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// maxRequestBody bounds what is read of a request. Custom claims of 4 KB and
// the longest tokens fit many times over.
const maxRequestBody = 1 << 20

// operation is one of the three calls, by its name in paths and in State.
type operation string

const (
	opGet     operation = "get"
	opRecover operation = "recover"
	opRotate  operation = "rotate"
)

// call is a request whose fields have been read but not yet judged.
type call struct {
	op                operation
	organizationID    string
	memberID          string
	recoveryCode      string
	intermediateToken string
	sessionToken      string
	sessionJWT        string
	jwtSessionID      string // what sessionJWT names, "" unless it is one of ours
	telemetryID       string
	duration          json.Number // empty when absent
	claims            map[string]any
}

// checkContentType refuses parameters such as charset wherever a content type
// is given, and anything but JSON where a body is expected.
func checkContentType(r *http.Request) *failure {
	value := r.Header.Get("Content-Type")
	if value == "" && r.Method == http.MethodGet {
		return nil
	}
	if media, parameters, err := mime.ParseMediaType(value); err != nil || media != "application/json" || len(parameters) > 0 {
		return badRequest("The Content-Type must be application/json without parameters.")
	}
	return nil
}

// readCall reads the body of Recover and Rotate. Names are taken exactly as
// written; members it does not know are passed over, and null is as absent.
func readCall(r *http.Request, op operation) (*call, *failure) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBody+1))
	switch {
	case err != nil:
		return nil, badRequest("The body could not be read to its end.")
	case len(body) > maxRequestBody:
		return nil, badRequest("The body is too large.")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return nil, badRequest("The body is not a JSON object.")
	}
	c := &call{op: op}
	errs := []*failure{
		read(fields, "organization_id", "a string", &c.organizationID),
		read(fields, "member_id", "a string", &c.memberID),
	}
	if op == opRecover {
		errs = append(errs,
			read(fields, "recovery_code", "a string", &c.recoveryCode),
			read(fields, "intermediate_session_token", "a string", &c.intermediateToken),
			read(fields, "session_token", "a string", &c.sessionToken),
			read(fields, "session_jwt", "a string", &c.sessionJWT),
			read(fields, "telemetry_id", "a string", &c.telemetryID),
			read(fields, "session_duration_minutes", "a number", &c.duration),
			read(fields, "session_custom_claims", "an object", &c.claims))
	}
	for _, fail := range errs {
		if fail != nil {
			return nil, fail
		}
	}
	return c, nil
}

// read decodes one member of the body into target, which keeps its value when
// the member is absent or null. Numbers keep their digits.
func read(fields map[string]json.RawMessage, name, want string, target any) *failure {
	raw, present := fields[name]
	if !present {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	_, number := target.(*json.Number)
	if err := decoder.Decode(target); err != nil || number && raw[0] == '"' {
		return badRequest("The " + name + " must be " + want + ".")
	}
	return nil
}

// required names the first field that no call may leave empty.
func (c *call) required() *failure {
	switch {
	case c.organizationID == "":
		return &failure{http.StatusBadRequest, "invalid_organization_id", "The organization_id is missing."}
	case c.memberID == "":
		return &failure{http.StatusBadRequest, "invalid_argument", "The member_id is missing."}
	case c.op == opRecover && c.recoveryCode == "":
		return &failure{http.StatusBadRequest, "invalid_recovery_code", "The recovery_code is missing."}
	}
	return nil
}

// Bounds of session_duration_minutes, and what its absence stands for.
const (
	minSessionMinutes     = 5
	maxSessionMinutes     = 527040
	defaultSessionMinutes = 60
)

func (c *call) sessionDuration() (time.Duration, *failure) {
	if c.duration == "" {
		return defaultSessionMinutes * time.Minute, nil
	}
	minutes, err := strconv.Atoi(c.duration.String())
	if err != nil || minutes < minSessionMinutes || minutes > maxSessionMinutes {
		return 0, wrongDuration
	}
	return time.Duration(minutes) * time.Minute, nil
}
