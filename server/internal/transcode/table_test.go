package transcode_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"recoverycodes.internal/server/internal/transcode"
)

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name   string
		define func(schema)
		keep   []string
		want   string // in the error
	}{
		{"bytes", func(s schema) { s.add("a", descriptorpb.FieldDescriptorProto_TYPE_BYTES, "") }, nil, "test.Everything.a: type bytes"},
		{"fixed integers", func(s schema) { s.add("a", descriptorpb.FieldDescriptorProto_TYPE_SFIXED32, "") }, nil, "type sfixed32"},
		{"zigzag integers", func(s schema) { s.repeated("a", descriptorpb.FieldDescriptorProto_TYPE_SINT64, "") }, nil, "type sint64"},
		{"enums", func(s schema) {
			s.add("a", descriptorpb.FieldDescriptorProto_TYPE_ENUM, ".google.protobuf.NullValue")
		}, nil, "type enum"},
		{"other well-known types", func(s schema) { s.add("a", typeMessage, ".google.protobuf.Duration") }, nil, "google.protobuf.Duration"},
		{"maps by number", func(s schema) { s.mapping("a", "AEntry", typeInt32, typeString, "") }, nil, "map keys of type int32"},
		{"maps of bytes", func(s schema) {
			s.mapping("a", "AEntry", typeString, descriptorpb.FieldDescriptorProto_TYPE_BYTES, "")
		}, nil, "type bytes"},
		{"oneofs", func(s schema) {
			s.OneofDecl = append(s.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: proto.String("either")})
			s.add("a", typeString, "").OneofIndex = proto.Int32(0)
		}, nil, "oneof"},
		{"too many fields", func(s schema) {
			for i := range 257 {
				s.add(fmt.Sprintf("a%d", i), typeBool, "")
			}
		}, nil, "257 fields"},
		{"keeping a field that is not there", func(s schema) { s.add("a", typeString, "") }, []string{"b"}, `no field "b"`},
		{"keeping a list", func(s schema) { s.repeated("a", typeString, "") }, []string{"a"}, `"a" cannot be kept`},
		{"keeping a message", func(s schema) { s.add("a", typeMessage, ".google.protobuf.Timestamp") }, []string{"a"}, `"a" cannot be kept`},
		{"keeping a field twice", func(s schema) { s.add("a", typeString, "") }, []string{"a", "a"}, `"a" is to be kept twice`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			made, err := transcode.New(build(t, test.define), test.keep...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if made != nil {
				t.Error("a table comes with the error")
			}
		})
	}
}

func TestNewReadsManyFields(t *testing.T) {
	message := build(t, func(s schema) {
		for i := range 256 {
			s.add(fmt.Sprintf("a%d", i), typeInt32, "")
		}
	})
	made, err := transcode.New(message, "a255")
	if err != nil {
		t.Fatal(err)
	}
	got, err := made.Append(nil, []byte(`{`+members(256, `"a%d":%[1]d`)+`,"a255":1,"a0":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if got.Kept[0] != "255" || got.DriftTotal != 2 {
		t.Errorf("kept %q with drift %v, want 255 and two duplicates", got.Kept[0], got.Drift)
	}
}
