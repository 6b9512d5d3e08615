// Package transcode turns a JSON document into the protobuf wire bytes of a message without building that message.
//
// The document is an upstream's answer to a call that has already had its effect. The package is therefore tolerant by
// duty: whatever the document holds that the message does not foresee is left out or repaired, reported as [Drift], and
// costs nothing outside the place where it stands. Only a document that is no JSON object at all is an error.
//
// What it writes is meant to be sent as it is, past the checks that marshalling would make, so the package owes them:
// the bytes decode, every string is valid UTF-8, they are at most [MaxSize] long and nest at most [MaxNesting] messages.
//
// It knows protobuf descriptors and JSON. It knows no service, no HTTP, no generated type and no other package of this
// module; it does not log, and no value of a document ever stands in what it reports.
package transcode

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxFields is the number of fields that one message may have: the fields already seen are kept in a fixed set.
const maxFields = 256

// Table is how one message is read from JSON. It is made once by [New] and is safe for concurrent use.
type Table struct {
	root *message
	kept int
}

// message is the table of one message type. Its fields are sorted by name, the order in which upstreams tend to write
// members, so that the field after the last one found is usually the next. Without white space one comparison finds it.
type message struct {
	fields []field
	byName map[string]int
}

// field is one field of a message, or the elements of a list, or the values of a map.
type field struct {
	name     string
	opening  string // how a member with this name begins where there is no white space: "name":
	tag      uint64 // 0 for the elements of a packed list, which have none
	kind     kind
	shape    shape
	presence bool     // a zero value is written: optional fields, list elements, map values
	text     bool     // a single string, which is not kept
	keep     int      // 1 + the index of the text in Answer.Kept, 0 for fields that are not kept
	message  *message // of kindMessage
	element  *field   // of a list or a map
}

type shape uint8

const (
	singular shape = iota
	list
	packed
	mapping
)

type kind uint8

// The scalars come before the messages.
const (
	kindString kind = iota
	kindBool
	kindInt32
	kindInt64
	kindUint32
	kindUint64
	kindFloat
	kindDouble
	kindMessage
	kindTimestamp
	kindStruct
	kindValue
	kindListValue
)

// freeForm says whether a kind holds whatever its author liked, in contrast to what a schema foresees.
func (k kind) freeForm() bool { return k == kindStruct || k == kindValue || k == kindListValue }

// New makes the table of a message. The members of the document bear the names that the fields have in the proto file.
// Each name in keep is a string, number or bool at the top level whose text [Table.Append] hands over beside the bytes. It is an error
// when the message, or one that it contains, has a field of a type that the package does not read.
func New(md protoreflect.MessageDescriptor, keep ...string) (*Table, error) {
	b := builder{}
	root, err := b.message(md)
	if err != nil {
		return nil, fmt.Errorf("transcode %s: %w", md.FullName(), err)
	}
	for i, name := range keep {
		at, ok := root.byName[name]
		if !ok {
			return nil, fmt.Errorf("transcode %s: no field %q to keep", md.FullName(), name)
		}
		f := &root.fields[at]
		switch {
		case f.shape != singular || f.kind >= kindMessage:
			return nil, fmt.Errorf("transcode %s: field %q cannot be kept: it is not a single scalar", md.FullName(), name)
		case f.keep != 0:
			return nil, fmt.Errorf("transcode %s: field %q is to be kept twice", md.FullName(), name)
		}
		f.keep, f.text = i+1, false
	}
	return &Table{root: root, kept: len(keep)}, nil
}

// builder holds the tables made so far, so that a message may contain itself. The root's table is never one of them: it
// alone has fields that are kept.
type builder map[protoreflect.FullName]*message

func (b builder) message(md protoreflect.MessageDescriptor) (*message, error) {
	fds := md.Fields()
	if fds.Len() > maxFields {
		return nil, fmt.Errorf("message %s has %d fields, more than %d", md.FullName(), fds.Len(), maxFields)
	}
	m := &message{fields: make([]field, 0, fds.Len()), byName: make(map[string]int, fds.Len())}
	for i := range fds.Len() {
		f, err := b.field(fds.Get(i))
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", fds.Get(i).FullName(), err)
		}
		m.fields = append(m.fields, f)
	}
	slices.SortFunc(m.fields, func(x, y field) int { return cmp.Compare(x.name, y.name) })
	for i := range m.fields {
		m.byName[m.fields[i].name] = i
	}
	return m, nil
}

