package redact_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/redact"
)

func recoverRequest() *recoverycodesv1.RecoverRequest {
	return &recoverycodesv1.RecoverRequest{
		OrganizationId: "example-org", MemberId: "member-1", RecoveryCode: canary, SessionToken: proto.String(canary),
		SessionDurationMinutes: proto.Int32(60),
		SessionCustomClaims:    &structpb.Struct{Fields: map[string]*structpb.Value{canary: structpb.NewNullValue()}},
	}
}

func TestMessage(t *testing.T) {
	unknown := &recoverycodesv1.GetResponse{}
	unknown.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 5, protowire.BytesType), canary))
	list, err := structpb.NewList([]any{canary})
	if err != nil {
		t.Fatal(err)
	}
	opaque, err := anypb.New(recoverRequest())
	if err != nil {
		t.Fatal(err)
	}
	const pkg = "stytch.b2b.recoverycodes.v1."
	for _, tt := range []struct {
		name    string
		message proto.Message
		want    string
	}{
		{"request", recoverRequest(), pkg + `RecoverRequest{organization_id:"example-org" member_id:"member-1" ` +
			`recovery_code:[redacted] session_token:[redacted] session_duration_minutes:60 session_custom_claims:[redacted]}`},
		{"list", &recoverycodesv1.GetResponse{RecoveryCodes: []string{canary, canary, canary}, StatusCode: 200},
			pkg + `GetResponse{recovery_codes:[redacted]*3 status_code:200}`},
		{"content in unknown fields", unknown, pkg + `GetResponse{unknown:[8 bytes]}`},
		{"empty", &recoverycodesv1.GetRequest{}, pkg + `GetRequest{}`},
		{"typed nil", (*recoverycodesv1.GetRequest)(nil), pkg + `GetRequest{}`},
		{"nil", nil, `<nil>`},
		{"Struct", recoverRequest().GetSessionCustomClaims(), `google.protobuf.Struct[redacted]`},
		{"Value", structpb.NewStringValue(canary), `google.protobuf.Value[redacted]`},
		{"ListValue", list, `google.protobuf.ListValue[redacted]`},
		{"Any", opaque, `google.protobuf.Any[redacted]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := redact.Message(tt.message).String(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestNoVerbReachesTheMessage prints in every way that a careless line may choose.
func TestNoVerbReachesTheMessage(t *testing.T) {
	m := recoverRequest()
	want := redact.Message(m).String()
	for _, verb := range strings.Fields("%v %+v %#v %s %q %x %X %d %20s %-5.3v") {
		if got := fmt.Sprintf(verb, redact.Message(m)); got != want {
			t.Errorf("%s prints %s, want %s", verb, got, want)
		}
	}
	type holder struct { // fmt cannot ask a field that is not exported to format itself
		text redact.Text
		list []redact.Text
	}
	h := holder{redact.Message(m), []redact.Text{redact.Message(m)}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
		if got := fmt.Sprintf(verb, h) + fmt.Sprintf(verb, &h); strings.Contains(got, canary) {
			t.Errorf("%s of a struct around it shows a secret: %s", verb, got)
		}
	}
}

func TestZeroText(t *testing.T) {
	if got := fmt.Sprint(redact.Text{}); got != "<nil>" {
		t.Errorf("got %s", got)
	}
}

func TestZap(t *testing.T) {
	var out bytes.Buffer
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.DebugLevel))
	text := redact.Message(recoverRequest())
	log.Debug("call", zap.Any("any", text), zap.Stringer("stringer", text), zap.Reflect("reflect", text))
	if got := out.String(); strings.Contains(got, canary) {
		t.Errorf("the line shows a secret: %s", got)
	} else if n := strings.Count(got, `organization_id:\"example-org\"`); n != 2 {
		t.Errorf("the message is in the line %d times, want 2: %s", n, got)
	}
}

