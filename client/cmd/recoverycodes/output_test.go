package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// secretFields are the contract's secrets by name, written down here and not read from the marks, so that a mark that
// goes missing is noticed.
var secretFields = []string{
	"recovery_code", "recovery_codes", "session_token", "session_jwt", "intermediate_session_token",
}

// fill sets every string of m, at any depth, and returns the secret ones.
func fill(m protoreflect.Message, depth int) (secrets []string) {
	text := func(field protoreflect.FieldDescriptor) protoreflect.Value {
		if slices.Contains(secretFields, string(field.Name())) {
			secret := fmt.Sprintf("SECRET-%s-%d", field.Name(), len(secrets))
			secrets = append(secrets, secret)
			return protoreflect.ValueOfString(secret)
		}
		return protoreflect.ValueOfString("public")
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		switch {
		case field.IsMap() || field.Message() != nil && field.Message().ParentFile().Package() == "google.protobuf":
		case field.Message() != nil && depth == 0:
		case field.Message() != nil && field.IsList():
			secrets = append(secrets, fill(m.Mutable(field).List().AppendMutable().Message(), depth-1)...)
		case field.Message() != nil:
			secrets = append(secrets, fill(m.Mutable(field).Message(), depth-1)...)
		case field.Kind() == protoreflect.StringKind && field.IsList():
			m.Mutable(field).List().Append(text(field))
			m.Mutable(field).List().Append(text(field))
		case field.Kind() == protoreflect.StringKind:
			m.Set(field, text(field))
		}
	}
	return secrets
}

func TestEverySecretOfEveryAnswerIsHidden(t *testing.T) {
	for _, m := range []proto.Message{
		&recoverycodesv1.GetResponse{}, &recoverycodesv1.RotateResponse{}, &recoverycodesv1.RecoverResponse{},
	} {
		secrets := fill(m.ProtoReflect(), 6)
		if len(secrets) < 2 {
			t.Fatalf("%T was given %d secrets", m, len(secrets))
		}
		for _, asJSON := range []bool{true, false} {
			for _, show := range []bool{false, true} {
				var out strings.Builder
				before := proto.Clone(m)
				if err := (printer{w: &out, json: asJSON, showSecrets: show}).print(m); err != nil {
					t.Fatal(err)
				}
				for _, secret := range secrets {
					if shown := strings.Contains(out.String(), secret); shown != show {
						t.Errorf("%T, json %v: %s shown: %v, want %v", m, asJSON, secret, shown, show)
					}
				}
				if !strings.Contains(out.String(), "public") {
					t.Errorf("%T, json %v: nothing else is shown either", m, asJSON)
				}
				if diff := cmp.Diff(before, m, protocmp.Transform()); diff != "" {
					t.Errorf("%T was changed by printing (-before +after)\n%s", m, diff)
				}
			}
		}
	}
}

// The contract has secrets only at the top today. This one has them everywhere.
func TestHideSecretsAtAnyDepth(t *testing.T) {
	redact := &descriptorpb.FieldOptions{DebugRedact: proto.Bool(true)}
	field := func(number int32, name string, kind descriptorpb.FieldDescriptorProto_Type, label descriptorpb.FieldDescriptorProto_Label, of string, options *descriptorpb.FieldOptions) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Number: &number, Name: &name, JsonName: &name, Type: &kind, Label: &label, Options: options}
		if of != "" {
			f.TypeName = &of
		}
		return f
	}
	const (
		one, many           = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		text, bytes, nested = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_BYTES, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	entry := func(name string, kind descriptorpb.FieldDescriptorProto_Type, of string) *descriptorpb.DescriptorProto {
		return &descriptorpb.DescriptorProto{
			Name:    &name,
			Field:   []*descriptorpb.FieldDescriptorProto{field(1, "key", text, one, "", nil), field(2, "value", kind, one, of, nil)},
			Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("t.proto"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("M"),
			Field: []*descriptorpb.FieldDescriptorProto{
				field(1, "open", text, one, "", nil),
				field(2, "secret", text, one, "", redact),
				field(3, "secrets", text, many, "", redact),
				field(4, "secretBytes", bytes, one, "", redact),
				field(5, "secretMessage", nested, one, ".M", redact),
				field(6, "secretMap", nested, many, ".M.SecretMapEntry", redact),
				field(7, "child", nested, one, ".M", nil),
				field(8, "children", nested, many, ".M", nil),
				field(9, "byName", nested, many, ".M.ByNameEntry", nil),
				field(10, "labels", nested, many, ".M.LabelsEntry", nil),
			},
			NestedType: []*descriptorpb.DescriptorProto{
				entry("SecretMapEntry", text, ""), entry("ByNameEntry", nested, ".M"), entry("LabelsEntry", text, ""),
			},
		}},
	}, &protoregistry.Files{})
	if err != nil {
		t.Fatal(err)
	}
	read := func(text string) *dynamicpb.Message {
		m := dynamicpb.NewMessage(file.Messages().Get(0))
		if err := protojson.Unmarshal([]byte(text), m); err != nil {
			t.Fatal(err)
		}
		return m
	}

	const leaf = `"open": "o", "secret": "s", "secrets": ["s", "s"], "secretBytes": "c2Vj", "secretMessage": {"open": "s"}, "secretMap": {"k": "s"}, "labels": {"l": "o"}`
	const clean = `"open": "o", "secret": "[hidden]", "secrets": ["[hidden]", "[hidden]"], "labels": {"l": "o"}`
	everywhere := func(leaf string) string {
		return fmt.Sprintf(`{%[1]s, "child": {%[1]s, "child": {%[1]s}}, "children": [{%[1]s}, {}], "byName": {"n": {%[1]s}}}`, leaf)
	}
	got := read(everywhere(leaf))
	hideSecrets(got)
	if diff := cmp.Diff(read(everywhere(clean)), got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
