package transcode_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"recoverycodes.internal/server/internal/transcode"
)

// subjects are the messages that properties are tried on: every answer, and one with a field of every type.
func subjects(t testing.TB) map[string]proto.Message {
	all := map[string]proto.Message{"everything": everything(t)}
	for _, a := range answers {
		all[a.name] = a.message
	}
	return all
}

// draw draws a message and a document of it.
func draw(t *rapid.T, of proto.Message) *node {
	m := of.ProtoReflect().New()
	randomMessage(t, m, 0)
	return randomDocument(t, m.Interface())
}

// check checks a property on every subject.
func check(t *testing.T, property func(t *rapid.T, of proto.Message, made *transcode.Table)) {
	for name, of := range subjects(t) {
		t.Run(name, func(t *testing.T) {
			made := table(t, of)
			rapid.Check(t, func(t *rapid.T) { property(t, of, made) })
		})
	}
}

// same stops the check unless the wire bytes say what protojson reads in the document.
func same(t *rapid.T, of proto.Message, document, wire []byte) {
	want, got := of.ProtoReflect().New().Interface(), of.ProtoReflect().New().Interface()
	if err := protojson.Unmarshal(document, want); err != nil {
		t.Fatalf("protojson: %v", err)
	}
	if err := proto.Unmarshal(wire, got); err != nil {
		t.Fatalf("the wire bytes do not decode: %v", err)
	}
	if !proto.Equal(want, got) {
		t.Fatalf("not protojson's reading of %s (-protojson +ours):\n%s", document, cmp.Diff(want, got, protocmp.Transform()))
	}
}

// Whatever the schema foresees is read as protojson reads it.
func TestPropertyReadsAsProtojson(t *testing.T) {
	check(t, func(t *rapid.T, of proto.Message, made *transcode.Table) {
		document := draw(t, of).write(t)
		got, err := made.Append(nil, document)
		if err != nil {
			t.Fatalf("%v: %s", err, document)
		}
		if got.DriftTotal != 0 {
			t.Fatalf("drift %v: %s", got.Drift, document)
		}
		same(t, of, document, got.Wire)
	})
}

// site is a place in a document: a member of a message, or an element of a list that belongs to one.
type site struct {
	parent *node
	index  int
}

func (s site) value() *node {
	if s.parent.list {
		return s.parent.elements[s.index]
	}
	return s.parent.members[s.index].value
}

func (s site) replace(by *node) {
	if s.parent.list {
		s.parent.elements[s.index] = by
	} else {
		s.parent.members[s.index].value = by
	}
}

func (s site) remove() {
	if s.parent.list {
		s.parent.elements = slices.Delete(s.parent.elements, s.index, s.index+1)
	} else {
		s.parent.members = slices.Delete(s.parent.members, s.index, s.index+1)
	}
}

// sites collects all places below n, and objects all messages from n on.
func sites(n *node) (places []site, objects []*node) {
	if n.object && (n.field == nil || !n.field.IsMap() && n.field.Message().FullName().Parent() != "google.protobuf") {
		objects = append(objects, n)
	}
	below := func(i int, child *node) {
		if child.field == nil {
			return // within free form
		}
		places = append(places, site{n, i})
		p, o := sites(child)
		places, objects = append(places, p...), append(objects, o...)
	}
	for i, m := range n.members {
		below(i, m.value)
	}
	for i, e := range n.elements {
		below(i, e)
	}
	return places, objects
}

