// Package redact is the one way in which a protobuf message may be printed. The fields that the contract marks
// debug_redact are secrets, and Go's protobuf library prints them like any other; this package reads the mark and
// shows that there is something, never what.
//
// It knows descriptors and nothing of any message: a field is a secret because the contract says so. Besides the
// marked fields it withholds what nobody can mark: free-form values, in which callers keep what they like, and unknown
// fields, in which the answers of this server carry everything they have.
package redact

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Text is a message that may be printed and logged. Whatever the verb, it gives the same one line without control
// characters, of at most some ten kilobytes; equal messages give equal lines.
type Text struct {
	// A function and not the message: of a struct with an unexported Text in it, fmt prints what it finds by reflection.
	render func() string
}

// Message returns m as a Text. It is rendered each time it is printed and not before, so that a line of a log level
// that is off costs nothing; m must not change until then.
func Message(m proto.Message) Text {
	return Text{func() string {
		if m == nil {
			return "<nil>"
		}
		var p printer
		p.add(string(m.ProtoReflect().Descriptor().FullName()))
		p.message(m.ProtoReflect(), 0)
		return string(p.text)
	}}
}

// String implements fmt.Stringer, which zap.Stringer and zap.Any use. The zero Text prints as a nil message.
func (t Text) String() string {
	if t.render == nil {
		return "<nil>"
	}
	return t.render()
}

// Format implements fmt.Formatter, so that no verb and no flag reaches the message itself.
func (t Text) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(t.String())) // like every Formatter, this has nobody to tell
}

// secret reports whether the contract marks a field. A mark that cannot be read counts as one.
func secret(f protoreflect.FieldDescriptor) bool {
	options, ok := f.Options().(*descriptorpb.FieldOptions)
	return !ok || options.GetDebugRedact()
}

// freeForm are the messages that can hold anything at all, a secret too.
var freeForm = map[protoreflect.FullName]bool{
	"google.protobuf.Any":       true,
	"google.protobuf.ListValue": true,
	"google.protobuf.Struct":    true,
	"google.protobuf.Value":     true,
}
