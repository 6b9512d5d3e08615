// Package audit is the record of who asked for what and what became of it: one JSON line for each call, in a file of
// its own or on standard output, never sampled. A line that cannot be written waits in memory, which is bounded, and
// one that finds no room there is counted; a server that would rather refuse calls than leave some out of the record
// reserves a place for the line before it sends a call.
//
// The package knows lines and files. It knows no message, no door and no policy, and does not decide which calls are
// refused. A line holds no secret: of a code there is only a fingerprint.
//
// A line that is written has been handed to the operating system: it outlives this process. It is not synced to the
// disk, which would cost more than everything else about a call, so a machine that crashes can lose the last seconds.
package audit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// maxText bounds each text of a line, in bytes: twice what the longest name of a workload usually has. Ids are at most
// 128 in requests that are valid; but those that are refused are recorded too.
const maxText = 512

// cut ends a text that was longer than maxText.
const cut = "…"

// Line is what is recorded of one call. What the caller has chosen may be any text: it is escaped and bounded, and what
// is not UTF-8 in it is replaced.
type Line struct {
	Time            time.Time // when the call came in
	Caller          string    // as the policy names it; empty when nobody was identified
	Method          string    // Get, Recover, Rotate
	Door            string
	Organization    string // as the request names it
	Member          string // as the request names it
	Outcome         string
	Code            string // the gRPC status code of the answer, nothing to do with a recovery code
	StytchRequestID string
	RequestID       string
	Replayed        bool
	CodeFingerprint string // of the recovery code, see Fingerprinter; empty when the request has none
}

// bound lets go of what will not be written of long texts, since a line may have to wait.
func (l *Line) bound() {
	for _, text := range [...]*string{
		&l.Caller, &l.Method, &l.Door, &l.Organization, &l.Member, &l.Outcome, &l.Code, &l.StytchRequestID, &l.RequestID,
		&l.CodeFingerprint,
	} {
		if len(*text) > maxText+1 {
			*text = strings.Clone((*text)[:maxText+1]) // one more tells that there was more
		}
	}
}

// appendTime appends a time in UTC by RFC 3339 with microseconds: at a fixed width, so that lines sort by it.
func appendTime(b []byte, t time.Time) []byte {
	b = t.AppendFormat(b, time.RFC3339) // package time has a fast path for this layout and not for one with microseconds
	b = b[:len(b)-len("Z")]
	const million = 1_000_000
	digits := strconv.AppendInt(b, int64(million+t.Nanosecond()/1000), 10) // a one before them keeps the zeros
	digits[len(b)] = '.'
	return append(digits, 'Z')
}

// appendTo appends the line as JSON and the line feed that ends it, which is the only one in it.
func (l *Line) appendTo(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = appendTime(b, l.Time.UTC())
	b = append(b, '"')
	for _, member := range [...]struct{ name, value string }{
		{"caller", l.Caller},
		{"method", l.Method},
		{"door", l.Door},
		{"organization", l.Organization},
		{"member", l.Member},
		{"outcome", l.Outcome},
		{"code", l.Code},
		{"stytch_request_id", l.StytchRequestID},
		{"request_id", l.RequestID},
		{"code_fingerprint", l.CodeFingerprint},
	} {
		b = append(b, `,"`...)
		b = append(b, member.name...)
		b = append(b, `":`...)
		b = appendText(b, member.value)
	}
	b = append(b, `,"replayed":`...)
	b = strconv.AppendBool(b, l.Replayed)
	return append(b, "}\n"...)
}

// appendText appends a JSON string. More is escaped than JSON asks for, everything that does not show on a terminal or
// changes how the rest is shown, so that whoever reads the file sees what is in it.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	rest := s
	if len(s) > maxText {
		rest = s[:maxText-len(cut)]
		for i := range utf8.UTFMax { // no character is cut in two
			if at := len(rest) - i; utf8.RuneStart(s[at]) {
				rest = s[:at]
				break
			}
		}
	}
	plain := 0 // nearly every text is, to its end
	for plain < len(rest) && ' ' <= rest[plain] && rest[plain] <= '~' && rest[plain] != '"' && rest[plain] != '\\' {
		plain++
	}
	b = append(b, rest[:plain]...)
	for _, r := range rest[plain:] {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == utf8.RuneError || unicode.IsPrint(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	if len(rest) < len(s) {
		b = append(b, cut...)
	}
	return append(b, '"')
}
