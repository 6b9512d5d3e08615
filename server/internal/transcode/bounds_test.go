package transcode_test

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/transcode"
)

// nesting counts the messages on the way to the innermost, entries of maps included.
func nesting(m protoreflect.Message) int {
	deepest := 0
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			deepest = max(deepest, 1)
			if fd.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					deepest = max(deepest, 1+nesting(v.Message()))
					return true
				})
			}
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				deepest = max(deepest, nesting(v.List().Get(i).Message()))
			}
		default:
			deepest = max(deepest, nesting(v.Message()))
		}
		return true
	})
	return 1 + deepest
}

// repeat nests: open n times, the middle, close n times.
func repeat(n int, open, middle, closing string) string {
	return strings.Repeat(open, n) + middle + strings.Repeat(closing, n)
}

// The deepest documents that fit stand whole, and one level more costs that level only.
func TestNesting(t *testing.T) {
	tests := []struct {
		name     string
		document func(levels int) string
		fits     int    // the most levels that stand whole
		clean    string // what is left of one level more, or "" for the document of the most levels
		path     string
	}{
		{"messages", func(n int) string { return repeat(n, `{"child":`, `{"text":"a"}`, `}`) }, 89,
			repeat(89, `{"child":`, `{}`, `}`), strings.Repeat("child.", 89) + "child"},
		{"repeated messages", func(n int) string { return repeat(n, `{"children":[`, `{"text":"a"}`, `]}`) }, 89,
			repeat(89, `{"children":[`, `{}`, `]}`), strings.Repeat("children[].", 89) + "children[]"},
		{"maps", func(n int) string { return repeat(n, `{"named":{"k":`, `{"text":"a"}`, `}}`) }, 44,
			repeat(44, `{"named":{"k":`, `{"named":{}}`, `}}`), strings.Repeat("named.*.", 44) + "named.*"},
		// A Struct at the depth 2, then an entry, a Value and a Struct for each level.
		{"objects", func(n int) string { return `{"free":{"x":1,"k":` + repeat(n, `{"k":`, `"a"`, `}`) + `}}` }, 28,
			`{"free":{"x":1,"k":` + repeat(27, `{"k":`, `{}`, `}`) + `}}`, "free.*"},
		{"lists", func(n int) string { return `{"items":[1,` + repeat(n, `[`, `"a"`, `]`) + `,2]}` }, 43,
			`{"items":[1,` + repeat(43, `[`, `null`, `]`) + `,2]}`, "items.*"},
		{"any", func(n int) string { return `{"any":` + repeat(n, `[`, `true`, `]`) + `}` }, 44,
			`{"any":` + repeat(44, `[`, `null`, `]`) + `}`, "any.*"},
	}
	message := everything(t)
	made := table(t, message)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			whole, err := made.Append(nil, []byte(test.document(test.fits)))
			if err != nil {
				t.Fatal(err)
			}
			decoded := decode(t, message, whole.Wire)
			if !proto.Equal(reading(t, message, []byte(test.document(test.fits))), decoded) || whole.DriftTotal != 0 {
				t.Errorf("%d levels do not stand whole: %v", test.fits, whole.Drift)
			}
			if n := nesting(decoded.ProtoReflect()); n > transcode.MaxNesting || n < transcode.MaxNesting-2 {
				t.Errorf("%d levels are %d messages, want nearly %d", test.fits, n, transcode.MaxNesting)
			}
			for _, more := range []int{1, 2, 1000} {
				got, err := made.Append(nil, []byte(test.document(test.fits+more)))
				if err != nil {
					t.Fatal(err)
				}
				decoded := decode(t, message, got.Wire)
				if n := nesting(decoded.ProtoReflect()); n > transcode.MaxNesting {
					t.Errorf("%d messages, more than %d", n, transcode.MaxNesting)
				}
				want := []transcode.Drift{{Path: test.path, Kind: transcode.TooDeep}}
				if diff := cmp.Diff(want, got.Drift); diff != "" {
					t.Errorf("drift of %d levels (-want +got):\n%s", test.fits+more, diff)
				}
				if !proto.Equal(reading(t, message, []byte(test.clean)), decoded) {
					t.Errorf("of %d levels is left: %v", test.fits+more, decoded)
				}
			}
		})
	}
}

