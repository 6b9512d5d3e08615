package transcode_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"recoverycodes.internal/server/internal/transcode"
)

// What a document has beyond the message costs nothing but itself: the rest is as if it stood in clean.
func TestDrift(t *testing.T) {
	type drifts []transcode.Drift
	tests := []struct {
		name, document, clean string
		want                  drifts
	}{
		{"unknown member", `{"new":{"a":[1]},"text":"a"}`, `{"text":"a"}`, drifts{{"new", transcode.UnknownMember}}},
		{"unknown members of each type", `{"n":null,"t":true,"f":false,"s":"x\"y","i":-1.5e3,"l":[[],{}],"text":"a"}`, `{"text":"a"}`, drifts{
			{"n", transcode.UnknownMember}, {"t", transcode.UnknownMember}, {"f", transcode.UnknownMember},
			{"s", transcode.UnknownMember}, {"i", transcode.UnknownMember}, {"l", transcode.UnknownMember},
		}},
		{"unknown member inside", `{"child":{"new_1":1,"text":"a"},"children":[{},{"New":2}],"named":{"secret":{"new":3}}}`, `{"child":{"text":"a"},"children":[{},{}],"named":{"secret":{}}}`, drifts{
			{"child.new_1", transcode.UnknownMember}, {"children[].New", transcode.UnknownMember}, {"named.*.new", transcode.UnknownMember},
		}},
		{"names that are data", `{"":1,"a b":2,"é":3,"a.b":4,"child":{"` + strings.Repeat("x", 65) + `":5},"` + strings.Repeat("y", 64) + `":6}`, `{"child":{}}`, drifts{
			{"?", transcode.UnknownMember}, {"child.?", transcode.UnknownMember}, {strings.Repeat("y", 64), transcode.UnknownMember},
		}},
		{"escaped unknown name", `{"ne\u0077":1,"n\u0065\u0020w":2}`, `{}`, drifts{{"new", transcode.UnknownMember}, {"?", transcode.UnknownMember}}},
		{"other spelling of a name", `{"maybeText":"a","TEXT":"b","text ":"c"}`, `{}`, drifts{
			{"maybeText", transcode.UnknownMember}, {"TEXT", transcode.UnknownMember}, {"?", transcode.UnknownMember},
		}},

		{"no string", `{"text":5,"maybe_text":true,"texts":{"a":1},"flag":true}`, `{"flag":true}`, drifts{
			{"text", transcode.WrongType}, {"maybe_text", transcode.WrongType}, {"texts", transcode.WrongType},
		}},
		{"no bool", `{"flag":"true","maybe_flag":1,"flags":[true,{},false],"text":"a"}`, `{"flags":[true,false],"text":"a"}`, drifts{
			{"flag", transcode.WrongType}, {"maybe_flag", transcode.WrongType}, {"flags[]", transcode.WrongType},
		}},
		{"no integer", `{"int32":1.5,"int64":true,"uint32":"","uint64":"1x","maybe_int32":1e-1,"int32s":[1," 2",3,[4]],"loose_int32s":["-"]}`, `{"int32s":[1,3]}`, drifts{
			{"int32", transcode.WrongType}, {"int64", transcode.WrongType}, {"uint32", transcode.WrongType}, {"uint64", transcode.WrongType},
			{"maybe_int32", transcode.WrongType}, {"int32s[]", transcode.WrongType}, {"loose_int32s[]", transcode.WrongType},
		}},
		{"no double", `{"double":"","float":"inf","maybe_double":{},"floats":["0x1p-2","1 ","-Infinity"]}`, `{"floats":["-Infinity"]}`, drifts{
			{"double", transcode.WrongType}, {"float", transcode.WrongType}, {"maybe_double", transcode.WrongType}, {"floats[]", transcode.WrongType},
		}},
		{"no message", `{"child":"a","children":[5,{"text":"b"},[{}]],"free":[],"items":{},"frees":["x",{}],"named":[],"text":"a"}`, `{"children":[{"text":"b"}],"frees":[{}],"text":"a"}`, drifts{
			{"child", transcode.WrongType}, {"children[]", transcode.WrongType}, {"free", transcode.WrongType}, {"items", transcode.WrongType},
			{"frees[]", transcode.WrongType}, {"named", transcode.WrongType},
		}},
		{"an object instead of a list", `{"children":{"text":"a"},"texts":"b","int32s":5,"times":null}`, `{}`, drifts{
			{"children", transcode.WrongType}, {"texts", transcode.WrongType}, {"int32s", transcode.WrongType},
		}},
		{"wrong values of maps", `{"labels":{"secret":1,"b":"x"},"counts":{"a":"x","b":2,"c":1e99},"named":{"a":[]}}`, `{"labels":{"b":"x"},"counts":{"b":2},"named":{}}`, drifts{
			{"labels.*", transcode.WrongType}, {"counts.*", transcode.WrongType}, {"counts.*", transcode.OutOfRange}, {"named.*", transcode.WrongType},
		}},

		{"null elements", `{"texts":["a",null,"b",null],"int32s":[null],"children":[null,{}],"times":[null],"labels":{"a":null,"b":"c"}}`, `{"texts":["a","b"],"int32s":[],"children":[{}],"labels":{"b":"c"}}`, drifts{
			{"texts[]", transcode.NullElement}, {"int32s[]", transcode.NullElement}, {"children[]", transcode.NullElement},
			{"times[]", transcode.NullElement}, {"labels.*", transcode.NullElement},
		}},

		{"duplicates", `{"text":"a","flag":false,"text":"b","flag":true,"child":{"int32":1},"child":{"int32":2},"texts":[],"texts":["x"]}`, `{"text":"a","child":{"int32":1}}`, drifts{
			{"text", transcode.Duplicate}, {"flag", transcode.Duplicate}, {"child", transcode.Duplicate}, {"texts", transcode.Duplicate},
		}},
		{"duplicate under an escape", `{"text":"a","te\u0078t":"b","free":{"a":1,"\u0061":2}}`, `{"text":"a","free":{"a":1}}`, drifts{
			{"text", transcode.Duplicate}, {"free.*", transcode.Duplicate},
		}},
		{"duplicate of what was no value", `{"text":null,"text":"a","flag":5,"flag":true,"at":"soon","at":"2025-01-01T00:00:00Z"}`, `{"text":"a","flag":true,"at":"2025-01-01T00:00:00Z"}`, drifts{
			{"flag", transcode.WrongType}, {"at", transcode.BadTimestamp},
		}},
		{"duplicate keys", `{"free":{"a":null,"b":{"a":1,"a":2},"a":{"x":[1]}},"labels":{"a":"x","a":"y"},"named":{"":{},"":{"text":"a"}}}`, `{"free":{"a":null,"b":{"a":1}},"labels":{"a":"x"},"named":{"":{}}}`, drifts{
			{"free.*", transcode.Duplicate}, {"labels.*", transcode.Duplicate}, {"named.*", transcode.Duplicate},
		}},
		{"duplicate keys after repair", "{\"free\":{\"\xff\":1,\"\xfe\":2}}", `{"free":{"\ufffd":1}}`, drifts{
			{"free.*", transcode.BadUTF8}, {"free.*", transcode.Duplicate},
		}},
		{"duplicate among many keys", `{"free":{` + members(80, `"%d":1`) + `,"3":2,"79":3},"labels":{` + members(80, `"%d":"a"`) + `,"5":"b"}}`, `{"free":{` + members(80, `"%d":1`) + `},"labels":{` + members(80, `"%d":"a"`) + `}}`, drifts{
			{"free.*", transcode.Duplicate}, {"labels.*", transcode.Duplicate},
		}},
		{"duplicates below many keys", `{"free":{` + members(31, `"%d":1`) + `,"x":{"0":1,"1":2,"0":3},"0":4,"y":5}}`, `{"free":{` + members(31, `"%d":1`) + `,"x":{"0":1,"1":2},"y":5}}`, drifts{
			{"free.*", transcode.Duplicate},
		}},

		{"bad times", `{"at":"yesterday","times":["","2025-12-01","2025-12-01T07:00:00","2025-13-01T00:00:00Z","2025-02-29T00:00:00Z","2025-12-01T24:00:00Z","2025-12-01T07:60:00Z","2025-12-01T07:00:60Z","2025-12-01T07:00:00.Z","2025-12-01T07:00:00.1234567890Z","0000-12-31T23:59:59Z","0001-01-01T00:00:00+00:01","2025-12-01t07:00:00z","2025-12-01T07:00:00.1x3Z","2025-12-00T00:00:00Z","2025-00-01T00:00:00Z","2o25-12-01T00:00:00Z","2025-01-01T00:00:00Z"]}`, `{"times":["2025-01-01T00:00:00Z"]}`, drifts{
			{"at", transcode.BadTimestamp}, {"times[]", transcode.BadTimestamp},
		}},
		{"no time", `{"at":1764572400,"times":[{},true]}`, `{"times":[]}`, drifts{{"at", transcode.WrongType}, {"times[]", transcode.WrongType}}},

		{"out of range", `{"int32":2147483648,"maybe_int32":-2147483649,"int64":9223372036854775808,"uint32":-1,"uint64":18446744073709551616,"float":3.5e38,"double":1e309,"int32s":[1e10,1,1e999999999999]}`, `{"int32s":[1]}`, drifts{
			{"int32", transcode.OutOfRange}, {"maybe_int32", transcode.OutOfRange}, {"int64", transcode.OutOfRange}, {"uint32", transcode.OutOfRange},
			{"uint64", transcode.OutOfRange}, {"float", transcode.OutOfRange}, {"double", transcode.OutOfRange}, {"int32s[]", transcode.OutOfRange},
		}},
		{"out of range in free form", `{"free":{"a":1e400,"b":2},"any":-1e400,"anys":[1e400,3],"items":[1,1e400,2],"any_named":{"x":1e400}}`, `{"free":{"b":2},"anys":[3],"items":[1,null,2],"any_named":{}}`, drifts{
			{"free.*", transcode.OutOfRange}, {"any.*", transcode.OutOfRange}, {"anys[].*", transcode.OutOfRange},
			{"items.*", transcode.OutOfRange}, {"any_named.*.*", transcode.OutOfRange},
		}},
		{"rounded", `{"any":9007199254740993,"double":0.12345678901234567890,"items":[12345678901234567890,1e-400,-9007199254740993],"float":16777217}`, `{"any":9007199254740992,"double":0.12345678901234568,"items":[12345678901234567000,0,-9007199254740992],"float":16777216}`, drifts{
			{"any.*", transcode.Rounded}, {"double", transcode.Rounded}, {"items.*", transcode.Rounded}, {"float", transcode.Rounded},
		}},
		{"not rounded", `{"items":[9007199254740992,9007199254740994,36028797018963968,36028797018963970,18446744073709549568,0.30000000000000004,1.50000000000000000000,1e22,123456789012345e-20,-0.0,0.000000000000000000000000,5e-324,1.7976931348623157e308]}`, `{"items":[9007199254740992,9007199254740994,36028797018963968,36028797018963968,18446744073709549568,0.30000000000000004,1.5,1e22,1.23456789012345e-6,-0.0,0,5e-324,1.7976931348623157e308]}`, nil},

		{"bad UTF-8", "{\"text\":\"a\xffb\xe2\x82\",\"texts\":[\"\xc0\xaf\"],\"free\":{\"k\xed\xa0\x80\":\"\xf4\x90\x80\x80\"},\"flag\":true}", `{"text":"a\ufffdb\ufffd\ufffd","texts":["\ufffd\ufffd"],"free":{"k\ufffd\ufffd\ufffd":"\ufffd\ufffd\ufffd\ufffd"},"flag":true}`, drifts{
			{"text", transcode.BadUTF8}, {"texts[]", transcode.BadUTF8}, {"free.*", transcode.BadUTF8},
		}},
		{"bad UTF-8 in an unknown name", "{\"n\xff\":1,\"te\xffxt\":\"a\"}", `{}`, drifts{{"?", transcode.UnknownMember}}},
		{"bad UTF-8 in a key of a map", "{\"labels\":{\"a\xff\":\"b\"}}", `{"labels":{"a\ufffd":"b"}}`, drifts{{"labels.*", transcode.BadUTF8}}},
		{"lone surrogates", `{"text":"a\ud800b","texts":["\udc00\ud800","\ud83d\ud83d\ude00","\ud83dx\\ude00"],"any":"\udfff"}`, `{"text":"a\ufffdb","texts":["\ufffd\ufffd","\ufffd😀","\ufffdx\\ude00"],"any":"\ufffd"}`, drifts{
			{"text", transcode.LoneSurrogate}, {"texts[]", transcode.LoneSurrogate}, {"any.*", transcode.LoneSurrogate},
		}},
		{"U+FFFD itself", "{\"text\":\"a\ufffd\\ufffd\"}", `{"text":"a\ufffd\ufffd"}`, nil},
		{"both", "{\"text\":\"\xff\\ud800\"}", `{"text":"\ufffd\ufffd"}`, drifts{{"text", transcode.BadUTF8}, {"text", transcode.LoneSurrogate}}},
	}
	message := everything(t)
	made := table(t, message)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := made.Append(nil, []byte(test.document))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]transcode.Drift(test.want), got.Drift); diff != "" {
				t.Errorf("drift (-want +got):\n%s", diff)
			}
			expectMessage(t, message, test.clean, got.Wire)
		})
	}
}

