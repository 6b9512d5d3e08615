package redact_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/redact"
)

// canary is in every value that must not be shown, and nowhere else.
const canary = "canary"

// contract returns an empty message of each type of the contract.
func contract(t *testing.T) []proto.Message {
	t.Helper()
	_ = recoverycodesv1.File_stytch_b2b_recoverycodes_v1_recovery_codes_proto // links all of it
	var out []proto.Message
	protoregistry.GlobalTypes.RangeMessages(func(m protoreflect.MessageType) bool {
		if strings.HasPrefix(string(m.Descriptor().FullName()), "stytch.") {
			out = append(out, m.New().Interface())
		}
		return true
	})
	if len(out) < 50 {
		t.Fatalf("the contract has %d messages here", len(out))
	}
	return out
}

// filled is what fill has put into messages.
type filled struct {
	shallow bool     // leave the messages within a message empty
	shown   []string // what must be printed
	hidden  int      // texts that must not be
}

// fill sets every field of m, and of the messages in it. A text says which field it is in.
func (fl *filled) fill(t *testing.T, m protoreflect.Message) {
	t.Helper()
	m.SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 19000, protowire.BytesType), canary))
	fl.hidden++
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		fl.shown = append(fl.shown, string(f.Name())+":")
		switch {
		case f.IsMap():
			t.Fatalf("%s is a map: teach this test to fill it", f.FullName())
		case f.IsList():
			list := m.Mutable(f).List()
			for range 2 {
				list.Append(fl.value(t, f, list.NewElement()))
			}
		default:
			m.Set(f, fl.value(t, f, m.NewField(f)))
		}
	}
}

// value is the value of a field, made out of an empty one.
func (fl *filled) value(t *testing.T, f protoreflect.FieldDescriptor, empty protoreflect.Value) protoreflect.Value {
	t.Helper()
	text := "shown " + string(f.FullName())
	if f.Options().(*descriptorpb.FieldOptions).GetDebugRedact() {
		text = canary + " " + string(f.FullName())
		fl.hidden++
	} else if f.Kind() == protoreflect.StringKind || f.Kind() == protoreflect.BytesKind {
		fl.shown = append(fl.shown, `"`+text+`"`)
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(4711)
	case protoreflect.MessageKind:
		switch inner := empty.Message().Interface().(type) {
		case *structpb.Struct:
			inner.Fields = map[string]*structpb.Value{canary: structpb.NewStringValue(canary)}
			fl.hidden++
		case *timestamppb.Timestamp:
			inner.Seconds = 1
		default:
			if !fl.shallow {
				fl.fill(t, empty.Message())
			}
		}
		return empty
	default:
		t.Fatalf("%s is a %v: teach this test to fill it", f.FullName(), f.Kind())
		return empty
	}
}

// TestContractHides fills every field of every message of the contract, to the bottom.
func TestContractHides(t *testing.T) {
	marked := 0
	for _, m := range contract(t) {
		name := m.ProtoReflect().Descriptor().FullName()
		var fl filled
		fl.fill(t, m.ProtoReflect())
		marked += fl.hidden
		if got := strings.Count(prototext.Format(m), canary); got < fl.hidden {
			t.Fatalf("%s: only %d of %d secrets are in the message: this test proves nothing", name, got, fl.hidden)
		}
		got := redact.Message(m).String()
		if strings.Contains(got, canary) {
			t.Errorf("%s shows a secret:\n%s", name, got)
		}
		if again := redact.Message(proto.Clone(m)).String(); again != got {
			t.Errorf("%s is printed in two ways:\n%s\n%s", name, got, again)
		}
	}
	if marked == 0 {
		t.Error("the contract has no secret")
	}
}

// TestContractShows fills every field of every message of the contract, one message at a time, since an answer with
// everything in it is beyond the bounds.
func TestContractShows(t *testing.T) {
	for _, m := range contract(t) {
		fl := filled{shallow: true}
		fl.fill(t, m.ProtoReflect())
		got := redact.Message(m).String()
		for _, text := range fl.shown {
			if !strings.Contains(got, text) {
				t.Errorf("%s does not show %s:\n%s", m.ProtoReflect().Descriptor().FullName(), text, got)
			}
		}
		if strings.Contains(got, canary) {
			t.Errorf("a secret is shown:\n%s", got)
		}
	}
}
