// Package attempts bounds wrong recovery codes: how many a member may be sent, and what share of a caller's may be
// wrong, before calls are refused here and nothing is sent. The upstream locks a member for an hour after ten wrong
// codes in a row, and refuses a whole project in which too large a share of attempts fails; both budgets are to
// run out before that happens. The package knows callers, members and times. It must not know codes, organizations,
// requests or what the upstream says: whoever makes the call gives the verdict.
//
// An attempt is counted before it is made, as if its code were wrong, and given back when it was not. So a hundred
// attempts at once cannot pass a budget of four, and one whose end nobody learns, because its process died, stays
// counted.
//
// A member is counted within its organization, where the call names that by its id, so that nobody can use up the budget of
// members of organizations that are not theirs. An organization that is named by another handle does not count: it has
// two more, and a budget for each pair could be multiplied by them. A member has two handles, its id and its external
// id. So at most twice the budget is sent by callers who must use ids, and four times by those who need not. It is not
// known how loosely the upstream reads a handle, so handles that differ only in case or in characters other than
// letters and digits share one budget.
//
// Both stores err towards refusing. Memory is for one process, Redis for all replicas.
package attempts

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Attempt is a recovery code about to be sent.
type Attempt struct {
	Caller string // who sends it, by the name that the policy gives
	Member string // whose it is said to be, by the handle that the caller gave
	// Organization is the member's organization, if the caller named it by its id; else it is empty.
	Organization string
}

// member is what a member is counted by.
func (a Attempt) member() string { return fold(a.Organization) + "\x00" + fold(a.Member) }

// Verdict is what became of an attempt.
type Verdict int

const (
	// Unknown is a code that may have been wrong. It stays counted for the member, and says nothing of the caller: an
	// upstream that fails must not leave its callers refused.
	Unknown Verdict = iota
	// Wrong is what the upstream said of the code.
	Wrong
	// Right is a code that the upstream took. The attempt is given back and speaks for the caller.
	Right
	// Unjudged is a code that surely nobody looked at, because nothing was sent or the call was refused for another
	// reason. The attempt is given back and says nothing of the caller, who could otherwise better its share with
	// calls that cost nothing.
	Unjudged
)

// givesBack reports whether the member is rid of the attempt.
func (v Verdict) givesBack() bool { return v == Right || v == Unjudged }

// maxMemberLimit leaves the counters of a sketch room, and is far more than any upstream allows.
const maxMemberLimit = 100

// Limits are the two budgets. All fields are required.
type Limits struct {
	// Window is the time within which attempts count, at least a second.
	Window time.Duration
	// MemberLimit is how many wrong codes a member may be sent within the window, 1 to 100.
	MemberLimit int
	// A caller is refused while, within the window, at least CallerFailures of its attempts were wrong and these are
	// more than CallerShare, which is above 0 and at most 1, of those that were wrong or right. With 1 no caller ever is.
	// Attempts under way are not part of it, so that a busy caller is not taken for an abuser; what a caller can have
	// under way at once is bounded elsewhere.
	CallerFailures int
	CallerShare    float64
}

func (l Limits) check() error {
	switch {
	case l.Window < time.Second:
		return errors.New("attempts: the window must be at least a second")
	case l.MemberLimit < 1 || l.MemberLimit > maxMemberLimit:
		return fmt.Errorf("attempts: the member limit must be 1 to %d", maxMemberLimit)
	case l.CallerFailures < 1:
		return errors.New("attempts: the caller failures must be at least 1")
	case !(l.CallerShare > 0 && l.CallerShare <= 1): // also when it is not a number
		return errors.New("attempts: the caller share must be above 0 and at most 1")
	}
	return nil
}

// callerOver reports whether a caller with so many attempts is to be refused. The script of Redis says the same.
func (l Limits) callerOver(wrong, right int) bool {
	return wrong >= l.CallerFailures && float64(wrong) > l.CallerShare*float64(wrong+right)
}

// A window is counted in slices of time. With the one that has only begun, the slices kept always cover a whole window
// and at most one slice more: what counts in slices forgets late, never early.
const (
	slicesPerWindow = 10
	slicesKept      = slicesPerWindow + 1
)

// window and slice return how long they are, in whole milliseconds, as Redis counts them: rather longer than shorter.
func (l Limits) window() time.Duration {
	return (l.Window + time.Millisecond - 1).Truncate(time.Millisecond)
}

func (l Limits) slice() time.Duration {
	return (l.window() + (slicesPerWindow-1)*time.Millisecond).Truncate(slicesPerWindow*time.Millisecond) / slicesPerWindow
}

// Subject is what a budget belongs to.
type Subject string

// The subjects.
const (
	Member Subject = "member"
	Caller Subject = "caller"
)

// ExceededError refuses an attempt, which must not be made. It names neither the member nor the caller.
type ExceededError struct {
	Who Subject
	// RetryAfter is when the budget will have room again if nothing changes: sooner if attempts under way are given
	// back. It is positive.
	RetryAfter time.Duration
}

func (e *ExceededError) Error() string {
	return fmt.Sprintf("attempts: the budget of the %s is exhausted", e.Who)
}

// What names stand for in a store. Neither begins the other, and neither begins as any other use of the secret does.
const (
	forMember = "attempts member\x00"
	forCaller = "attempts caller\x00"
)

type digest [sha256.Size]byte

func name(secret []byte, use, value string) digest {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(use))
	h.Write([]byte(value))
	return digest(h.Sum(nil))
}

// fold makes one of all spellings that might be read as the same handle.
func fold(handle string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, handle)
}

// settleOnce makes a settlement hold once: a second one would give back what is not there.
func settleOnce(settle func(Verdict)) func(Verdict) {
	var once sync.Once
	return func(v Verdict) { once.Do(func() { settle(v) }) }
}
