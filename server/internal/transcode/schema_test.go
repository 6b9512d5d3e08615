package transcode_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	// The files that the schema below imports.
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
)

// The types of fields, as descriptors write them.
const (
	typeString  = descriptorpb.FieldDescriptorProto_TYPE_STRING
	typeBool    = descriptorpb.FieldDescriptorProto_TYPE_BOOL
	typeInt32   = descriptorpb.FieldDescriptorProto_TYPE_INT32
	typeInt64   = descriptorpb.FieldDescriptorProto_TYPE_INT64
	typeUint32  = descriptorpb.FieldDescriptorProto_TYPE_UINT32
	typeUint64  = descriptorpb.FieldDescriptorProto_TYPE_UINT64
	typeFloat   = descriptorpb.FieldDescriptorProto_TYPE_FLOAT
	typeDouble  = descriptorpb.FieldDescriptorProto_TYPE_DOUBLE
	typeMessage = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
)

// schema is a message under construction.
type schema struct {
	*descriptorpb.DescriptorProto
}

func (s schema) add(name string, typ descriptorpb.FieldDescriptorProto_Type, message string) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{
		Name:   proto.String(name),
		Number: proto.Int32(int32(len(s.Field) + 1)),
		Type:   typ.Enum(),
		Label:  descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	if message != "" {
		f.TypeName = proto.String(message)
	}
	s.Field = append(s.Field, f)
	return f
}

func (s schema) optional(name string, typ descriptorpb.FieldDescriptorProto_Type) {
	f := s.add(name, typ, "")
	f.Proto3Optional = proto.Bool(true)
	f.OneofIndex = proto.Int32(int32(len(s.OneofDecl)))
	s.OneofDecl = append(s.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: proto.String("_" + name)})
}

func (s schema) repeated(name string, typ descriptorpb.FieldDescriptorProto_Type, message string) *descriptorpb.FieldDescriptorProto {
	f := s.add(name, typ, message)
	f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	return f
}

// mapping adds a map; entry is the name of the message that its entries are.
func (s schema) mapping(name, entry string, key, typ descriptorpb.FieldDescriptorProto_Type, message string) {
	e := schema{&descriptorpb.DescriptorProto{
		Name:    proto.String(entry),
		Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
	}}
	e.add("key", key, "")
	e.add("value", typ, message)
	s.NestedType = append(s.NestedType, e.DescriptorProto)
	s.repeated(name, typeMessage, ".test.Everything."+entry)
}

// build makes the descriptor of a message test.Everything with the fields that define adds.
func build(t testing.TB, define func(schema)) protoreflect.MessageDescriptor {
	t.Helper()
	s := schema{&descriptorpb.DescriptorProto{Name: proto.String("Everything")}}
	define(s)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name:    proto.String("test/everything.proto"),
		Package: proto.String("test"),
		Syntax:  proto.String("proto3"),
		Dependency: []string{
			"google/protobuf/duration.proto", "google/protobuf/struct.proto", "google/protobuf/timestamp.proto",
		},
		MessageType: []*descriptorpb.DescriptorProto{s.DescriptorProto},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().Get(0)
}

// everything returns an empty message that has a field of every type that the package reads, and contains itself.
func everything(t testing.TB) proto.Message {
	const (
		itself    = ".test.Everything"
		timestamp = ".google.protobuf.Timestamp"
		object    = ".google.protobuf.Struct"
		value     = ".google.protobuf.Value"
		listValue = ".google.protobuf.ListValue"
	)
	return dynamicpb.NewMessage(build(t, func(s schema) {
		s.add("text", typeString, "")
		s.add("flag", typeBool, "")
		s.add("int32", typeInt32, "")
		s.add("int64", typeInt64, "")
		s.add("uint32", typeUint32, "")
		s.add("uint64", typeUint64, "")
		s.add("float", typeFloat, "")
		s.add("double", typeDouble, "")
		s.add("child", typeMessage, itself)
		s.add("at", typeMessage, timestamp)
		s.add("free", typeMessage, object)
		s.add("any", typeMessage, value)
		s.add("items", typeMessage, listValue)
		s.optional("maybe_text", typeString)
		s.optional("maybe_flag", typeBool)
		s.optional("maybe_int32", typeInt32)
		s.optional("maybe_double", typeDouble)
		s.repeated("texts", typeString, "")
		s.repeated("flags", typeBool, "")
		s.repeated("int32s", typeInt32, "")
		s.repeated("loose_int32s", typeInt32, "").Options = &descriptorpb.FieldOptions{Packed: proto.Bool(false)}
		s.repeated("floats", typeFloat, "")
		s.repeated("children", typeMessage, itself)
		s.repeated("times", typeMessage, timestamp)
		s.repeated("frees", typeMessage, object)
		s.repeated("anys", typeMessage, value)
		s.mapping("labels", "LabelsEntry", typeString, typeString, "")
		s.mapping("counts", "CountsEntry", typeString, typeInt64, "")
		s.mapping("named", "NamedEntry", typeString, typeMessage, itself)
		s.mapping("any_named", "AnyNamedEntry", typeString, typeMessage, value)
	}))
}
