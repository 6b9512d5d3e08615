package recoverycodes

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/attempts"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/stytch"
)

// TestVerdictOn says what each end of a Recover tells of its code.
func TestVerdictOn(t *testing.T) {
	for name, test := range map[string]struct {
		x    stytch.Exchange
		want attempts.Verdict
	}{
		"not sent":                    {stytch.Exchange{Fault: stytch.FaultConnect}, attempts.Unjudged},
		"nothing at all":              {stytch.Exchange{}, attempts.Unjudged},
		"right":                       {stytch.Exchange{Sent: true, Status: 200}, attempts.Right},
		"right, and the answer lost":  {stytch.Exchange{Sent: true, Status: 200, Fault: stytch.FaultReset}, attempts.Right},
		"wrong":                       {stytchError(401, "unable_to_authenticate_recovery_code"), attempts.Wrong},
		"no code of this kind":        {stytchError(400, "invalid_recovery_code"), attempts.Wrong},
		"a TOTP code":                 {stytchError(400, "totp_code_used_as_recovery_code"), attempts.Wrong},
		"our credentials":             {stytchError(401, "unauthorized_credentials"), attempts.Unjudged},
		"another argument":            {stytchError(400, "too_many_session_arguments"), attempts.Unjudged},
		"no such member":              {stytchError(404, "member_not_found"), attempts.Unjudged},
		"a suspended organization":    {stytchError(403, "organization_suspended"), attempts.Unjudged},
		"locked":                      {stytchError(429, "user_lock_limit_reached"), attempts.Unjudged},
		"a 401 that nobody knows":     {stytchError(401, "brand_new"), attempts.Unknown},
		"a 400 that nobody knows":     {stytchError(400, "brand_new"), attempts.Unknown},
		"reset":                       {stytch.Exchange{Sent: true, Fault: stytch.FaultReset}, attempts.Unknown},
		"500":                         {stytchError(500, "internal_server_error"), attempts.Unknown},
		"408":                         {stytchError(408, "request_timeout"), attempts.Unknown},
		"a 401 that is not Stytch's":  {stytch.Exchange{Sent: true, Status: 401, Body: []byte("<html>")}, attempts.Unknown},
		"a 404 that is not Stytch's":  {stytch.Exchange{Sent: true, Status: 404, Body: []byte("<html>")}, attempts.Unknown},
		"a 429 of something in front": {stytch.Exchange{Sent: true, Status: 429}, attempts.Unjudged},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verdictOn(&test.x); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// counting is a store of attempts that refuses with err, and remembers.
type counting struct {
	err      error
	attempts []attempts.Attempt
	verdicts []attempts.Verdict
}

func (c *counting) Reserve(_ context.Context, a attempts.Attempt) (func(attempts.Verdict), error) {
	c.attempts = append(c.attempts, a)
	return func(v attempts.Verdict) { c.verdicts = append(c.verdicts, v) }, c.err
}

func TestAttempt(t *testing.T) {
	wrong := stytchError(401, "unable_to_authenticate_recovery_code")
	for name, test := range map[string]struct {
		err     error
		x       stytch.Exchange
		panics  bool
		refused codes.Code
		wait    time.Duration
		verdict []attempts.Verdict
	}{
		"made":            {x: wrong, verdict: []attempts.Verdict{attempts.Wrong}},
		"panics":          {panics: true, verdict: []attempts.Verdict{attempts.Unknown}},
		"member's budget": {err: &attempts.ExceededError{Who: attempts.Member, RetryAfter: time.Minute}, refused: codes.ResourceExhausted, wait: time.Minute},
		"caller's share":  {err: &attempts.ExceededError{Who: attempts.Caller, RetryAfter: time.Hour}, refused: codes.ResourceExhausted, wait: time.Hour},
		"store down":      {err: attempts.ErrDown, refused: codes.Unavailable, wait: retrySoon},
	} {
		t.Run(name, func(t *testing.T) {
			store := &counting{err: test.err}
			s := &Service{options: Options{Attempts: store}, gate: newGate(0, 1, 0)}
			ctx := call.NewContext(t.Context(), &call.Call{Caller: "login"})
			var (
				refusal *apierror.Error
				sent    bool
			)
			func() {
				defer func() {
					if v := recover(); (v != nil) != test.panics {
						t.Errorf("panicked with %v", v)
					}
				}()
				_, refusal = s.attempt(ctx, "organization-test-1", "member", func() stytch.Exchange {
					sent = true
					if test.panics {
						panic(errors.New("broken"))
					}
					return test.x
				})
			}()
			switch {
			case (refusal != nil) != (test.refused != codes.OK) || sent == (test.refused != codes.OK):
				t.Errorf("refused with %v, sent %t", refusal, sent)
			case refusal != nil && (refusal.Code != test.refused || refusal.Reason != apierror.NotSent || refusal.RetryAfter != test.wait):
				t.Errorf("%+v", refusal)
			}
			if len(store.attempts) != 1 || store.attempts[0] != (attempts.Attempt{Caller: "login", Member: "member", Organization: "organization-test-1"}) {
				t.Errorf("attempts %v", store.attempts)
			}
			if len(store.verdicts) != len(test.verdict) || len(test.verdict) == 1 && store.verdicts[0] != test.verdict[0] {
				t.Errorf("verdicts %v, want %v", store.verdicts, test.verdict)
			}
		})
	}
}

// TestDrain: what was not sent when the server stops is not sent any more, and a Get still is.
func TestDrain(t *testing.T) {
	s := &Service{gate: newGate(0, 1, 0), get: operation{name: "Get"}, rotate: operation{name: "Rotate", help: helpRotate}}
	s.Drain()
	for op, refused := range map[*operation]bool{&s.get: false, &s.rotate: true} {
		sent := false
		_, refusal := s.admit(t.Context(), op, func() stytch.Exchange { sent = true; return stytch.Exchange{} })
		if sent == refused || (refusal != nil) != refused || refused && refusal.Reason != apierror.NotSent {
			t.Errorf("%s: sent %t, %v", op.name, sent, refusal)
		}
	}
}