// dynamic returns a new message of a type that the contract does not have: type M with the given fields.
func dynamic(t *testing.T, fields ...*descriptorpb.FieldDescriptorProto) *dynamicpb.Message {
	t.Helper()
	entry := &descriptorpb.DescriptorProto{
		Name: proto.String("ByNameEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
		Field: []*descriptorpb.FieldDescriptorProto{
			field("key", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING, "", false),
			field("value", 2, descriptorpb.FieldDescriptorProto_TYPE_STRING, "", false),
		},
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("m.proto"), Package: proto.String("p"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("M"), Field: fields, NestedType: []*descriptorpb.DescriptorProto{entry},
		}},
		EnumType: []*descriptorpb.EnumDescriptorProto{{
			Name: proto.String("E"), Value: []*descriptorpb.EnumValueDescriptorProto{
				{Name: proto.String("ZERO"), Number: proto.Int32(0)}, {Name: proto.String("CANARY"), Number: proto.Int32(4711)},
			},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return dynamicpb.NewMessage(file.Messages().ByName("M"))
}

// kindOf is short for the types of fields.
type kindOf = descriptorpb.FieldDescriptorProto_Type

func field(name string, number int32, kind kindOf, ref string, marked bool) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{
		Name: proto.String(name), Number: proto.Int32(number), Type: kind.Enum(),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	if ref != "" {
		f.TypeName = proto.String(ref)
	}
	if marked {
		f.Options = &descriptorpb.FieldOptions{DebugRedact: proto.Bool(true)}
	}
	return f
}

func repeated(f *descriptorpb.FieldDescriptorProto) *descriptorpb.FieldDescriptorProto {
	f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	return f
}

// TestEveryTypeOfField prints a field of each type, marked and not.
func TestEveryTypeOfField(t *testing.T) {
	for _, tt := range []struct {
		kind   kindOf
		ref    string
		list   bool
		text   string // the message in protobuf's text format
		shown  string
		hidden string
	}{
		{descriptorpb.FieldDescriptorProto_TYPE_STRING, "", false, `f:"4711"`, `f:"4711"`, `f:[redacted]`},
		{descriptorpb.FieldDescriptorProto_TYPE_BYTES, "", false, `f:"4711\xff"`, `f:"4711\xff"`, `f:[redacted]`},
		{descriptorpb.FieldDescriptorProto_TYPE_INT32, "", false, `f:4711`, `f:4711`, `f:[redacted]`},
		{descriptorpb.FieldDescriptorProto_TYPE_SINT64, "", false, `f:-4711`, `f:-4711`, `f:[redacted]`},
		{descriptorpb.FieldDescriptorProto_TYPE_FIXED64, "", false, `f:4711`, `f:4711`, `f:[redacted]`},
		{descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, "", false, `f:4711.5`, `f:4711.5`, `f:[redacted]`},
		{descriptorpb.FieldDescriptorProto_TYPE_BOOL, "", false, `f:true`, `f:true`, `f:[redacted]`},
		{descriptorpb.FieldDescriptorProto_TYPE_ENUM, ".p.E", false, `f:CANARY`, `f:CANARY`, `f:[redacted]`},
		{descriptorpb.FieldDescriptorProto_TYPE_ENUM, ".p.E", false, `f:12`, `f:12`, `f:[redacted]`},
		{descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".p.M", false,
			`f:{plain:"4711"}`, `f:{plain:"4711"}`, `f:[redacted]`},
		{descriptorpb.FieldDescriptorProto_TYPE_STRING, "", true, `f:"a" f:"4711"`, `f:["a" "4711"]`, `f:[redacted]*2`},
		{descriptorpb.FieldDescriptorProto_TYPE_INT32, "", true, `f:1 f:4711`, `f:[1 4711]`, `f:[redacted]*2`},
		{descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".p.M", true,
			`f:{plain:"4711"} f:{}`, `f:[{plain:"4711"} {}]`, `f:[redacted]*2`},
		{descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".p.M.ByNameEntry", true,
			`f:{key:"b" value:"4711"} f:{key:"a" value:"1"}`, `f:{"a":"1" "b":"4711"}`, `f:[redacted]*2`},
	} {
		for marked, want := range map[bool]string{false: tt.shown, true: tt.hidden} {
			t.Run(fmt.Sprintf("%v %s marked %v", tt.kind, tt.text, marked), func(t *testing.T) {
				f := field("f", 1, tt.kind, tt.ref, marked)
				if tt.list {
					repeated(f)
				}
				if strings.HasSuffix(tt.ref, "Entry") {
					f.Name = proto.String("by_name")
				}
				m := dynamic(t, f, field("plain", 2, descriptorpb.FieldDescriptorProto_TYPE_STRING, "", false))
				text := tt.text
				if name := f.GetName(); name != "f" {
					text, want = strings.ReplaceAll(text, "f:", name+":"), strings.ReplaceAll(want, "f:", name+":")
				}
				if err := prototext.Unmarshal([]byte(text), m); err != nil {
					t.Fatal(err)
				}
				if got := redact.Message(m).String(); got != "p.M{"+want+"}" {
					t.Errorf("got %s, want p.M{%s}", got, want)
				}
			})
		}
	}
}

// TestBounds prints messages that nobody wants in a log whole.
func TestBounds(t *testing.T) {
	kinds := []*descriptorpb.FieldDescriptorProto{
		field("plain", 1, descriptorpb.FieldDescriptorProto_TYPE_STRING, "", false),
		field("inner", 2, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".p.M", false),
		repeated(field("list", 3, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".p.M", false)),
		repeated(field("by_name", 4, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, ".p.M.ByNameEntry", false)),
	}
	empty := dynamic(t, kinds...)
	fields := empty.Descriptor().Fields()
	plain, inner, list, byName := fields.Get(0), fields.Get(1), fields.Get(2), fields.Get(3)
	set := func(m protoreflect.Message, n int) protoreflect.Message {
		m.Set(plain, protoreflect.ValueOfString(strings.Repeat("é", n)))
		return m
	}
	long := set(empty.New(), 200)
	deep := set(empty.New(), 1)
	for range 90 {
		outer := set(empty.New(), 1)
		outer.Set(inner, protoreflect.ValueOfMessage(deep))
		deep = outer
	}
	put := func(m protoreflect.Message, key int, text string) {
		name := protoreflect.ValueOfString(fmt.Sprintf("%02d", key)).MapKey()
		m.Mutable(byName).Map().Set(name, protoreflect.ValueOfString(text))
	}
	many := empty.New()
	for i := range 40 {
		many.Mutable(list).List().Append(protoreflect.ValueOfMessage(empty.New()))
		put(many, i, "")
	}
	large := empty.New()
	for range 32 {
		wide := empty.New()
		for i := range 32 {
			wide.Mutable(list).List().Append(protoreflect.ValueOfMessage(set(empty.New(), 128)))
			put(wide, i, strings.Repeat("\x00", 256))
		}
		large.Mutable(list).List().Append(protoreflect.ValueOfMessage(wide))
	}
	for _, tt := range []struct {
		name    string
		message protoreflect.Message
		want    string // in what is printed
		longest int
	}{
		{"long text", long, `"...*144}`, 300},
		{"depth", deep, "inner:{...}}", 600},
		{"elements", many, "{} ...*8]", 1000},
		{"entries", many, `"31":"" ...*8}`, 1000},
		{"size", large, "...", 10 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := redact.Message(tt.message.Interface()).String()
			if len(got) > tt.longest || !strings.Contains(got, tt.want) {
				t.Errorf("%d bytes, want at most %d, with %s in them:\n%s", len(got), tt.longest, tt.want, got)
			}
			if !utf8.ValidString(got) || strings.Count(got, "{") != strings.Count(got, "}") {
				t.Errorf("the line is broken:\n%s", got)
			}
		})
	}
}

// TestNoTextForgesALine prints any text at all.
func TestNoTextForgesALine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		anyBytes := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
		text := rapid.OneOf(rapid.String(), anyBytes,
			rapid.StringMatching("(\r|\n|\"|\\\\|\x1b|\u0085|\u2028|\u202e|\ufeff|a)*")).Draw(t, "text")
		got := redact.Message(&recoverycodesv1.GetRequest{OrganizationId: text}).String()
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q was printed as %q", text, got)
		}
	})
}
