package transcode_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"recoverycodes.internal/server/internal/transcode"
)

// What a document without drift says is what protojson reads in it.
func TestAppendReadsAsProtojson(t *testing.T) {
	tests := []struct{ name, document string }{
		{"empty", `{}`},
		{"space everywhere", " \t\r\n{ \"text\" : \"a\" , \"texts\" : [ \"b\" , \"c\" ] , \"free\" : { \"x\" : [ ] , \"y\" : { } } } \n"},
		{"zero values", `{"text":"","flag":false,"int32":0,"int64":0,"uint32":0,"uint64":0,"float":0,"double":0}`},
		{"zero values that count", `{"maybe_text":"","maybe_flag":false,"maybe_int32":0,"maybe_double":0}`},
		{"minus zero", `{"double":-0,"float":-0.0,"int32":-0,"any":-0}`},
		{"empty containers", `{"child":{},"free":{},"items":[],"texts":[],"int32s":[],"children":[],"labels":{},"named":{}}`},
		{"nulls", `{"text":null,"flag":null,"int32":null,"double":null,"child":null,"at":null,"free":null,"items":null,"texts":null,"int32s":null,"labels":null}`},
		{"nulls in free form", `{"any":null,"anys":[null],"items":[null],"free":{"a":null,"b":[null,{"c":null}]},"any_named":{"a":null}}`},
		{"numbers", `{"int32":-2147483648,"int64":-9223372036854775808,"uint32":4294967295,"uint64":18446744073709551615,"float":3.4028235e38,"double":-1.7976931348623157e308}`},
		{"integers in other forms", `{"int32":2e2,"int64":200.0,"uint32":20.0e1,"uint64":2000e-1,"maybe_int32":0.0e5}`},
		{"more forms", `{"int32":-1.50E+2,"int64":0.0001e+4,"uint64":1000000000000000000e1}`},
		{"numbers in strings", `{"int32":"200","int64":"-9223372036854775808","uint32":"2e2","uint64":"18446744073709551615","float":"0.5","double":"-1e-7"}`},
		{"numbers in escaped strings", `{"int32":"\u0032\u0030","double":"\u0031e2"}`},
		{"no numbers", `{"double":"NaN","float":"-Infinity","maybe_double":"Infinity"}`},
		{"doubles", `{"double":0.1,"any":[0.1,1e308,5e-324,123456789012345,0.30000000000000004,1.5,-1,1E2,100000000000000000000]}`},
		{"lists", `{"texts":["a","","b"],"flags":[true,false],"int32s":[0,1,-1,"2"],"loose_int32s":[0,300],"floats":[0,0.5],"frees":[{},{"a":1}],"anys":[1,"a",[],{}]}`},
		{"messages", `{"child":{"text":"a","child":{"int32":1}},"children":[{},{"text":"b"},{"children":[{"flag":true}]}]}`},
		{"maps", `{"labels":{"b":"","a":"x","":"empty"},"counts":{"a":0,"b":"7"},"named":{"x":{},"y":{"text":"z"}},"any_named":{"x":[{}]}}`},
		{"a map of many", `{"labels":{` + members(100, `"%d":"v"`) + `},"free":{` + members(100, `"%d":{"a":[{"b":%[1]d}]}`) + `}}`},
		{"times", `{"times":["1970-01-01T00:00:00Z","2025-12-01T07:00:00.5Z","2025-02-28T23:59:59.123456789Z","2024-02-29T12:00:00Z"]}`},
		{"times before 1970", `{"times":["1969-12-31T23:59:59Z","1969-12-31T23:59:59.999999999Z","0001-01-01T00:00:00Z","1600-02-29T00:00:00Z"]}`},
		{"the last times", `{"times":["9999-12-31T23:59:59.999999999Z","9999-12-28T23:59:59Z"]}`},
		{"times with offsets", `{"times":["2025-12-01T07:00:00+02:00","2025-12-01T07:00:00.25-11:30","2025-12-31T23:59:59-00:01"]}`},
		{"times in escapes", `{"at":"2025\u002d12-01T07:00:00Z"}`},
		{"escapes", `{"text":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00","any":"\u0000"}`},
		{"beyond ASCII", `{"text":"größer – ☕ 😀","free":{"ключ":"значение","k\u00e9y":"\ufffd"}}`},
		{"escaped names", `{"te\u0078t":"a","\u0066ree":{"\u0061":1}}`},
		{"long values", `{"text":"` + strings.Repeat("x", 300) + `","texts":["` + strings.Repeat("é\\n", 20000) + `"],"child":{"child":{"text":"` + strings.Repeat("y", 20000) + `"}},"free":{"` + strings.Repeat("k", 200) + `":"` + strings.Repeat("v", 200) + `"}}`},
	}
	message := everything(t)
	made := table(t, message)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := made.Append(nil, []byte(test.document))
			if err != nil {
				t.Fatal(err)
			}
			if got.DriftTotal != 0 {
				t.Errorf("drift: %v", got.Drift)
			}
			expectMessage(t, message, test.document, got.Wire)
		})
	}
}

