package recoverycodes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/apierror"
)

// Limits on requests. Those of ids, the duration and the claims are Stytch's; the others are ours, far above what
// Stytch issues, and there so that no caller can make the server carry more.
const (
	maxID              = 128
	maxCode            = 1024
	maxToken           = 16 << 10
	maxTelemetryID     = 1024
	minSessionDuration = 5
	maxSessionDuration = 527040 // 366 days
	maxClaims          = 4 << 10
	maxClaimDepth      = 64
)

// reservedClaims are the registered claims of a JWT, which Stytch sets itself. It is said to ignore them in a request,
// or to refuse them; a claim that silently is not set is worse than a refusal.
var reservedClaims = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

// violations collects what is wrong with a request: all of it, so that a caller mends it in one go.
type violations []apierror.Violation

func (v *violations) add(field, format string, args ...any) {
	*v = append(*v, apierror.Violation{Field: field, Description: fmt.Sprintf(format, args...)})
}

// err returns nil when nothing is wrong.
func (v violations) err() *apierror.Error {
	if len(v) == 0 {
		return nil
	}
	return apierror.Invalid(v...)
}

// ids checks the two ids that every request has. An organization may be named by id, slug or external id and a
// member by id or external id; the union of what Stytch allows in them is checked, never the shape of a UUID.
func (v *violations) ids(organizationID, memberID string) {
	v.id("organization_id", organizationID)
	v.id("member_id", memberID)
}

func (v *violations) id(field, id string) {
	switch {
	case id == "":
		v.add(field, "is required")
	case len(id) > maxID:
		v.add(field, "is longer than %d characters", maxID)
	case !idText(id):
		v.add(field, "may contain only ASCII letters, digits and - . _ ~ |")
	case id == "." || id == "..":
		v.add(field, "must not be a relative path segment")
	}
}

func idText(id string) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '.', c == '_', c == '~', c == '|':
		default:
			return false
		}
	}
	return true
}

// text checks a secret or opaque text: its size and that it is text. It is passed on as it came: codes can be
// imported into Stytch in any format, so there is nothing to normalise by.
func (v *violations) text(field, value string, limit int) {
	switch {
	case len(value) > limit:
		v.add(field, "is longer than %d bytes", limit)
	case !utf8.ValidString(value):
		v.add(field, "is not valid UTF-8")
	}
}

// recoverRequest checks a Recover and returns its claims as the JSON that is sent upstream, nil when there are none.
func (v *violations) recoverRequest(req *recoverycodesv1.RecoverRequest) json.RawMessage {
	v.ids(req.GetOrganizationId(), req.GetMemberId())
	if req.GetRecoveryCode() == "" {
		v.add("recovery_code", "is required")
	}
	v.text("recovery_code", req.GetRecoveryCode(), maxCode)
	v.text("intermediate_session_token", req.GetIntermediateSessionToken(), maxToken)
	v.text("session_token", req.GetSessionToken(), maxToken)
	v.text("session_jwt", req.GetSessionJwt(), maxToken)
	v.text("telemetry_id", req.GetTelemetryId(), maxTelemetryID)
	if d := req.SessionDurationMinutes; d != nil && (*d < minSessionDuration || *d > maxSessionDuration) {
		v.add("session_duration_minutes", "must be between %d and %d", minSessionDuration, maxSessionDuration)
	}
	return v.claims("session_custom_claims", req.GetSessionCustomClaims())
}

// claims renders claims as compact JSON, with their nulls, which delete a claim.
func (v *violations) claims(field string, claims *structpb.Struct) json.RawMessage {
	if claims == nil {
		return nil
	}
	for _, name := range reservedClaims {
		if _, ok := claims.GetFields()[name]; ok {
			v.add(field+"."+name, "is a reserved claim")
		}
	}
	if what := badClaim(structpb.NewStructValue(claims), 0); what != "" {
		v.add(field, "%s", what)
		return nil
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(claims.AsMap()); err != nil {
		v.add(field, "cannot be expressed in JSON")
		return nil
	}
	text := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	if len(text) > maxClaims {
		v.add(field, "is larger than %d bytes of JSON", maxClaims)
		return nil
	}
	return text
}

// badClaim says what in value cannot be sent: NaN and infinities, which a Struct can hold and JSON cannot (structpb would
// make strings of them), and nesting that nothing real has.
func badClaim(value *structpb.Value, depth int) string {
	if depth > maxClaimDepth {
		return fmt.Sprintf("is nested deeper than %d levels", maxClaimDepth)
	}
	switch kind := value.GetKind().(type) {
	case *structpb.Value_NumberValue:
		if math.IsNaN(kind.NumberValue) || math.IsInf(kind.NumberValue, 0) {
			return "holds a number that JSON cannot express"
		}
	case *structpb.Value_ListValue:
		for _, element := range kind.ListValue.GetValues() {
			if what := badClaim(element, depth+1); what != "" {
				return what
			}
		}
	case *structpb.Value_StructValue:
		for _, member := range kind.StructValue.GetFields() {
			if what := badClaim(member, depth+1); what != "" {
				return what
			}
		}
	}
	return ""
}
