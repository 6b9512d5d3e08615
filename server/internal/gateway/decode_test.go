package gateway

import (
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

func TestDecodeAccepts(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want *recoverycodesv1.RecoverRequest
	}{
		"nothing":         {"", &recoverycodesv1.RecoverRequest{}},
		"white space":     {" \r\n\t", &recoverycodesv1.RecoverRequest{}},
		"an empty object": {" {} ", &recoverycodesv1.RecoverRequest{}},
		"nulls": {
			`{"organization_id":null,"session_token":null,"session_duration_minutes":null,"session_custom_claims":null}`,
			&recoverycodesv1.RecoverRequest{},
		},
		"every field": {
			`{"organization_id":"o","member_id":"m","recovery_code":"c","intermediate_session_token":"i","session_token":"s",
			  "session_jwt":"j","session_duration_minutes":60,"session_custom_claims":{"a":1},"telemetry_id":"t"}`,
			&recoverycodesv1.RecoverRequest{
				OrganizationId: "o", MemberId: "m", RecoveryCode: "c", IntermediateSessionToken: proto.String("i"),
				SessionToken: proto.String("s"), SessionJwt: proto.String("j"), SessionDurationMinutes: proto.Int32(60),
				SessionCustomClaims: object(t, map[string]any{"a": 1}), TelemetryId: proto.String("t"),
			},
		},
		"empty strings are given": {
			`{"session_token":""}`, &recoverycodesv1.RecoverRequest{SessionToken: proto.String("")},
		},
		"empty claims are given": {
			`{"session_custom_claims":{}}`, &recoverycodesv1.RecoverRequest{SessionCustomClaims: &structpb.Struct{}},
		},
		"claims keep their nulls": {
			`{"session_custom_claims":{"gone":null,"deep":{"gone":[null,true,"x",-0.5]}}}`,
			&recoverycodesv1.RecoverRequest{SessionCustomClaims: object(t, map[string]any{
				"gone": nil, "deep": map[string]any{"gone": []any{nil, true, "x", -0.5}},
			})},
		},
		"codes are not normalised": {
			`{"recovery_code":" Ａ\u00e9e\u0301\ud83d\ude00\t"}`,
			&recoverycodesv1.RecoverRequest{RecoveryCode: " Ａ\u00e9e\u0301😀\t"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := &recoverycodesv1.RecoverRequest{}
			if e := decode(strings.NewReader(test.body), got); e != nil {
				t.Fatal(e)
			}
			if diff := cmp.Diff(test.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000)
	for name, test := range map[string]struct {
		body, reason, message string
	}{
		"not JSON":               {`{"member_id":"m"`, "MALFORMED_BODY", "the body is not a JSON object; reading stopped at byte 16"},
		"a list":                 {`[]`, "MALFORMED_BODY", "the body is not a JSON object; reading stopped at byte 1"},
		"something after it":     {`{} {}`, "MALFORMED_BODY", "the body is not a JSON object; reading stopped at byte 4"},
		"deeper than any JSON":   {`{"session_custom_claims":` + strings.Repeat("[", 20000), "MALFORMED_BODY", "the body is not a JSON object; reading stopped at byte 25"},
		"camelCase":              {`{"memberId":"m"}`, "INVALID_REQUEST", "memberId: is not a field of this request"},
		"unknown":                {`{"x\u0000\u202e":1}`, "INVALID_REQUEST", `x\x00\u202e: is not a field of this request`},
		"another case":           {`{"Member_ID":"m"}`, "INVALID_REQUEST", "Member_ID: is not a field of this request"},
		"twice":                  {`{"member_id":"a","member_id":"b"}`, "INVALID_REQUEST", "member_id: stands more than once"},
		"twice, null first":      {`{"member_id":null,"member_id":"b"}`, "INVALID_REQUEST", "member_id: stands more than once"},
		"number for a string":    {`{"member_id":1}`, "INVALID_REQUEST", "member_id: must be a string"},
		"string for a number":    {`{"session_duration_minutes":"60"}`, "INVALID_REQUEST", "session_duration_minutes: must be a whole number of 32 bits"},
		"2^31":                   {`{"session_duration_minutes":2147483648}`, "INVALID_REQUEST", "session_duration_minutes: must be a whole number of 32 bits"},
		"fraction":               {`{"session_duration_minutes":60.5}`, "INVALID_REQUEST", "session_duration_minutes: must be a whole number of 32 bits"},
		"list for an object":     {`{"session_custom_claims":[]}`, "INVALID_REQUEST", "session_custom_claims: must be an object"},
		"invalid UTF-8":          {"{\"recovery_code\":\"a\xff\"}", "INVALID_REQUEST", "recovery_code: is not valid UTF-8"},
		"lone surrogate":         {`{"recovery_code":"a\ud800b"}`, "INVALID_REQUEST", "recovery_code: holds half of a surrogate pair"},
		"surrogates reversed":    {`{"recovery_code":"\ude00\ud83d"}`, "INVALID_REQUEST", "recovery_code: holds half of a surrogate pair"},
		"surrogate at the end":   {`{"recovery_code":"\ud83d"}`, "INVALID_REQUEST", "recovery_code: holds half of a surrogate pair"},
		"surrogate in a claim":   {`{"session_custom_claims":{"\udead":1}}`, "INVALID_REQUEST", "session_custom_claims: holds half of a surrogate pair"},
		"claim twice":            {`{"session_custom_claims":{"a":{"b":1,"b":2}}}`, "INVALID_REQUEST", "session_custom_claims.a.b: stands more than once"},
		"2^53+1":                 {`{"session_custom_claims":{"a":[9007199254740993]}}`, "INVALID_REQUEST", "session_custom_claims.a[0]: holds a number that would lose digits as a double; send it as a string"},
		"overflow":               {`{"session_custom_claims":{"a":1e999}}`, "INVALID_REQUEST", "session_custom_claims.a: holds a number that would lose digits as a double; send it as a string"},
		"underflow":              {`{"session_custom_claims":{"a":1e-999999999}}`, "INVALID_REQUEST", "session_custom_claims.a: holds a number that would lose digits as a double; send it as a string"},
		"depth 3000":             {`{"session_custom_claims":` + deep + `}`, "INVALID_REQUEST", "session_custom_claims" + strings.Repeat(".a", 65) + ": is nested deeper than 64 levels"},
		"claims of 64 KB":        {`{"session_custom_claims":{"a":[` + strings.Repeat("0,", 32<<10) + `0]}}`, "INVALID_REQUEST", "session_custom_claims: is larger than 65536 bytes"},
		"more wrong than told":   {"{" + strings.Repeat(`"x":1,`, 9999) + `"x":1}`, "INVALID_REQUEST", strings.TrimSuffix(strings.Repeat("x: is not a field of this request; ", 16), "; ")},
		"several things at once": {`{"member_id":1,"recovery_code":2}`, "INVALID_REQUEST", "member_id: must be a string; recovery_code: must be a string"},
	} {
		t.Run(name, func(t *testing.T) {
			e := decode(strings.NewReader(test.body), &recoverycodesv1.RecoverRequest{})
			if e == nil {
				t.Fatal("accepted")
			}
			if e.Reason != test.reason || e.Message != test.message {
				t.Errorf("%s: %s", e.Reason, e.Message)
			}
		})
	}
}

func TestDecodeTellsNothingOfAReadError(t *testing.T) {
	e := decode(iotest.ErrReader(errors.New("read tcp 10.0.0.1: secret")), &recoverycodesv1.RotateRequest{})
	if e == nil || strings.Contains(e.Message, "tcp") {
		t.Errorf("%v", e)
	}
	if e := decode(iotest.OneByteReader(strings.NewReader(`{"member_id":"m"}`)), &recoverycodesv1.RotateRequest{}); e != nil {
		t.Error(e)
	}
}

// TestRequestsHaveOnlyTypesTheDecoderReads holds the contract to what decode can set.
func TestRequestsHaveOnlyTypesTheDecoderReads(t *testing.T) {
	for _, m := range []proto.Message{&recoverycodesv1.RecoverRequest{}, &recoverycodesv1.RotateRequest{}} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			field := fields.Get(i)
			for _, value := range []string{`"x"`, `7`, `{}`} {
				e := decode(strings.NewReader(`{"`+string(field.Name())+`":`+value+`}`), m.ProtoReflect().New().Interface())
				if e == nil {
					goto readable
				}
			}
			t.Errorf("%s cannot be given over REST", field.FullName())
		readable:
		}
	}
}

// TestDecodeReadsWhatProtojsonReads compares the two on requests that both accept.
func TestDecodeReadsWhatProtojsonReads(t *testing.T) {
	text := rapid.StringMatching(`[ -~é😀]{0,20}`)
	rapid.Check(t, func(t *rapid.T) {
		want := &recoverycodesv1.RecoverRequest{
			OrganizationId: text.Draw(t, "organization"), RecoveryCode: text.Draw(t, "code"),
		}
		if rapid.Bool().Draw(t, "optional") {
			want.SessionJwt = proto.String(text.Draw(t, "jwt"))
			want.SessionDurationMinutes = proto.Int32(rapid.Int32().Draw(t, "minutes"))
		}
		claims := rapid.MapOf(text, rapid.OneOf(
			rapid.Just[any](nil), rapid.Map(rapid.Bool(), anything[bool]), rapid.Map(text, anything[string]),
			rapid.Map(rapid.Float64().Filter(finite), anything[float64]), rapid.Map(rapid.SliceOf(rapid.Map(text, anything[string])), anything[[]any]),
		)).Draw(t, "claims")
		var err error
		if want.SessionCustomClaims, err = structpb.NewStruct(claims); err != nil {
			t.Fatal(err)
		}
		body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := &recoverycodesv1.RecoverRequest{}
		if e := decode(strings.NewReader(string(body)), got); e != nil {
			t.Fatalf("%v\n%s", e, body)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func anything[T any](v T) any { return v }

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

func TestExact(t *testing.T) {
	for text, want := range map[string]bool{
		"0": true, "-0": true, "0.0": true, "0e99999": true, "1": true, "-1.5e3": true, "1E+2": true, "0.1": true,
		"123.4500": true, "9007199254740992": true, "9007199254740993": false, "1e22": true, "1.7976931348623157e308": true,
		"1.8e308": false, "5e-324": true, "4e-324": false, "1e-400": false, "0.10000000000000000001": false,
		"1e1000000000000": false, "100000000000000000000": true, "100000000000000000001": false,
	} {
		if _, ok := exact(text); ok != want {
			t.Errorf("%s: %v", text, ok)
		}
	}
}

// TestARefusalCostsLittle holds that a body of the largest size is refused for a few times its own size of memory.
func TestARefusalCostsLittle(t *testing.T) {
	for name, body := range map[string]string{
		"deep, with many elements": `{"session_custom_claims":` + strings.Repeat(`{"`+strings.Repeat("n", 64)+`":`, 60) + "[" + strings.Repeat("0,", 1<<20) + "0]" + strings.Repeat("}", 61),
		"many empty objects":       `{"session_custom_claims":{"a":[` + strings.Repeat("{},", 600_000) + `0]}}`,
		"many unknown members":     `{` + strings.Repeat(`"":1,`, 400_000) + `"":1}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if decode(strings.NewReader(body), &recoverycodesv1.RecoverRequest{}) == nil {
			t.Errorf("%s: accepted", name)
		}
		runtime.ReadMemStats(&after)
		if cost := after.TotalAlloc - before.TotalAlloc; cost > 40*uint64(len(body)) {
			t.Errorf("%s: %d MB for %d KB", name, cost>>20, len(body)>>10)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"organization_id":"o","session_custom_claims":{"a":[1,null,{"b":"\ud83d\ude00"}]}}`)
	f.Add(`{"session_duration_minutes":1e2,"x":{}}`)
	f.Fuzz(func(t *testing.T, body string) {
		msg := &recoverycodesv1.RecoverRequest{}
		if decode(strings.NewReader(body), msg) != nil {
			return
		}
		if _, err := proto.Marshal(msg); err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(body) == "" {
			return
		}
		// What the strict decoder accepts, the generous one reads the same way.
		generous := &recoverycodesv1.RecoverRequest{}
		if err := protojson.Unmarshal([]byte(body), generous); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(generous, msg, protocmp.Transform()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func object(t *testing.T, fields map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(fields)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
