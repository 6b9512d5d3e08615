package transcode

import (
	"encoding/binary"
	"math"
)

// The tags of google.protobuf.Struct, Value and ListValue, and of the entries of any map.
const (
	entryKey   = 1<<3 | 2
	entryValue = 2<<3 | 2

	structFields = 1<<3 | 2
	listValues   = 1<<3 | 2

	valueNull   = 1 << 3
	valueNumber = 2<<3 | 1
	valueString = 3<<3 | 2
	valueBool   = 4 << 3
	valueStruct = 5<<3 | 2
	valueList   = 6<<3 | 2
)

// What has to fit below a container so that its elements do: an entry and its Value below a Struct, a Value below a ListValue.
const (
	belowStruct = 2
	belowList   = 1
)

// freeField reads a field that is a Struct, Value or ListValue at the given depth.
func (d *decoder) freeField(f *field, depth int) result {
	d.path.push(anyKey)
	begin := len(d.out)
	d.tag(f)
	start := d.open()
	var r result
	switch f.kind {
	case kindStruct:
		r = d.freeObject(depth)
	case kindListValue:
		r = d.freeList(depth)
	default:
		r = d.freeValue(depth)
	}
	if r == taken {
		d.close(start)
	} else {
		d.out = d.out[:begin]
	}
	d.path.pop()
	return r
}

// freeValue reads anything into the body of a Value at the given depth.
func (d *decoder) freeValue(depth int) result {
	switch d.peek() {
	case '"':
		t, ok := d.text()
		if !ok {
			return broken
		}
		d.out = append(d.out, valueString)
		d.appendText(t)
		return taken
	case '{':
		return d.freeNested(valueStruct, depth+1)
	case '[':
		return d.freeNested(valueList, depth+1)
	case 't':
		d.out = append(d.out, valueBool, 1)
		return d.freeLiteral("true")
	case 'f':
		d.out = append(d.out, valueBool, 0)
		return d.freeLiteral("false")
	case 'n':
		d.out = append(d.out, valueNull, 0)
		return d.freeLiteral("null")
	}
	digits, ok := d.number()
	if !ok {
		return broken
	}
	v, ok := d.double(digits, 64)
	if !ok {
		return dropped
	}
	d.out = append(d.out, valueNumber)
	d.out = binary.LittleEndian.AppendUint64(d.out, math.Float64bits(v))
	return taken
}

func (d *decoder) freeLiteral(want string) result {
	if d.literal(want) {
		return taken
	}
	return broken
}

// freeNested reads an object or a list into a Value, as the Struct or ListValue at the given depth.
func (d *decoder) freeNested(tag byte, depth int) result {
	begin := len(d.out)
	d.out = append(d.out, tag)
	start := d.open()
	var r result
	if tag == valueStruct {
		r = d.freeObject(depth)
	} else {
		r = d.freeList(depth)
	}
	if r == taken {
		d.close(start)
	} else {
		d.out = d.out[:begin]
	}
	return r
}

// freeObject reads an object into the body of a Struct at the given depth.
func (d *decoder) freeObject(depth int) result {
	if depth+belowStruct > MaxNesting {
		return d.dropValue(TooDeep)
	}
	d.pos++
	own := d.keys.enter()
	for first := true; ; first = false {
		name, step := d.member(first)
		if step == failed {
			return broken
		}
		if step == ended {
			d.keys.leave(own)
			return taken
		}
		entry := len(d.out)
		d.out = append(d.out, structFields, 0, entryKey)
		key := d.appendText(name)
		var r result
		if d.known(&own, key) {
			r = d.dropValue(Duplicate)
		} else {
			d.out = append(d.out, entryValue, 0)
			value := len(d.out)
			if r = d.freeValue(depth + belowStruct); r == taken {
				d.close(value)
			}
		}
		switch r {
		case broken:
			return broken
		case dropped:
			d.out = d.out[:entry]
		case taken:
			d.remember(&own, key.shift(d.close(entry+2)))
		}
	}
}

// freeList reads a list into the body of a ListValue at the given depth.
func (d *decoder) freeList(depth int) result {
	if depth+belowList > MaxNesting {
		return d.dropValue(TooDeep)
	}
	d.pos++
	for first := true; ; first = false {
		switch d.element(first) {
		case failed:
			return broken
		case ended:
			return taken
		case found:
		}
		begin := len(d.out)
		d.out = append(d.out, listValues, 0)
		value := len(d.out)
		switch d.freeValue(depth + belowList) {
		case broken:
			return broken
		case dropped:
			// The others keep their places.
			d.out = append(d.out[:begin], listValues, 2, valueNull, 0)
		case taken:
			d.close(value)
		}
	}
}
