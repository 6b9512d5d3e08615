package call_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"recoverycodes.internal/server/internal/call"
)

func TestRequestIDFromOutside(t *testing.T) {
	tests := []struct {
		name, proposed string
		kept           bool
	}{
		{"uuid", "5f0c2e1a-9f6d-4a1b-8f0e-0d2f6c1b7a3e", true},
		{"one character", "a", true},
		{"every sign that is allowed", "azAZ09-_.:/+=", true},
		{"128 characters", strings.Repeat("x", 128), true},
		{"129 characters", strings.Repeat("x", 129), false},
		{"empty", "", false},
		{"space", "two words", false},
		{"space at the end", "id ", false},
		{"line feed", "id\nforged line", false},
		{"carriage return and line feed", "id\r\nX-Forged: 1", false},
		{"tab", "id\t1", false},
		{"NUL", "id\x00", false},
		{"DEL", "id\x7f", false},
		{"non-ASCII letter", "idé", false},
		{"not UTF-8", "id\xff", false},
		{"quote", `id"`, false},
		{"backslash", `id\`, false},
		{"angle bracket", "<id>", false},
		{"percent", "id%0a", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := call.New(call.REST, tt.proposed).RequestID
			if kept := got == tt.proposed; kept != tt.kept {
				t.Errorf("proposed %q, got %q; kept is %v, want %v", tt.proposed, got, kept, tt.kept)
			}
		})
	}
}

// TestRequestIDIsAlwaysPlain proposes anything at all: what comes back may be put into a header and a log line, and
// would itself be accepted from outside, by this server or the next.
func TestRequestIDIsAlwaysPlain(t *testing.T) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+="
	rapid.Check(t, func(t *rapid.T) {
		proposed := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9._:/+=-]{0,140}[ -~]?`)).Draw(t, "proposed")
		got := call.New(call.GRPC, proposed).RequestID
		plain := func(id string) bool { return id != "" && len(id) <= 128 && strings.Trim(id, allowed) == "" }
		if !plain(got) {
			t.Fatalf("the id %q is not plain", got)
		}
		if plain(proposed) != (got == proposed) {
			t.Fatalf("proposed %q, got %q", proposed, got)
		}
		if again := call.New(call.GRPC, got).RequestID; again != got {
			t.Fatalf("the id %q was replaced by %q on the next hop", got, again)
		}
	})
}

func TestMintedRequestIDsDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		id := call.New(call.GRPC, "").RequestID
		if seen[id] {
			t.Fatalf("the id %q was given twice", id)
		}
		seen[id] = true
	}
}

func TestNewStartsTheRecord(t *testing.T) {
	for _, door := range []call.Door{call.GRPC, call.REST} {
		before := time.Now()
		c := call.New(door, "")
		if c.Door != door {
			t.Errorf("the record of a call by %s says %q", door, c.Door)
		}
		if c.Start.Before(before) || c.Start.After(time.Now()) {
			t.Errorf("the call started at %v, which is not now", c.Start)
		}
		if c.Outcome != "" || c.Reported {
			t.Errorf("a new record has outcome %q, reported %v", c.Outcome, c.Reported)
		}
	}
}

func TestContext(t *testing.T) {
	if got := call.FromContext(t.Context()); got != nil {
		t.Errorf("a context without a call gave %+v", got)
	}
	outer, inner := call.New(call.REST, "outer"), call.New(call.GRPC, "inner")
	ctx := call.NewContext(t.Context(), outer)
	if got := call.FromContext(ctx); got != outer {
		t.Errorf("got the record %p, want %p: what the service writes must reach the door", got, outer)
	}
	if got := call.FromContext(call.NewContext(ctx, inner)); got != inner {
		t.Errorf("got the record %p, want the innermost, %p", got, inner)
	}
}