// The entries of a map are messages, of which those in the innermost message possible would be one too many.
func TestNestingOfEntries(t *testing.T) {
	message := everything(t)
	document := repeat(transcode.MaxNesting-1, `{"child":`, `{"labels":{"a":"b"},"text":"c"}`, `}`)
	got, err := table(t, message).Append(nil, []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	want := []transcode.Drift{{Path: strings.Repeat("child.", transcode.MaxNesting-1) + "labels", Kind: transcode.TooDeep}}
	if diff := cmp.Diff(want, got.Drift); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
	expectMessage(t, message, repeat(transcode.MaxNesting-1, `{"child":`, `{"text":"c"}`, `}`), got.Wire)
}

// copies is n times the same element.
func copies(n int, element string) string {
	return strings.TrimSuffix(strings.Repeat(element+",", n), ",")
}

// What is given up for the sake of the rest, and in which order.
func TestSacrifices(t *testing.T) {
	large := strings.Repeat("x", transcode.MaxSize)
	type drifts []transcode.Drift
	tests := []struct {
		name            string
		document, clean string
		want            drifts
	}{
		{"a large free-form object",
			`{"text":"token","free":{"a":"` + large + `"},"child":{"free":{"b":1}},"labels":{"c":"d"}}`,
			`{"text":"token","child":{"free":{"b":1}},"labels":{"c":"d"}}`,
			drifts{{"free", transcode.TooLarge}}},
		{"large free-form values of each type",
			`{"any":"` + large + `","items":["` + large + `"],"labels":{"a":"` + large + `"},"child":{"free":{"b":["` + large + `"]}},"frees":[{"a":1},{"a":"` + large + `"}],"text":"token"}`,
			`{"child":{},"frees":[{"a":1}],"text":"token"}`,
			drifts{{"any", transcode.TooLarge}, {"items", transcode.TooLarge}, {"labels", transcode.TooLarge}, {"child.free", transcode.TooLarge}, {"frees[]", transcode.TooLarge}}},
		{"many small free-form objects",
			`{"text":"token","frees":[` + copies(80, `{"a":"`+large[:60<<10]+`"}`) + `],"child":{"free":{}},"texts":["code"]}`,
			`{"text":"token","child":{},"texts":["code"]}`,
			drifts{{"frees[]", transcode.TooLarge}, {"child.free", transcode.TooLarge}}},
		{"a large message",
			`{"text":"token","child":{"text":"` + large + `"},"children":[{"text":"a"}],"free":{"a":1},"at":"2025-01-01T00:00:00Z"}`,
			`{"text":"token","children":[{"text":"a"}],"at":"2025-01-01T00:00:00Z"}`,
			drifts{{"child", transcode.TooLarge}, {"free", transcode.TooLarge}}},
		{"many small messages",
			`{"text":"token","texts":["code"],"children":[` + copies(80, `{"text":"`+large[:60<<10]+`"}`) + `],"int32":200,"at":"2025-01-01T00:00:00Z"}`,
			`{"text":"token","texts":["code"],"int32":200}`,
			drifts{{"children[]", transcode.TooLarge}, {"at", transcode.TooLarge}}},
		{"a drift in what is given up is told once",
			`{"new":1,"free":{"a":"` + large + `"},"text":"token"}`,
			`{"text":"token"}`,
			drifts{{"new", transcode.UnknownMember}, {"free", transcode.TooLarge}}},
	}
	message := everything(t)
	made := table(t, message, "text")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := made.Append([]byte{}, []byte(test.document))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]transcode.Drift(test.want), got.Drift); diff != "" {
				t.Errorf("drift (-want +got):\n%s", diff)
			}
			if !proto.Equal(reading(t, message, []byte(test.clean)), decode(t, message, got.Wire)) {
				t.Error("the rest is not what was expected")
			}
			if got.Kept[0] != "token" {
				t.Errorf("kept %q", got.Kept[0])
			}
		})
	}
}

