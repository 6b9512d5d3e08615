package transcode

import "bytes"

// The tags of an entry of a map: its key, and its value if that is a message.
const (
	entryKey   = 1<<3 | 2
	entryValue = 2<<3 | 2
)

// entries reads an object into the entries of a map, each a message at the given depth; pos is at the opening brace. The
// values are of the type of element or, in a Struct, where that is nil, anything.
func (d *decoder) entries(tag uint64, element *field, depth int) bool {
	d.pos++
	own := d.keys.enter()
	for first := true; ; first = false {
		if step := d.name(first); step != found {
			d.keys.leave(own)
			return step == ended
		}
		begin := len(d.out)
		d.varint(tag)
		start := d.open()
		d.out = append(d.out, entryKey)
		key, ok := d.anyText()
		if !ok || !d.colon() {
			return false
		}
		var r result
		switch {
		case d.known(&own, key):
			r = d.dropValue(Duplicate)
		case element == nil:
			r = d.free(entryValue, kindValue, depth+1)
		case d.peek() == 'n' && element.kind != kindValue:
			r = d.dropValue(NullElement)
		default:
			r = d.value(element, depth)
		}
		switch r {
		case broken:
			return false
		case dropped:
			d.out = d.out[:begin]
		case taken:
			d.remember(&own, key.shift(d.close(start)))
		}
	}
}

// span is a range of the bytes written.
type span struct{ start, end int }

func (s span) shift(by int) span { return span{s.start + by, s.end + by} }

// keys is a stack of the keys of the free-form objects and maps that are open, so that a second one is recognised.
type keys struct {
	spans  [32]span
	length int
}

// ownKeys is the keys of one object: those of the stack from first on or, once the stack was full, all in the index.
type ownKeys struct {
	first int
	index map[string]struct{}
}

func (k *keys) enter() ownKeys { return ownKeys{first: k.length} }

func (k *keys) leave(own ownKeys) { k.length = own.first }

// known says whether the object has had the key before, with a value that was written. Decoders would let the last one
// stand, but then whoever can add to the end of an object could replace what came before.
func (d *decoder) known(own *ownKeys, key span) bool {
	b := d.out[key.start:key.end]
	if own.index != nil {
		_, ok := own.index[string(b)]
		return ok
	}
	for _, k := range d.keys.spans[own.first:d.keys.length] {
		if bytes.Equal(d.out[k.start:k.end], b) {
			return true
		}
	}
	return false
}

// remember adds a key once its entry is where it stays until the object ends.
func (d *decoder) remember(own *ownKeys, key span) {
	k := &d.keys
	if own.index == nil && k.length < len(k.spans) {
		k.spans[k.length] = key
		k.length++
		return
	}
	if own.index == nil {
		own.index = make(map[string]struct{})
		for _, s := range k.spans[own.first:k.length] {
			own.index[string(d.out[s.start:s.end])] = struct{}{}
		}
		k.length = own.first
	}
	own.index[string(d.out[key.start:key.end])] = struct{}{}
}
