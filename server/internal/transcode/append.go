package transcode

import (
	"math"
	"slices"
	"sync"
)

// The bounds of what Append writes. MaxSize is what gRPC clients accept by default. MaxNesting counts every message on the way
// to the innermost, the outermost included, and an entry of a map as one; decoders commonly stop at 100, so there is
// room for a message that wraps the answer. A level of objects in a google.protobuf.Struct costs three messages, a level of lists two.
const (
	MaxSize    = 4 << 20
	MaxNesting = 90
)

// Answer is what was read from a document.
type Answer struct {
	// Wire is dst with the bytes of the message appended.
	Wire []byte
	// Kept holds the texts of the fields named in New, in that order: strings as they are, numbers in decimal, bools as
	// true or false, and "" for what the document does not set.
	Kept []string
	// Drift holds the first differences met, each path and kind once, at most 16 of them.
	Drift []Drift
	// DriftTotal counts all differences met, repeated ones too.
	DriftTotal int
}

// decoder is one reading of one document. It stays on the stack of the caller: its own stacks are arrays.
type decoder struct {
	scanner
	out       []byte
	kept      []string
	sacrifice sacrifice

	drift      []Drift
	driftTotal int
	path       path
	keys       keys
	scratch    []byte // see unescaped and note
}

// sacrifice is what a field may take at most before it is left out for the sake of the rest.
type sacrifice struct {
	freeForm int // Struct, Value, ListValue and maps, anywhere
	nested   int // messages in fields of the top level
}

// sacrifices are tried in turn until the message is within MaxSize. Scalars and lists of scalars at the top level, where
// tokens and codes stand, are never given up.
var sacrifices = [...]sacrifice{
	{freeForm: math.MaxInt, nested: math.MaxInt},
	{freeForm: 64 << 10, nested: math.MaxInt},
	{freeForm: -1, nested: math.MaxInt},
	{freeForm: -1, nested: 64 << 10},
	{freeForm: -1, nested: -1},
}

// decoders are those that nobody uses. They have room for the deepest document, which is a lot to clear for each.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// release forgets what came out of the document, but for names of members that drift reports too.
func (d *decoder) release() {
	d.src, d.out, d.kept, d.drift, d.scratch = nil, nil, nil, nil, nil
	d.driftTotal, d.path.length, d.keys.length = 0, 0, 0
	decoders.Put(d)
}

// Append reads the document in src and appends the wire bytes of the message to dst. It neither keeps nor changes src,
// and needs no memory for the bytes when dst has room for as many as src has. A null leaves its field unset, except
// within a free-form value, where it stays a null.
//
// What is in dst beyond the length of the answer is undefined and may be of the document. The error is a *DocumentError,
// and with it comes no answer.
func (t *Table) Append(dst, src []byte) (Answer, error) {
	d := decoders.Get().(*decoder)
	defer d.release()
	d.src, d.pos = src, 0
	d.out = slices.Grow(dst, len(src))
	d.kept = make([]string, t.kept)
	for _, d.sacrifice = range sacrifices {
		if reason := d.document(t.root); reason != 0 {
			return Answer{}, &DocumentError{Offset: d.pos, Reason: reason}
		}
		if len(d.out)-len(dst) <= MaxSize {
			return Answer{Wire: d.out, Kept: d.kept, Drift: d.drift, DriftTotal: d.driftTotal}, nil
		}
		d.out = d.out[:len(dst)]
		d.pos, d.drift, d.driftTotal = 0, nil, 0
	}
	return Answer{}, &DocumentError{Offset: len(src), Reason: OverSize}
}

// document reads the whole of src. It returns the reason why it cannot, or 0.
func (d *decoder) document(root *message) Reason {
	object := d.space() == '{'
	start := d.pos
	var ok bool
	if object {
		ok = d.message(root, 1)
	} else {
		ok = d.skip()
	}
	switch {
	case !ok && d.pos >= len(d.src):
		return Truncated
	case !ok:
		return NotJSON
	}
	d.space()
	switch {
	case d.pos < len(d.src):
		return TrailingBytes
	case !object:
		d.pos = start
		return NotObject
	}
	return 0
}
