package once

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

const testSecret = "a server secret of 32 bytes, ok."

var sealedCall = Call{Caller: "caller-one", Key: "key-seven", Request: []byte("Recover the-code")}

func mustSealer(t *testing.T, secret string) sealer {
	t.Helper()
	s, err := newSealer([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustBox(t *testing.T, s sealer, c Call, fingerprint digest) box {
	t.Helper()
	b, err := s.box(c, fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordsOpenOnlyForTheirCall(t *testing.T) {
	const record = "the session"
	ours := mustSealer(t, testSecret)
	fingerprint := ours.fingerprint(sealedCall)
	sealed := mustBox(t, ours, sealedCall, fingerprint).seal([]byte(record))
	if got, err := mustBox(t, ours, sealedCall, fingerprint).open(sealed); err != nil || string(got) != record {
		t.Fatalf("opened %q, %v, want the record", got, err)
	}
	other := func(change func(*Call)) Call {
		c := sealedCall
		change(&c)
		return c
	}
	for _, tt := range []struct {
		name   string
		secret string
		call   Call
	}{
		{"another secret", strings.ToUpper(testSecret), sealedCall},
		{"the secret cut short", testSecret[:31], sealedCall},
		{"no secret but the key's", sealedCall.Key, sealedCall},
		{"another caller", testSecret, other(func(c *Call) { c.Caller = "caller-two" })},
		{"another key", testSecret, other(func(c *Call) { c.Key = "key-eight" })},
		{"another request", testSecret, other(func(c *Call) { c.Request = []byte("Rotate") })},
		{"a byte from key to caller", testSecret, other(func(c *Call) { c.Caller, c.Key = "caller-onek", "ey-seven" })},
		{"a byte from secret to key", testSecret[:31], other(func(c *Call) { c.Key = testSecret[31:] + c.Key })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mustSealer(t, tt.secret)
			if got, err := mustBox(t, s, tt.call, s.fingerprint(tt.call)).open(sealed); err == nil {
				t.Errorf("opened: %q", got)
			}
			if bytes.Equal(tt.call.Request, sealedCall.Request) { // one who has read the store has the fingerprint
				if got, err := mustBox(t, s, tt.call, fingerprint).open(sealed); err == nil {
					t.Errorf("opened with the fingerprint that the store shows: %q", got)
				}
			}
		})
	}
}

func TestTamperedRecordsDoNotOpen(t *testing.T) {
	s := mustSealer(t, testSecret)
	b := mustBox(t, s, sealedCall, s.fingerprint(sealedCall))
	sealed := b.seal([]byte("the session"))
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := b.open(bad); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := b.open(sealed[:i]); err == nil {
			t.Errorf("opened when cut to %d bytes", i)
		}
	}
}

func TestSealingTwiceDiffers(t *testing.T) {
	s := mustSealer(t, testSecret)
	b := mustBox(t, s, sealedCall, s.fingerprint(sealedCall))
	if bytes.Equal(b.seal([]byte("the session")), b.seal([]byte("the session"))) {
		t.Error("the same bytes twice: the nonce is not random")
	}
}

func TestNames(t *testing.T) {
	s := mustSealer(t, testSecret)
	name, fingerprint := s.name(sealedCall), s.fingerprint(sealedCall)
	again := Call{Caller: sealedCall.Caller, Key: sealedCall.Key, Request: bytes.Clone(sealedCall.Request)}
	if s.name(again) != name || s.fingerprint(again) != fingerprint {
		t.Error("the same call is named differently")
	}
	again.Request = []byte("Rotate")
	if s.name(again) != name {
		t.Error("the name depends on the request")
	}
	if s.fingerprint(again) == fingerprint {
		t.Error("the fingerprint does not depend on the request")
	}
	theirs := mustSealer(t, strings.ToUpper(testSecret))
	if theirs.name(sealedCall) == name || theirs.fingerprint(sealedCall) == fingerprint {
		t.Error("names can be computed without the secret")
	}
	for _, c := range []Call{
		{Caller: "caller-two", Key: "key-seven", Request: sealedCall.Request},
		{Caller: "caller-one", Key: "key-eight", Request: sealedCall.Request},
		{Caller: "caller-onek", Key: "ey-seven", Request: sealedCall.Request},
		{Caller: "key-seven", Key: "caller-one", Request: sealedCall.Request},
	} {
		if s.name(c) == name {
			t.Errorf("%s/%s has the name of another call", c.Caller, c.Key)
		}
		if s.fingerprint(c) == fingerprint {
			t.Errorf("%s/%s shows that it asks for the same as another call", c.Caller, c.Key)
		}
	}
}

func TestNoSecret(t *testing.T) {
	for _, secret := range [][]byte{nil, {}} {
		if m, err := NewMemory(secret, time.Minute, 1); err == nil || m != nil {
			t.Errorf("NewMemory(%v) = %v, %v, want an error", secret, m, err)
		}
	}
}

func TestTheSecretIsCopied(t *testing.T) {
	secret := []byte(testSecret)
	s, err := newSealer(secret)
	if err != nil {
		t.Fatal(err)
	}
	name := s.name(sealedCall)
	clear(secret)
	if s.name(sealedCall) != name {
		t.Error("clearing the caller's secret changed the store's")
	}
}

// TestNothingInClear walks all that a store holds: calls that have ended, one that panicked and one under way.
func TestNothingInClear(t *testing.T) {
	m, err := NewMemory([]byte(testSecret), time.Minute, 10)
	if err != nil {
		t.Fatal(err)
	}
	const record = "the session token"
	if _, _, err := m.Do(t.Context(), sealedCall, func() ([]byte, bool) { return []byte(record), true }); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		broken := sealedCall
		broken.Key += "-panic"
		_, _, _ = m.Do(t.Context(), broken, func() ([]byte, bool) { panic(record) })
	}()
	underWay := sealedCall
	underWay.Key += "-under-way"
	var found []byte
	if _, _, err := m.Do(t.Context(), underWay, func() ([]byte, bool) {
		found = everyByte(m)
		return nil, false
	}); err != nil {
		t.Fatal(err)
	}

	// The walk must see what is there, or it proves nothing.
	for _, key := range []string{"", "-panic", "-under-way"} {
		c := sealedCall
		c.Key += key
		name, fingerprint := m.sealer.name(c), m.sealer.fingerprint(c)
		if !bytes.Contains(found, name[:]) || !bytes.Contains(found, fingerprint[:]) {
			t.Fatalf("the walk missed the name or the fingerprint of %q", c.Key)
		}
	}
	if !bytes.Contains(found, m.entries[m.sealer.name(sealedCall)].sealed) {
		t.Fatal("the walk missed the sealed record")
	}
	for what, clear := range map[string]string{
		"caller": sealedCall.Caller, "key": sealedCall.Key, "request": string(sealedCall.Request), "record": record,
	} {
		if bytes.Contains(found, []byte(clear)) {
			t.Errorf("the store holds the %s in clear", what)
		}
	}
}

// TestAStoreThatWasTamperedWith: a record that does not open is an unknown outcome, not a reason for another run.
func TestAStoreThatWasTamperedWith(t *testing.T) {
	m, err := NewMemory([]byte(testSecret), time.Minute, 10)
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	run := func() ([]byte, bool) {
		runs++
		return []byte("the session"), true
	}
	if _, _, err := m.Do(t.Context(), sealedCall, run); err != nil {
		t.Fatal(err)
	}
	m.entries[m.sealer.name(sealedCall)].sealed[20] ^= 1
	if record, _, err := m.Do(t.Context(), sealedCall, run); !errors.Is(err, ErrUnknown) || record != nil {
		t.Errorf("got %q, %v, want ErrUnknown", record, err)
	}
	if runs != 1 {
		t.Errorf("%d runs, want 1", runs)
	}
}

// everyByte is the content of all strings and byte sequences that can be reached from v, each followed by a zero.
func everyByte(v any) []byte {
	var found []byte
	seen := map[uintptr]bool{}
	var walk func(reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() && !seen[v.Pointer()] {
				seen[v.Pointer()] = true
				walk(v.Elem())
			}
		case reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Map:
			for entries := v.MapRange(); entries.Next(); {
				walk(entries.Key())
				walk(entries.Value())
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				walk(v.Index(i))
			}
			found = append(found, 0)
		case reflect.String:
			found = append(append(found, v.String()...), 0)
		case reflect.Uint8:
			found = append(found, byte(v.Uint()))
		default: // numbers, channels and functions: no place for text
		}
	}
	walk(reflect.ValueOf(v))
	return found
}