// members is n members, or elements, of the given format with a number in it.
func members(n int, format string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(list, ",")
}

// Days of every month of leap and other years, read by our own arithmetic, are what protojson reads.
func TestTimesOfEveryDay(t *testing.T) {
	message := everything(t)
	made := table(t, message)
	for _, year := range []int{1, 4, 100, 400, 1582, 1600, 1900, 1969, 1970, 1999, 2000, 2023, 2024, 2100, 9999} {
		var times []string
		for month := 1; month <= 12; month++ {
			for day := 1; day <= 28; day++ {
				times = append(times, fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d.%dZ", year, month, day, day%24, day*2, 59-day, day))
			}
		}
		document := []byte(`{"times":["` + strings.Join(times, `","`) + `"]}`)
		got, err := made.Append(nil, document)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(reading(t, message, document), decode(t, message, got.Wire)) || got.DriftTotal != 0 {
			t.Errorf("the times of %d are not protojson's", year)
		}
	}
}

func TestAppendErrors(t *testing.T) {
	tests := []struct {
		name, document string
		reason         transcode.Reason
		offset         int
	}{
		{"nothing", ``, transcode.Truncated, 0},
		{"only space", " \n", transcode.Truncated, 2},
		{"a page", `<html>502</html>`, transcode.NotJSON, 0},
		{"byte order mark", "\ufeff{}", transcode.NotJSON, 0},
		{"null", `null`, transcode.NotObject, 0},
		{"list", ` [{"text":"a"}] `, transcode.NotObject, 1},
		{"string", `"secret"`, transcode.NotObject, 0},
		{"broken list", `[1,]`, transcode.NotJSON, 3},
		{"two objects", `{} {}`, transcode.TrailingBytes, 3},
		{"a byte more", `{}x`, transcode.TrailingBytes, 2},
		{"a value more", `"a" "b"`, transcode.TrailingBytes, 4},
		{"cut in object", `{"text":"secret"`, transcode.Truncated, 16},
		{"cut in string", `{"text":"secr`, transcode.Truncated, 13},
		{"cut in escape", `{"text":"\u00`, transcode.Truncated, 13},
		{"cut after backslash", `{"text":"\`, transcode.Truncated, 10},
		{"cut in name", `{"te`, transcode.Truncated, 4},
		{"cut before colon", `{"text"`, transcode.Truncated, 7},
		{"cut before value", `{"text":`, transcode.Truncated, 8},
		{"cut in literal", `{"flag":tru`, transcode.Truncated, 11},
		{"cut in number", `{"int32":-`, transcode.Truncated, 10},
		{"cut in fraction", `{"double":1.`, transcode.Truncated, 12},
		{"cut in exponent", `{"double":1e+`, transcode.Truncated, 13},
		{"cut in list", `{"texts":["a",`, transcode.Truncated, 14},
		{"cut in what is skipped", `{"unknown":{"a":[{"b`, transcode.Truncated, 20},
		{"cut in free form", `{"free":{"a":[{"b":1`, transcode.Truncated, 20},
		{"cut in a map", `{"labels":{"a":"b"`, transcode.Truncated, 18},
		{"comma at the end", `{"text":"a",}`, transcode.NotJSON, 12},
		{"comma at the beginning", `{,"text":"a"}`, transcode.NotJSON, 1},
		{"comma at the end of a list", `{"texts":["a",]}`, transcode.NotJSON, 14},
		{"comma at the end of a skipped list", `{"unknown":["a",]}`, transcode.NotJSON, 16},
		{"comma at the end of a free list", `{"items":["a",]}`, transcode.NotJSON, 14},
		{"no comma", `{"text":"a""flag":true}`, transcode.NotJSON, 11},
		{"no comma in a list", `{"texts":["a" "b"]}`, transcode.NotJSON, 14},
		{"no colon", `{"text" "a"}`, transcode.NotJSON, 8},
		{"no name", `{text:"a"}`, transcode.NotJSON, 1},
		{"no value", `{"text":}`, transcode.NotJSON, 8},
		{"wrong bracket", `{"texts":["a"}`, transcode.NotJSON, 13},
		{"wrong bracket in what is skipped", `{"unknown":{"a":[}}`, transcode.NotJSON, 17},
		{"single quotes", `{'text':"a"}`, transcode.NotJSON, 1},
		{"comment", `{/**/}`, transcode.NotJSON, 1},
		{"literal in capitals", `{"flag":True}`, transcode.NotJSON, 8},
		{"literal that goes on", `{"flag":trueish}`, transcode.NotJSON, 12},
		{"literal that is none", `{"text":nul}`, transcode.NotJSON, 11},
		{"leading zero", `{"int32":01}`, transcode.NotJSON, 10},
		{"plus", `{"int32":+1}`, transcode.NotJSON, 9},
		{"no digit before the point", `{"double":.5}`, transcode.NotJSON, 10},
		{"no digit after the point", `{"double":1.}`, transcode.NotJSON, 12},
		{"no digit in the exponent", `{"double":1e}`, transcode.NotJSON, 12},
		{"hexadecimal", `{"int32":0x10}`, transcode.NotJSON, 10},
		{"NaN", `{"double":NaN}`, transcode.NotJSON, 10},
		{"minus alone", `{"free":{"a":-}}`, transcode.NotJSON, 14},
		{"line feed in a string", "{\"text\":\"a\nb\"}", transcode.NotJSON, 10},
		{"NUL in a string", "{\"text\":\"a\x00b\"}", transcode.NotJSON, 10},
		{"NUL instead of a value", "{\"text\":\x00}", transcode.NotJSON, 8},
		{"unknown escape", `{"text":"a\x41"}`, transcode.NotJSON, 11},
		{"short escape", `{"text":"\u12g4"}`, transcode.NotJSON, 13},
		{"control character in what is skipped", "{\"unknown\":\"a\x1fb\"}", transcode.NotJSON, 13},
	}
	message := everything(t)
	made := table(t, message)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := made.Append(nil, []byte(test.document))
			var failure *transcode.DocumentError
			if !errors.As(err, &failure) {
				t.Fatalf("no *DocumentError: %v", err)
			}
			if failure.Reason != test.reason || failure.Offset != test.offset {
				t.Errorf("got %s at %d, want %s at %d", failure.Reason, failure.Offset, test.reason, test.offset)
			}
			if got.Wire != nil || got.Kept != nil || got.Drift != nil {
				t.Errorf("an answer comes with the error: %+v", got)
			}
			if want := fmt.Sprintf("transcode: %s at byte %d", test.reason, test.offset); err.Error() != want {
				t.Errorf("the error says %q, want %q", err, want)
			}
		})
	}
}

