package audit

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func exampleLine() Line {
	return Line{
		Time:   time.Date(2026, 3, 4, 5, 6, 7, 890_000, time.FixedZone("", 3600)),
		Caller: "login-web", Method: "Recover", Door: "rest", Organization: "example-org",
		Member: "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f", Outcome: "done", Code: "OK",
		StytchRequestID: "request-id-test-1", RequestID: "rc-1", Replayed: true,
		CodeFingerprint: "00112233445566778899aabbccddeeff",
	}
}

// TestLine holds the form of the record, which outlives every version of the server.
func TestLine(t *testing.T) {
	line := exampleLine()
	const want = `{"time":"2026-03-04T04:06:07.000890Z","caller":"login-web","method":"Recover","door":"rest",` +
		`"organization":"example-org","member":"member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f","outcome":"done",` +
		`"code":"OK","stytch_request_id":"request-id-test-1","request_id":"rc-1",` +
		`"code_fingerprint":"00112233445566778899aabbccddeeff","replayed":true}` + "\n"
	if diff := cmp.Diff(want, string(line.appendTo(nil))); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", `""`},
		{"plain", "member-1 é 世界", `"member-1 é 世界"`},
		{"quote and backslash", `a"b\c`, `"a\"b\\c"`},
		{"line feed", "a\nb", `"a\u000ab"`},
		{"NUL, escape, DEL", "\x00\x1b[31m\x7f", `"\u0000\u001b[31m\u007f"`},
		{"C1 control", "\u0085", `"\u0085"`},
		{"line separator", "\u2028", `"\u2028"`},
		{"right-to-left override", "a\u202eb", `"a\u202eb"`},
		{"tag character", "\U000e0041", `"\udb40\udc41"`},
		{"not UTF-8", "a\xffb", `"a` + "\ufffd" + `b"`},
		{"as long as may be", strings.Repeat("x", 512), `"` + strings.Repeat("x", 512) + `"`},
		{"longer", strings.Repeat("x", 513), `"` + strings.Repeat("x", 509) + `…"`},
		{"cut before a character", "x" + strings.Repeat("世", 200), `"x` + strings.Repeat("世", 169) + `…"`},
		{"cut before a character of four bytes", "xx" + strings.Repeat("\U00020000", 200),
			`"xx` + strings.Repeat("\U00020000", 126) + `…"`},
		{"long and not UTF-8", strings.Repeat("\x80", 513), `"` + strings.Repeat("\ufffd", 509) + `…"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(appendText(nil, tt.text)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// decoded is a line as a reader of the record sees it.
type decoded struct {
	Time            time.Time `json:"time"`
	Caller          string    `json:"caller"`
	Method          string    `json:"method"`
	Door            string    `json:"door"`
	Organization    string    `json:"organization"`
	Member          string    `json:"member"`
	Outcome         string    `json:"outcome"`
	Code            string    `json:"code"`
	StytchRequestID string    `json:"stytch_request_id"`
	RequestID       string    `json:"request_id"`
	CodeFingerprint string    `json:"code_fingerprint"`
	Replayed        bool      `json:"replayed"`
}

func decode(t *testing.T, line []byte) decoded {
	t.Helper()
	var d decoded
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		t.Fatalf("%v: %q", err, line)
	}
	if _, err := decoder.Token(); err != io.EOF {
		t.Fatalf("there is more than one value: %q", line)
	}
	return d
}

// FuzzLine writes lines with any text in each field: each is one line, of characters that show, and says what it was
// given, but for what is not UTF-8 or too long.
func FuzzLine(f *testing.F) {
	f.Add("login-web", "example-org", "member-1", "rc-1", int64(0), false)
	f.Add("a\"b", "a\nb\r\n", "\x00\x1b\x7f\u0085\u2028\u202e\ufeff\U000e0041", "\xff\xc3", int64(1_700_000_000_123_456),
		true)
	f.Add(strings.Repeat("é", 300), strings.Repeat("\xff", 600), strings.Repeat("\x01", 600), `\u000a`, int64(-1), true)
	f.Fuzz(func(t *testing.T, caller, organization, member, id string, micros int64, replayed bool) {
		in := Line{
			Time:   time.UnixMicro(micros % (1 << 55)).UTC(), // some thousand years on both sides
			Caller: caller, Organization: organization, Member: member, RequestID: id, Replayed: replayed,
			Method: id, Door: member, Outcome: organization, Code: caller, StytchRequestID: member, CodeFingerprint: id,
		}
		if year := in.Time.Year(); year < 1 || year > 9999 {
			t.Skip("no year of RFC 3339")
		}
		line := in.appendTo(nil)
		text, ended := bytes.CutSuffix(line, []byte("\n"))
		hidden := func(r rune) bool { return !unicode.IsPrint(r) && r != utf8.RuneError }
		if !ended || !utf8.Valid(text) || bytes.ContainsFunc(text, hidden) {
			t.Fatalf("not a plain line: %q", line)
		}
		kept := func(s string) string {
			if len(s) <= maxText {
				return escapeInvalid(s)
			}
			return ""
		}
		want := decoded{
			in.Time, kept(caller), kept(id), kept(member), kept(organization), kept(member), kept(organization), kept(caller),
			kept(member), kept(id), kept(id), replayed,
		}
		got := decode(t, text)
		for _, pair := range []struct {
			given string
			got   *string
		}{
			{caller, &got.Caller}, {id, &got.Method}, {member, &got.Door}, {organization, &got.Organization},
			{member, &got.Member}, {organization, &got.Outcome}, {caller, &got.Code}, {member, &got.StytchRequestID},
			{id, &got.RequestID}, {id, &got.CodeFingerprint},
		} {
			if len(pair.given) > maxText {
				beginning, ok := strings.CutSuffix(*pair.got, cut)
				if !ok || !strings.HasPrefix(escapeInvalid(pair.given), beginning) || len(*pair.got) > 3*maxText {
					t.Fatalf("%q became %q", pair.given, *pair.got)
				}
				*pair.got = ""
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("line (-want +got):\n%s", diff)
		}
	})
}

// escapeInvalid replaces each byte that is not UTF-8, as ranging over a string does.
func escapeInvalid(s string) string { return string([]rune(s)) }

func TestLineBounds(t *testing.T) {
	chosen := strings.Repeat("\U000e0041", 1000)
	line := exampleLine()
	line.Organization, line.Member = chosen, chosen
	if got := len(line.appendTo(nil)); got > 8<<10 {
		t.Errorf("a line that an outsider has stuffed has %d bytes", got)
	}
	line.Organization, line.Member = strings.Repeat("\x01", 1000), strings.Repeat("\x01", 1000)
	if got := len(line.appendTo(nil)); got > 8<<10 {
		t.Errorf("a line that an outsider has stuffed has %d bytes", got)
	}
}

// TestBoundedLine says the same as the line it was, and holds no more than it says.
func TestBoundedLine(t *testing.T) {
	for _, unit := range []string{"x", "é", "世", "\U00020000", "\xff", "\n"} {
		for n := range 520 {
			line := exampleLine()
			line.Organization, line.Member = strings.Repeat(unit, n), strings.Repeat("y", n)+strings.Repeat(unit, 3)
			want := string(line.appendTo(nil))
			line.bound()
			if len(line.Organization) > 513 || len(line.Member) > 513 {
				t.Fatalf("%d and %d bytes of ids wait", len(line.Organization), len(line.Member))
			}
			if diff := cmp.Diff(want, string(line.appendTo(nil))); diff != "" {
				t.Fatalf("%d times %q (-want +got):\n%s", n, unit, diff)
			}
		}
	}
}

func TestFingerprint(t *testing.T) {
	f, err := NewFingerprinter([]byte(strings.Repeat("s", 32)))
	if err != nil {
		t.Fatal(err)
	}
	replica, err := NewFingerprinter([]byte(strings.Repeat("s", 32)))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewFingerprinter([]byte(strings.Repeat("t", 32)))
	if err != nil {
		t.Fatal(err)
	}
	const code = "sand-b0xc-ode1"
	got := f.Code(code)
	if len(got) != 32 || strings.Trim(got, "0123456789abcdef") != "" {
		t.Errorf("the fingerprint is %q, want 32 hexadecimal digits", got)
	}
	// Kept by hand: a new version that gives another fingerprint breaks every search across the change.
	if want := "598f08d55166a61e903f5606d889c0b2"; got != want {
		t.Errorf("the fingerprint is %s, want %s as ever", got, want)
	}
	if replica.Code(code) != got {
		t.Error("two replicas do not agree on a fingerprint")
	}
	if other.Code(code) == got {
		t.Error("the fingerprint does not depend on the secret")
	}
	if f.Code(code+"x") == got || f.Code(" "+code) == got {
		t.Error("another code has the same fingerprint")
	}
	if f.Code("") != "" {
		t.Error("no code has a fingerprint")
	}
	if _, err := NewFingerprinter(nil); err == nil {
		t.Error("a Fingerprinter was made without a secret")
	}
}
