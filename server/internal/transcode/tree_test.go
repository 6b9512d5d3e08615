package transcode_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf16"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

// node is a JSON value in a document under construction. It is an object with members, a list with elements, or text.
type node struct {
	text     string
	raw      bool // the text is JSON already
	object   bool
	list     bool
	members  []member
	elements []*node

	// field is the field of the message that the value belongs to, nil at the top level and in free form. An element of
	// a list has the field of the list.
	field   protoreflect.FieldDescriptor
	element bool
	path    string
}

type member struct {
	name  string
	value *node
}

// randomMessage draws a message with a few of its fields set, and of their fields in turn.
func randomMessage(t *rapid.T, m protoreflect.Message, depth int) {
	const deepest = 6
	fields := m.Descriptor().Fields()
	for range rapid.IntRange(0, 6).Draw(t, "fields") {
		fd := fields.Get(rapid.IntRange(0, fields.Len()-1).Draw(t, "field"))
		if fd.Message() != nil && depth == deepest {
			continue
		}
		switch {
		case fd.IsMap():
			entries := m.Mutable(fd).Map()
			for range rapid.IntRange(0, 3).Draw(t, "entries") {
				entries.Set(protoreflect.ValueOfString(randomString(t)).MapKey(), randomValue(t, entries.NewValue(), fd.MapValue(), depth))
			}
		case fd.IsList():
			list := m.Mutable(fd).List()
			for range rapid.IntRange(0, 3).Draw(t, "elements") {
				list.Append(randomValue(t, list.NewElement(), fd, depth))
			}
		default:
			m.Set(fd, randomValue(t, m.NewField(fd), fd, depth))
		}
	}
}

// randomValue draws a value of the type of a field or of its elements; fresh is an empty one.
func randomValue(t *rapid.T, fresh protoreflect.Value, fd protoreflect.FieldDescriptor, depth int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(randomString(t))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, "int32"))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "int64"))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(t, "uint32"))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "uint64"))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(rapid.Float32().Draw(t, "float"))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.Float64().Draw(t, "double"))
	case protoreflect.MessageKind:
	default:
		t.Fatalf("%s: a field of type %s, which no random message has yet", fd.FullName(), fd.Kind())
	}
	content := func() proto.Message {
		switch fd.Message().FullName() {
		case "google.protobuf.Timestamp":
			return &timestamppb.Timestamp{
				Seconds: rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds"),
				Nanos:   rapid.SampledFrom([]int32{0, 5e8, 123e6, 123456e3, 1, 999999999}).Draw(t, "nanos"),
			}
		case "google.protobuf.Struct":
			return randomStruct(t, 0)
		case "google.protobuf.Value":
			return randomFree(t, 0)
		case "google.protobuf.ListValue":
			return randomListValue(t, 0)
		}
		return nil
	}()
	if content == nil {
		randomMessage(t, fresh.Message(), depth+1)
		return fresh
	}
	// By way of the wire, since the message may be a dynamic one.
	wire, err := proto.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(wire, fresh.Message().Interface()); err != nil {
		t.Fatal(err)
	}
	return fresh
}