// Scalars of the top level fill the message up to the last byte, and one more is an error.
func TestMaxSize(t *testing.T) {
	if transcode.MaxSize != 4194304 {
		t.Errorf("MaxSize is %d, not what gRPC clients accept", transcode.MaxSize)
	}
	made := table(t, everything(t))
	// A tag, four bytes of length and the string.
	const fits = transcode.MaxSize - 5
	got, err := made.Append([]byte("prefix"), []byte(`{"free":{"a":1},"text":"`+strings.Repeat("x", fits)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Wire) - len("prefix"); n != transcode.MaxSize {
		t.Errorf("%d bytes, want %d", n, transcode.MaxSize)
	}
	for _, document := range []string{
		`{"text":"` + strings.Repeat("x", fits+1) + `"}`,
		`{"texts":["` + strings.Repeat("x", fits+1) + `"]}`,
		`{"texts":[` + copies(5, `"`+strings.Repeat("x", 1<<20)+`"`) + `]}`,
	} {
		_, err = made.Append(nil, []byte(document))
		var failure *transcode.DocumentError
		if !errors.As(err, &failure) || failure.Reason != transcode.OverSize || failure.Offset != len(document) {
			t.Errorf("error %v, want %s at the end", err, transcode.OverSize)
		}
	}
}

// An answer that is too large because of a member's metadata keeps the session and the codes.
func TestLargeAnswerKeepsSecrets(t *testing.T) {
	document := bytes.Replace(answers[1].document, []byte(`"untrusted_metadata":{}`),
		[]byte(`"untrusted_metadata":{"essay":"`+strings.Repeat("long ", 1<<20)+`"}`), 1)
	got, err := table(t, answers[1].message).Append(nil, document)
	if err != nil {
		t.Fatal(err)
	}
	want := reading(t, answers[1].message, document).(*recoverycodesv1.RecoverResponse)
	want.Member.UntrustedMetadata = nil
	if diff := cmp.Diff([]transcode.Drift{{Path: "member.untrusted_metadata", Kind: transcode.TooLarge}}, got.Drift); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
	if !proto.Equal(want, decode(t, answers[1].message, got.Wire)) {
		t.Error("more was lost than the metadata")
	}
}

// Documents made to cost as much as they can cost a bounded multiple of their size.
func TestMemoryIsBounded(t *testing.T) {
	const size = 256 << 10
	fill := func(element string) string { return copies(size/(len(element)+1), element) }
	var keys strings.Builder
	for i := 0; keys.Len() < size; i++ {
		if i > 0 {
			keys.WriteByte(',')
		}
		keys.WriteString(`"` + string(rune(0x20+1+i%1000+1000)) + string(rune(0x1000+i/1000)) + `":0`)
	}
	tests := []struct{ name, document string }{
		{"open brackets", strings.Repeat("[", size)},
		{"open brackets in what is skipped", `{"new":` + strings.Repeat("[", size)},
		{"open objects in what is skipped", `{"new":` + strings.Repeat(`{"":`, size/4)},
		{"open brackets in free form", `{"items":` + strings.Repeat("[", size)},
		{"open objects in free form", `{"free":` + strings.Repeat(`{"":`, size/4)},
		{"open messages", `{"child":` + strings.Repeat(`{"child":`, size/9)},
		{"zeros", `{"items":[` + fill(`0`) + `]}`},
		{"lists", `{"items":[` + fill(`[]`) + `]}`},
		{"long lists inside many", `{"items":` + repeat(40, "[", fill(`0`), "]") + `}`},
		{"bad UTF-8", `{"text":"` + strings.Repeat("\xff", size) + `"}`},
		{"bad UTF-8 in many", `{"texts":[` + fill("\"\xff\"") + `]}`},
		{"keys", `{"free":{` + keys.String() + `}}`},
		{"equal keys", `{"free":{` + fill(`"a":0`) + `}}`},
		{"objects below many keys", `{"free":{` + members(40, `"%d":0`) + `,"x":[` + fill(`{"a":0,"b":0}`) + `]}}`},
		{"unknown members", `{` + fill(`"abcdefgh":0`) + `}`},
		{"wrong elements", `{"texts":[` + fill(`0`) + `]}`},
		{"escaped names", `{` + fill(`"\u0061\u0061":0`) + `}`},
		{"long numbers", `{"items":[` + fill(`1234567890.12345678901234567890e-5`) + `]}`},
		{"one long number", `{"any":` + strings.Repeat("1", size) + `e-` + strings.Repeat("0", size) + `5}`},
		{"numbers in strings", `{"int32s":[` + fill(`"\u0031e3"`) + `]}`},
		{"bad times", `{"times":[` + fill(`"2025-12-01T00:00:00+99:99"`) + `]}`},
	}
	made := table(t, everything(t))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			document := []byte(test.document)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := made.Append(nil, document)
			runtime.ReadMemStats(&after)
			if broken := strings.HasPrefix(test.name, "open"); broken != (err != nil) {
				t.Errorf("error %v", err)
			}
			// At most six times the size is written; the rest is what growing left behind.
			const limit = 32
			if times := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(document)); times > limit {
				t.Errorf("allocated %.1f times the size of the document, want at most %d", times, limit)
			}
		})
	}
}