// Strings are looked at eight bytes at a time: what is special about a byte is seen wherever it stands.
func TestStringsAtEveryOffset(t *testing.T) {
	message := everything(t)
	made := table(t, message)
	const before, after = `{"text":"`, `"}`
	for length := range 20 {
		padding := strings.Repeat("~", length)
		for _, special := range []string{"", " ", "é", "\x7f", `\"`, `\\`, `\u0041`} {
			document := before + padding + special + padding + after
			got, err := made.Append(nil, []byte(document))
			if err != nil || got.DriftTotal != 0 {
				t.Fatalf("%s: %v, drift %v", document, err, got.Drift)
			}
			expectMessage(t, message, document, got.Wire)
		}
		for c := range 0x20 {
			document := before + padding + string(rune(c)) + padding + padding + after
			_, err := made.Append(nil, []byte(document))
			want := transcode.DocumentError{Offset: len(before) + length, Reason: transcode.NotJSON}
			var failure *transcode.DocumentError
			if !errors.As(err, &failure) || *failure != want {
				t.Errorf("%q: %v, want %v", document, err, &want)
			}
		}
		for c := 0x80; c <= 0xff; c++ {
			got, err := made.Append(nil, []byte(before+padding+string([]byte{byte(c)})+padding+after))
			if err != nil || len(got.Drift) != 1 || got.Drift[0].Kind != transcode.BadUTF8 {
				t.Fatalf("%x at %d: %v, drift %v", c, length, err, got.Drift)
			}
			expectMessage(t, message, before+padding+"\ufffd"+padding+after, got.Wire)
		}
	}
}