func randomString(t *rapid.T) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", "a", "200", "null", "größer", "\u2028", "😀", "\x00\x1f\x7f", `"\/`, strings.Repeat("long ", 60)}),
		rapid.String(),
	).Draw(t, "string")
}

func randomStruct(t *rapid.T, depth int) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for range rapid.IntRange(0, 3).Draw(t, "members") {
		s.Fields[randomString(t)] = randomFree(t, depth+1)
	}
	return s
}

func randomListValue(t *rapid.T, depth int) *structpb.ListValue {
	l := &structpb.ListValue{}
	for range rapid.IntRange(0, 3).Draw(t, "elements") {
		l.Values = append(l.Values, randomFree(t, depth+1))
	}
	return l
}

func randomFree(t *rapid.T, depth int) *structpb.Value {
	last := 5
	if depth > 3 {
		last = 3
	}
	switch rapid.IntRange(0, last).Draw(t, "type") {
	case 0:
		return structpb.NewNullValue()
	case 1:
		return structpb.NewBoolValue(rapid.Bool().Draw(t, "bool"))
	case 2:
		return structpb.NewNumberValue(rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1, -1, 4711, 1 << 53, 1e21})).Draw(t, "number"))
	case 3:
		return structpb.NewStringValue(randomString(t))
	case 4:
		return structpb.NewStructValue(randomStruct(t, depth))
	}
	return structpb.NewListValue(randomListValue(t, depth))
}

// randomDocument writes a message as an upstream might: with or without what is unset, and with nulls for some of that.
func randomDocument(t *rapid.T, m proto.Message) *node {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: rapid.Bool().Draw(t, "unpopulated")}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	return messageNode(r, m.ProtoReflect().Descriptor(), value, "")
}

// messageNode makes the node of a message, its members in any order.
func messageNode(r *rand.Rand, md protoreflect.MessageDescriptor, value map[string]any, path string) *node {
	n := &node{object: true, path: path}
	fields := md.Fields()
	var names []string
	for i := range fields.Len() {
		name := string(fields.Get(i).Name())
		if _, ok := value[name]; ok {
			names = append(names, name)
		} else if fields.Get(i).Message() == nil || fields.Get(i).Message().FullName() != "google.protobuf.Value" {
			if r.IntN(10) == 0 {
				names = append(names, name)
			}
		}
	}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		fd := fields.ByName(protoreflect.Name(name))
		n.members = append(n.members, member{name, fieldNode(r, fd, value[name], join(path, name))})
	}
	return n
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func fieldNode(r *rand.Rand, fd protoreflect.FieldDescriptor, value any, path string) *node {
	n := &node{}
	switch value := value.(type) {
	case []any:
		if !fd.IsList() {
			return valueNode(r, fd, value, path)
		}
		n.list = true
		for _, v := range value {
			element := valueNode(r, fd, v, path+"[]")
			element.element = true
			n.elements = append(n.elements, element)
		}
	case map[string]any:
		if !fd.IsMap() {
			return valueNode(r, fd, value, path)
		}
		n.object = true
		for _, key := range slices.Sorted(maps.Keys(value)) {
			n.members = append(n.members, member{key, valueNode(r, fd.MapValue(), value[key], path+".*")})
		}
	default:
		return valueNode(r, fd, value, path)
	}
	n.field, n.path = fd, path
	return n
}

func valueNode(r *rand.Rand, fd protoreflect.FieldDescriptor, value any, path string) *node {
	if object, ok := value.(map[string]any); ok && fd.Message().FullName().Parent() != "google.protobuf" {
		n := messageNode(r, fd.Message(), object, path)
		n.field = fd
		return n
	}
	n := freeNode(value)
	n.field, n.path = fd, path
	return n
}

func freeNode(value any) *node {
	n := &node{}
	switch value := value.(type) {
	case map[string]any:
		n.object = true
		for _, key := range slices.Sorted(maps.Keys(value)) {
			n.members = append(n.members, member{key, freeNode(value[key])})
		}
	case []any:
		n.list = true
		for _, v := range value {
			n.elements = append(n.elements, freeNode(v))
		}
	case string:
		n.text = `"` + value // quoted when written
	default:
		n.text = fmt.Sprint(value)
		if value == nil {
			n.text = "null"
		}
	}
	return n
}

// write writes a document with white space and escapes where they may be.
func (n *node) write(t *rapid.T) []byte {
	var b strings.Builder
	w := writer{&b, rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "space"), rapid.SampledFrom([]int{0, 0, 2, 5}).Draw(t, "escapes"), 0}
	w.node(n)
	return []byte(b.String())
}

type writer struct {
	*strings.Builder
	space  string
	escape int // every so manieth character is escaped, none if 0
	count  int
}

func (w *writer) node(n *node) {
	w.WriteString(w.space)
	switch {
	case n.object:
		w.WriteString("{")
		for i, m := range n.members {
			if i > 0 {
				w.WriteString("," + w.space)
			}
			w.quote(m.name)
			w.WriteString(w.space + ":")
			w.node(m.value)
		}
		w.WriteString("}")
	case n.list:
		w.WriteString("[")
		for i, e := range n.elements {
			if i > 0 {
				w.WriteString(",")
			}
			w.node(e)
		}
		w.WriteString("]")
	case !n.raw && strings.HasPrefix(n.text, `"`):
		w.quote(n.text[1:])
	default:
		w.WriteString(n.text)
	}
	w.WriteString(w.space)
}

func (w *writer) quote(s string) {
	w.WriteString(`"`)
	for _, r := range s {
		w.count++
		switch {
		case r < ' ' || w.escape > 0 && w.count%w.escape == 0:
			for _, unit := range utf16.Encode([]rune{r}) {
				_, _ = fmt.Fprintf(w, `\u%04x`, unit)
			}
		case r == '"' || r == '\\':
			w.WriteString(`\` + string(r))
		default:
			w.WriteRune(r)
		}
	}
	w.WriteString(`"`)
}