func TestDriftIsBounded(t *testing.T) {
	document := `{` + members(20, `"new_%d":1`) + `,"texts":[1,2,3],"text":"a"}`
	message := everything(t)
	got, err := table(t, message).Append(nil, []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	if got.DriftTotal != 23 {
		t.Errorf("DriftTotal is %d, want 23", got.DriftTotal)
	}
	if len(got.Drift) != 16 {
		t.Fatalf("%d entries, want 16", len(got.Drift))
	}
	for i, d := range got.Drift {
		if want := (transcode.Drift{Path: fmt.Sprintf("new_%d", i), Kind: transcode.UnknownMember}); d != want {
			t.Errorf("entry %d is %v, want %v", i, d, want)
		}
	}
	expectMessage(t, message, `{"text":"a","texts":[]}`, got.Wire)
}

// Dashboards and alerts know the kinds and reasons by these names.
func TestLabels(t *testing.T) {
	expectLabels(t, []transcode.Kind{
		0, transcode.UnknownMember, transcode.WrongType, transcode.NullElement, transcode.Duplicate, transcode.BadTimestamp,
		transcode.OutOfRange, transcode.Rounded, transcode.BadUTF8, transcode.LoneSurrogate, transcode.TooDeep, transcode.TooLarge, 255,
	}, "invalid unknown_member wrong_type null_element duplicate bad_timestamp "+
		"out_of_range rounded_number bad_utf8 lone_surrogate too_deep too_large invalid")
	expectLabels(t, []transcode.Reason{
		0, transcode.NotJSON, transcode.Truncated, transcode.NotObject, transcode.TrailingBytes, transcode.OverSize, 255,
	}, "invalid not_json truncated not_an_object trailing_bytes over_size invalid")
}

func expectLabels[T fmt.Stringer](t *testing.T, values []T, want string) {
	t.Helper()
	var got []string
	for _, v := range values {
		got = append(got, v.String())
	}
	if diff := cmp.Diff(strings.Fields(want), got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}