func TestKept(t *testing.T) {
	tests := []struct {
		name, document string
		want           []string // text, flag, int32, maybe_text, uint64, double
	}{
		{"all", `{"text":"id-1","flag":true,"int32":200,"maybe_text":"b","uint64":18446744073709551615,"double":0.5}`, []string{"id-1", "true", "200", "b", "18446744073709551615", "0.5"}},
		{"other forms", `{"text":"\u0069d","flag":false,"int32":-2e1,"maybe_text":"","uint64":"7","double":"NaN"}`, []string{"id", "false", "-20", "", "7", "NaN"}},
		{"none", `{}`, make([]string, 6)},
		{"nulls", `{"text":null,"flag":null,"int32":null}`, make([]string, 6)},
		{"wrong", `{"text":5,"flag":"true","int32":1.5,"uint64":-1,"double":[]}`, make([]string, 6)},
		{"repaired", "{\"text\":\"a\xffb\"}", []string{"a\ufffdb", "", "", "", "", ""}},
		{"first of two", `{"text":"first","text":"second"}`, []string{"first", "", "", "", "", ""}},
		{"not of a child", `{"child":{"text":"inner"},"text":"outer","children":[{"text":"last"}]}`, []string{"outer", "", "", "", "", ""}},
		{"zero", `{"int32":-0}`, []string{"", "", "0", "", "", ""}},
	}
	made := table(t, everything(t), "text", "flag", "int32", "maybe_text", "uint64", "double")
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := made.Append(nil, []byte(test.document))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.Kept); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAppendLeavesSourceAndPrefixAlone(t *testing.T) {
	for _, a := range answers {
		source := slices.Clone(a.document)
		made := table(t, a.message)
		alone, err := made.Append(nil, source)
		if err != nil {
			t.Fatal(err)
		}
		prefix := []byte("prefix")
		after, err := made.Append(slices.Clone(prefix), source)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(after.Wire, append(prefix, alone.Wire...)) {
			t.Errorf("%s: other bytes after a prefix", a.name)
		}
		if !bytes.Equal(source, a.document) {
			t.Errorf("%s: the source was changed", a.name)
		}
		clear(source)
		if !proto.Equal(decode(t, a.message, alone.Wire), reading(t, a.message, a.document)) {
			t.Errorf("%s: the answer changes with the source", a.name)
		}
	}
}

func TestTableServesManyAtOnce(t *testing.T) {
	made := table(t, answers[0].message, "request_id")
	want, err := made.Append(nil, answers[0].document)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 50 {
				got, err := made.Append(nil, answers[0].document)
				if err != nil || !bytes.Equal(got.Wire, want.Wire) || got.Kept[0] != want.Kept[0] {
					t.Error("another answer for the same document")
					return
				}
			}
		})
	}
	wait.Wait()
}

// Repeated numbers are packed when the schema has them so, which is the default.
func TestPackedOnTheWire(t *testing.T) {
	message := everything(t)
	fields := message.ProtoReflect().Descriptor().Fields()
	got, err := table(t, message).Append(nil, []byte(`{"int32s":[1,300],"loose_int32s":[1,300]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := protowire.AppendTag(nil, fields.ByName("int32s").Number(), protowire.BytesType)
	want = append(want, 3, 1, 0xac, 0x02)
	for _, v := range []uint64{1, 300} {
		want = protowire.AppendTag(want, fields.ByName("loose_int32s").Number(), protowire.VarintType)
		want = protowire.AppendVarint(want, v)
	}
	if !bytes.Equal(got.Wire, want) {
		t.Errorf("got %x, want %x", got.Wire, want)
	}
}

// With room in dst the only memory is what is handed over beside the bytes: the slice of texts and the texts.
func TestAllocations(t *testing.T) {
	const kept = 2
	for _, a := range answers {
		made := table(t, a.message, "request_id", "status_code")
		dst := make([]byte, 0, len(a.document))
		got := testing.AllocsPerRun(100, func() {
			if _, err := made.Append(dst, a.document); err != nil {
				t.Fatal(err)
			}
		})
		if got > 1+kept {
			t.Errorf("%s: %v allocations, want at most %d", a.name, got, 1+kept)
		}
	}
}

// Texts of every length around those where one byte stops to hold it, plain and not, wherever texts stand and however
// little room there is in dst, are what protojson reads.
func TestTextLengths(t *testing.T) {
	of := answers[0].message
	made := table(t, of, "request_id")
	for n := range 140 {
		for _, end := range []string{"", "é", `\n`, `\u0041`, "\x7f"} {
			text := strings.Repeat("t", n) + end
			document := fmt.Sprintf(`{"member":{"member_id":"%[1]s","name":"%[1]s","scim_registration":null,`+
				`"trusted_metadata":{"k%[1]s":"%[1]s","l":["%[1]s"]}},"member_id":"%[1]s","request_id":"%[1]s"}`, text)
			for _, room := range []int{0, 1, len(document), len(document) + 1, 2 * len(document)} {
				got, err := made.Append(make([]byte, 0, room), []byte(document))
				if err != nil || got.DriftTotal != 0 {
					t.Fatalf("%s: %v, drift %v", document, err, got.Drift)
				}
				expectMessage(t, of, document, got.Wire)
			}
		}
	}
}
