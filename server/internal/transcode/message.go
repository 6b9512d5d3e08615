package transcode

import "google.golang.org/protobuf/encoding/protowire"

// result is what became of a value.
type result uint8

const (
	broken  result = iota // the document is wrong
	dropped               // passed, and nothing of it written
	taken                 // written, or the zero value of a field that has it by being absent
)

// message reads an object into the fields of m. It is the depth-th message on the way from the outermost, which is the
// first; pos is at the opening brace.
func (d *decoder) message(m *message, depth int) bool {
	d.pos++
	var seen [maxFields / 64]uint64
	d.path.push("")
	next := 0
	for first := true; ; first = false {
		at := next
		if next == len(m.fields) || !d.opening(m.fields[next].opening, first) {
			name, step := d.member(first)
			if step != found {
				d.path.pop()
				return step == ended
			}
			raw := d.src[name.start:name.end]
			if name.escaped {
				d.scratch, _ = appendRepaired(d.scratch[:0], raw)
				raw = d.scratch
			}
			if at = m.find(raw); at < 0 {
				d.path.at(schemaName(raw))
				if !d.drop(UnknownMember) {
					return false
				}
				continue
			}
		}
		next = at + 1
		f := &m.fields[at]
		word, bit := &seen[at/64], uint64(1)<<(at%64)
		if f.text && *word&bit == 0 && d.copyField(f) { // most members are such
			*word |= bit
			continue
		}
		d.path.at(f.name)
		if *word&bit != 0 {
			if !d.drop(Duplicate) {
				return false
			}
			continue
		}
		switch d.field(f, depth) {
		case broken:
			return false
		case taken:
			*word |= bit
		case dropped:
		}
	}
}

// drop reports a drift and passes the value at pos.
func (d *decoder) drop(k Kind) bool {
	d.note(k)
	return d.skip()
}

// dropValue is drop for callers that owe a result.
func (d *decoder) dropValue(k Kind) result {
	if d.drop(k) {
		return dropped
	}
	return broken
}

// null passes a null, which sets nothing.
func (d *decoder) null() result {
	if d.literal("null") {
		return dropped
	}
	return broken
}

// field reads the value of a field of a message at the given depth.
func (d *decoder) field(f *field, depth int) result {
	c := d.peek()
	if f.shape == singular {
		if c == 'n' && f.kind != kindValue {
			return d.null()
		}
		return d.value(f, depth)
	}
	if c == 'n' {
		return d.null()
	}
	switch {
	case f.shape == mapping && c == '{':
		return d.mapping(f, depth)
	case f.shape != mapping && c == '[':
		return d.list(f, depth)
	}
	return d.dropValue(WrongType)
}

// list reads the elements of a repeated field.
func (d *decoder) list(f *field, depth int) result {
	d.pos++
	d.path.push(elements)
	start := 0
	if f.shape == packed {
		d.tag(f)
		start = d.open()
	}
	for first := true; ; first = false {
		switch d.element(first) {
		case failed:
			return broken
		case ended:
			d.path.pop()
			if f.shape == packed {
				d.close(start)
			}
			return taken
		case found:
		}
		if d.peek() == 'n' && f.element.kind != kindValue {
			if !d.drop(NullElement) {
				return broken
			}
			continue
		}
		if d.value(f.element, depth) == broken {
			return broken
		}
	}
}

// mapping reads the entries of a map.
func (d *decoder) mapping(f *field, depth int) result {
	if depth+1 > MaxNesting {
		return d.dropValue(TooDeep)
	}
	d.path.push(anyKey)
	begin := len(d.out)
	ok := d.entries(f.tag, f.element, depth+1)
	d.path.pop()
	if !ok {
		return broken
	}
	return d.afford(begin, d.sacrifice.freeForm)
}

// value reads a value that is no list and no map, and writes its tag before it.
func (d *decoder) value(f *field, depth int) result {
	switch f.kind {
	case kindString:
		return d.stringValue(f)
	case kindBool:
		return d.boolValue(f)
	case kindInt32, kindInt64, kindUint32, kindUint64:
		return d.intValue(f)
	case kindFloat, kindDouble:
		return d.floatValue(f)
	default:
		if depth+1 > MaxNesting {
			return d.dropValue(TooDeep)
		}
	}
	begin := len(d.out)
	r := d.messageValue(f, depth+1)
	switch {
	case r != taken:
		return r
	case f.kind.freeForm():
		return d.afford(begin, d.sacrifice.freeForm)
	case depth == 1:
		return d.afford(begin, d.sacrifice.nested)
	}
	return taken
}

// afford takes back what was written since begin if it is longer than the limit.
func (d *decoder) afford(begin, limit int) result {
	if len(d.out)-begin <= limit {
		return taken
	}
	d.out = d.out[:begin]
	d.note(TooLarge)
	return dropped
}

// messageValue reads a value that is a message at the given depth.
func (d *decoder) messageValue(f *field, depth int) result {
	c := d.peek()
	switch f.kind {
	case kindTimestamp:
		return d.timestampValue(f)
	case kindValue:
		return d.freeField(f, depth)
	case kindStruct:
		if c == '{' {
			return d.freeField(f, depth)
		}
	case kindListValue:
		if c == '[' {
			return d.freeField(f, depth)
		}
	default:
		if c == '{' {
			d.tag(f)
			start := d.open()
			if !d.message(f.message, depth) {
				return broken
			}
			d.close(start)
			return taken
		}
	}
	return d.dropValue(WrongType)
}

// tag writes the number and wire type of a field.
func (d *decoder) tag(f *field) {
	if f.tag != 0 {
		d.varint(f.tag)
	}
}

// varint writes a number that is mostly one byte.
func (d *decoder) varint(v uint64) {
	if v < 0x80 {
		d.out = append(d.out, byte(v))
		return
	}
	d.out = protowire.AppendVarint(d.out, v)
}

// open reserves one byte for the length of what is written next and returns where that starts. One byte holds the
// length of most messages here; close moves the rest, which costs less than finding out beforehand.
func (d *decoder) open() int {
	d.out = append(d.out, 0)
	return len(d.out)
}

// close writes the length of what has been written since start, and returns by how many bytes it had to be moved.
func (d *decoder) close(start int) int {
	n := len(d.out) - start
	if n < 0x80 {
		d.out[start-1] = byte(n)
		return 0
	}
	extra := protowire.SizeVarint(uint64(n)) - 1
	var more [8]byte
	d.out = append(d.out, more[:extra]...)
	copy(d.out[start+extra:], d.out[start:start+n])
	protowire.AppendVarint(d.out[:start-1], uint64(n))
	return extra
}
