package sandbox

import (
	"net/http"
	"strconv"
)

// failure is an answer that is an error: what differs between one error body
// of Stytch's and another.
type failure struct {
	status  int
	kind    string // the error_type
	message string // never holds a value that the caller sent
}

// errorURL is where error_url points, followed by the status.
const errorURL = "https://stytch.com/docs/b2b/api/errors/"

var (
	unauthorizedCredentials = &failure{http.StatusUnauthorized, "unauthorized_credentials", "The project id or the secret is wrong."}
	routeNotFound           = &failure{http.StatusNotFound, "route_not_found", "There is no such path."}
	methodNotAllowed        = &failure{http.StatusMethodNotAllowed, "method_not_allowed", "The path exists, but not for this method."}
	internalError           = &failure{http.StatusInternalServerError, "internal_server_error", "The sandbox could not answer."}
	projectNotFound         = &failure{http.StatusNotFound, "project_not_found", "There is no such project."}

	organizationNotFound  = &failure{http.StatusNotFound, "organization_not_found", "No organization has this organization_id."}
	organizationSuspended = &failure{http.StatusForbidden, "organization_suspended", "The organization is suspended."}
	memberNotFound        = &failure{http.StatusNotFound, "member_not_found", "No member of the organization has this member_id."}
	memberNotActive       = &failure{http.StatusBadRequest, "action_available_only_for_active_members", "The member is not active."}
	noCodesFound          = &failure{http.StatusNotFound, "recovery_codes_not_found", "The member has no recovery codes."}
	noCodesToRecoverWith  = &failure{http.StatusBadRequest, "no_active_recovery_code_backed_factor", "The member has no factor that recovery codes stand in for."}

	wrongCode     = &failure{http.StatusUnauthorized, "unable_to_authenticate_recovery_code", "The recovery_code is wrong or spent."}
	memberLocked  = &failure{http.StatusTooManyRequests, "user_lock_limit_reached", "The member is locked after too many failed attempts."}
	claimsTooBig  = &failure{http.StatusBadRequest, "custom_claims_too_large", "The session_custom_claims are larger than 4096 bytes in total."}
	wrongDuration = &failure{http.StatusBadRequest, "invalid_session_duration_minutes", "The session_duration_minutes must lie between 5 and 527040."}

	sessionNotFound      = &failure{http.StatusNotFound, "session_not_found", "No session has this session_token or session_jwt."}
	sessionOfOther       = &failure{http.StatusBadRequest, "member_session_member_id_mismatch", "The session belongs to another member."}
	sessionGivenTwice    = &failure{http.StatusBadRequest, "too_many_session_arguments", "Only one of session_token and session_jwt may be given."}
	intermediateNotFound = &failure{http.StatusNotFound, "intermediate_session_not_found", "The intermediate_session_token is unknown."}
)

func badRequest(message string) *failure {
	return &failure{http.StatusBadRequest, "bad_request", message}
}

func (f *failure) reply() reply {
	r := answerReply(document{
		"error_message": f.message,
		"error_type":    f.kind,
		"error_url":     errorURL + strconv.Itoa(f.status),
		"request_id":    newRequestID(),
		"status_code":   f.status,
	})
	r.status = f.status
	return r
}
