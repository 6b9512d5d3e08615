package transcode

import "bytes"

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
