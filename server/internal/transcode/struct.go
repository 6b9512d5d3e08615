package transcode

import (
	"encoding/binary"
	"math"
)

// The tags of google.protobuf.Struct, Value and ListValue.
const (
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
	r := d.free(f.tag, f.kind, depth)
	d.path.pop()
	return r
}

// free reads a Struct, Value or ListValue at the given depth and writes it after its tag and length, or nothing.
func (d *decoder) free(tag uint64, k kind, depth int) result {
	begin := len(d.out)
	d.varint(tag)
	start := d.open()
	var r result
	switch k {
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
	return r
}

// freeValue reads anything into the body of a Value at the given depth.
func (d *decoder) freeValue(depth int) result {
	switch d.peek() {
	case '"':
		d.out = append(d.out, valueString)
		if _, ok := d.anyText(); !ok {
			return broken
		}
		return taken
	case '{':
		return d.free(valueStruct, kindStruct, depth+1)
	case '[':
		return d.free(valueList, kindListValue, depth+1)
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

// freeObject reads an object into the body of a Struct at the given depth.
func (d *decoder) freeObject(depth int) result {
	if depth+belowStruct > MaxNesting {
		return d.dropValue(TooDeep)
	}
	if !d.entries(structFields, nil, depth+1) {
		return broken
	}
	return taken
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
		switch d.free(listValues, kindValue, depth+belowList) {
		case broken:
			return broken
		case dropped:
			// The others keep their places.
			d.out = append(d.out, listValues, 2, valueNull, 0)
		case taken:
		}
	}
}