func (b builder) nested(md protoreflect.MessageDescriptor) (*message, error) {
	if m := b[md.FullName()]; m != nil {
		return m, nil
	}
	m := new(message)
	b[md.FullName()] = m
	made, err := b.message(md)
	if err != nil {
		return nil, err
	}
	*m = *made
	return m, nil
}

func (b builder) field(fd protoreflect.FieldDescriptor) (field, error) {
	f := field{name: string(fd.Name()), opening: `"` + string(fd.Name()) + `":`, presence: fd.HasPresence()}
	if oneof := fd.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
		return field{}, fmt.Errorf("members of a oneof are not supported")
	}
	if fd.Cardinality() == protoreflect.Required {
		return field{}, fmt.Errorf("required fields are not supported")
	}
	var err error
	switch {
	case fd.IsMap():
		f.shape = mapping
		f.tag = protowire.EncodeTag(fd.Number(), protowire.BytesType)
		if k := fd.MapKey().Kind(); k != protoreflect.StringKind {
			return field{}, fmt.Errorf("map keys of type %s are not supported", k)
		}
		f.element, err = b.element(fd.MapValue())
		return f, err
	case fd.IsList():
		f.shape = list
		f.element, err = b.element(fd)
		if fd.IsPacked() {
			f.shape = packed
			f.tag = protowire.EncodeTag(fd.Number(), protowire.BytesType)
			f.element.tag = 0
		}
		return f, err
	}
	err = b.fill(&f, fd)
	f.text = f.kind == kindString
	return f, err
}

// element makes the field for the elements of a list or the values of a map.
func (b builder) element(fd protoreflect.FieldDescriptor) (*field, error) {
	f := &field{name: string(fd.Name()), presence: true}
	return f, b.fill(f, fd)
}

// scalars are the scalar types that are read, wellKnown the messages of google.protobuf. Any other message of google.protobuf has
// a JSON form of its own that the package does not know.
var (
	scalars = map[protoreflect.Kind]struct {
		kind kind
		wire protowire.Type
	}{
		protoreflect.StringKind: {kindString, protowire.BytesType},
		protoreflect.BoolKind:   {kindBool, protowire.VarintType},
		protoreflect.Int32Kind:  {kindInt32, protowire.VarintType},
		protoreflect.Int64Kind:  {kindInt64, protowire.VarintType},
		protoreflect.Uint32Kind: {kindUint32, protowire.VarintType},
		protoreflect.Uint64Kind: {kindUint64, protowire.VarintType},
		protoreflect.FloatKind:  {kindFloat, protowire.Fixed32Type},
		protoreflect.DoubleKind: {kindDouble, protowire.Fixed64Type},
	}
	wellKnown = map[protoreflect.FullName]kind{
		"google.protobuf.Timestamp": kindTimestamp,
		"google.protobuf.Struct":    kindStruct,
		"google.protobuf.Value":     kindValue,
		"google.protobuf.ListValue": kindListValue,
	}
)

// fill sets what depends on the type of a value.
func (b builder) fill(f *field, fd protoreflect.FieldDescriptor) error {
	if scalar, ok := scalars[fd.Kind()]; ok {
		f.kind, f.tag = scalar.kind, protowire.EncodeTag(fd.Number(), scalar.wire)
		return nil
	}
	if fd.Kind() != protoreflect.MessageKind {
		return fmt.Errorf("type %s is not supported", fd.Kind())
	}
	f.tag = protowire.EncodeTag(fd.Number(), protowire.BytesType)
	name := fd.Message().FullName()
	if k, ok := wellKnown[name]; ok {
		f.kind = k
		return nil
	}
	if name.Parent() == "google.protobuf" {
		return fmt.Errorf("type %s is not supported", name)
	}
	var err error
	f.kind = kindMessage
	f.message, err = b.nested(fd.Message())
	return err
}

// find returns the index of the field with the given name, or -1.
func (m *message) find(name []byte) int {
	if i, ok := m.byName[string(name)]; ok {
		return i
	}
	return -1
}
