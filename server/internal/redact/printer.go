package redact

import (
	"cmp"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of what is printed. They are far above what a request or answer of this service has, and there so that
// nobody can fill a log with one message.
const (
	maxDepth    = 16      // messages within messages
	maxElements = 32      // of a list or a map
	maxValue    = 256     // bytes of a text
	maxText     = 8 << 10 // bytes of the line; one more value and the closing braces may follow
)

const (
	placeholder = "[redacted]"
	cut         = "..." // stands for what the bounds leave out
)

// printer appends to a line until that is long enough.
type printer struct {
	text []byte
}

func (p *printer) add(s string) { p.text = append(p.text, s...) }

func (p *printer) number(n int) { p.text = strconv.AppendInt(p.text, int64(n), 10) }

// more separates the element that comes next from the one before, and reports whether there is room for it.
func (p *printer) more(first bool) bool {
	if !first {
		p.add(" ")
	}
	if len(p.text) > maxText {
		p.add(cut)
		return false
	}
	return true
}

func (p *printer) message(m protoreflect.Message, depth int) {
	if freeForm[m.Descriptor().FullName()] {
		p.add(placeholder)
		return
	}
	p.add("{")
	defer p.add("}")
	if depth >= maxDepth {
		p.add(cut)
		return
	}
	first := true
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		if !p.more(first) {
			return
		}
		first = false
		p.add(string(f.Name()))
		p.add(":")
		p.field(f, m.Get(f), depth)
	}
	if unknown := len(m.GetUnknown()); unknown > 0 && p.more(first) {
		p.add("unknown:[")
		p.number(unknown)
		p.add(" bytes]")
	}
}

func (p *printer) field(f protoreflect.FieldDescriptor, v protoreflect.Value, depth int) {
	switch {
	case secret(f):
		p.add(placeholder)
		if f.IsList() {
			p.count(v.List().Len())
		} else if f.IsMap() {
			p.count(v.Map().Len())
		}
	case f.IsList():
		p.list(f, v.List(), depth)
	case f.IsMap():
		p.entries(f, v.Map(), depth)
	default:
		p.value(f, v, depth)
	}
}

// count says of how many elements something was withheld.
func (p *printer) count(n int) {
	p.add("*")
	p.number(n)
}

func (p *printer) list(f protoreflect.FieldDescriptor, list protoreflect.List, depth int) {
	p.add("[")
	defer p.add("]")
	for i := range list.Len() {
		if !p.more(i == 0) {
			return
		}
		if i == maxElements {
			p.add(cut)
			p.count(list.Len() - i)
			return
		}
		p.value(f, list.Get(i), depth)
	}
}

// entries prints a map in the order of its keys as text.
func (p *printer) entries(f protoreflect.FieldDescriptor, entries protoreflect.Map, depth int) {
	keys := make([]protoreflect.MapKey, 0, entries.Len())
	entries.Range(func(k protoreflect.MapKey, _ protoreflect.Value) bool {
		keys = append(keys, k)
		return true
	})
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return cmp.Compare(a.String(), b.String()) })
	p.add("{")
	defer p.add("}")
	for i, k := range keys {
		if !p.more(i == 0) {
			return
		}
		if i == maxElements {
			p.add(cut)
			p.count(len(keys) - i)
			return
		}
		p.value(f.MapKey(), k.Value(), depth)
		p.add(":")
		p.value(f.MapValue(), entries.Get(k), depth)
	}
}

// value prints one value of a field: the field's own, or an element of it.
func (p *printer) value(f protoreflect.FieldDescriptor, v protoreflect.Value, depth int) {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		p.message(v.Message(), depth+1)
	case protoreflect.StringKind:
		p.quoted(v.String())
	case protoreflect.BytesKind:
		p.quoted(string(v.Bytes()))
	case protoreflect.EnumKind:
		if named := f.Enum().Values().ByNumber(v.Enum()); named != nil {
			p.add(string(named.Name()))
		} else {
			p.number(int(v.Enum()))
		}
	default: // numbers and truth values, which print as themselves
		p.add(v.String())
	}
}

// quoted prints a text in quotes. Control characters, what does not show and what is not UTF-8 are escaped, so that
// nothing in it ends a line or looks like something else.
func (p *printer) quoted(s string) {
	n := min(len(s), maxValue)
	for n > 0 && n < len(s) && n > maxValue-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	p.text = strconv.AppendQuote(p.text, s[:n])
	if n < len(s) {
		p.add(cut)
		p.count(len(s) - n)
	}
}