// damage draws a value that a field cannot have, and what it is reported as.
func damage(t *rapid.T, n *node) (string, transcode.Kind) {
	type wrong struct {
		text string
		kind transcode.Kind
	}
	var choice []wrong
	add := func(kind transcode.Kind, texts ...string) {
		for _, text := range texts {
			choice = append(choice, wrong{text, kind})
		}
	}
	fd := n.field
	single := n.element || !fd.IsList() && !fd.IsMap()
	switch {
	case !single && fd.IsList():
		add(transcode.WrongType, `{}`, `"text"`, `0`, `{"a":[1,2]}`)
	case !single:
		add(transcode.WrongType, `[]`, `"text"`, `0`)
	case fd.Kind() == protoreflect.StringKind:
		add(transcode.WrongType, `5`, `true`, `{}`, `["text"]`, `{"a":[{}],"b":null}`)
	case fd.Kind() == protoreflect.BoolKind:
		add(transcode.WrongType, `"true"`, `1`, `[true]`, `{}`)
	case fd.Kind() == protoreflect.MessageKind:
		switch fd.Message().FullName() {
		case "google.protobuf.Timestamp":
			add(transcode.BadTimestamp, `""`, `"tomorrow"`, `"2025-02-30T00:00:00Z"`, `"2025-01-01 00:00:00"`)
			add(transcode.WrongType, `1764572400`, `{"seconds":1}`, `[]`, `false`)
		case "google.protobuf.ListValue":
			add(transcode.WrongType, `{}`, `"text"`, `0`)
		case "google.protobuf.Value":
			return "", 0
		default:
			add(transcode.WrongType, `true`, `0`, `"text"`, `[{}]`)
		}
	default:
		add(transcode.WrongType, `"text"`, `true`, `[1]`, `{}`, `""`)
		add(transcode.OutOfRange, `1e999`, `-1e999`)
	}
	if n.element || fd.ContainingMessage().IsMapEntry() {
		add(transcode.NullElement, `null`)
	}
	drawn := rapid.SampledFrom(choice).Draw(t, "wrong value")
	return drawn.text, drawn.kind
}

// A value that its field cannot have costs itself and nothing else.
func TestPropertyDamageStaysWhereItIs(t *testing.T) {
	check(t, func(t *rapid.T, of proto.Message, made *transcode.Table) {
		root := draw(t, of)
		places, _ := sites(root)
		if len(places) == 0 {
			return
		}
		place := rapid.SampledFrom(places).Draw(t, "place")
		old := place.value()
		text, kind := damage(t, old)
		if text == "" {
			return
		}
		place.replace(&node{text: text, raw: true})
		damaged := root.write(t)
		place.remove()
		rest := root.write(t)

		got, err := made.Append(nil, damaged)
		if err != nil {
			t.Fatalf("%v: %s", err, damaged)
		}
		if diff := cmp.Diff([]transcode.Drift{{Path: old.path, Kind: kind}}, got.Drift); diff != "" || got.DriftTotal != 1 {
			t.Fatalf("drift of %s (-want +got):\n%s", damaged, diff)
		}
		same(t, of, rest, got.Wire)
	})
}

// Members that the schema does not foresee, and second ones, change nothing.
func TestPropertyAdditionsChangeNothing(t *testing.T) {
	check(t, func(t *rapid.T, of proto.Message, made *transcode.Table) {
		root := draw(t, of)
		plain := root.write(t)
		_, objects := sites(root)
		object := rapid.SampledFrom(objects).Draw(t, "object")

		extra := member{"not_in_the_schema", freeNode(randomFree(t, 0).AsInterface())}
		want := transcode.Drift{Path: join(object.path, extra.name), Kind: transcode.UnknownMember}
		at := rapid.IntRange(0, len(object.members)).Draw(t, "at")
		if at > 0 && rapid.Bool().Draw(t, "duplicate") && object.members[at-1].value.text != "null" {
			extra.name = object.members[at-1].name
			want = transcode.Drift{Path: join(object.path, extra.name), Kind: transcode.Duplicate}
		}
		object.members = slices.Insert(object.members, at, extra)
		document := root.write(t)

		got, err := made.Append(nil, document)
		if err != nil {
			t.Fatalf("%v: %s", err, document)
		}
		if diff := cmp.Diff([]transcode.Drift{want}, got.Drift); diff != "" {
			t.Fatalf("drift of %s (-want +got):\n%s", document, diff)
		}
		same(t, of, plain, got.Wire)
	})
}
