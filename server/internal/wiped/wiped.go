// Package wiped is memory for answers that is used again without a secret staying in it: answers hold codes and tokens,
// and a buffer that is given back is cleared before anybody else can be handed it.
//
// It knows gRPC's interface of a pool of buffers and nothing else.
package wiped

import "google.golang.org/grpc/mem"

// Buffers is the pool, for whoever gives back by gRPC's rules. More may have been written into a buffer than it holds in
// the end, so that all of it is cleared.
var Buffers mem.BufferPool = pool{tiers()}

// Get returns n bytes, all zero. They belong to the caller, who may give them back or leave them to the garbage collector,
// which does not clear them.
func Get(n int) []byte { return *Buffers.Get(n) }

// Put gives a buffer back. The caller must hold the only reference to it, and not use it any more. It may have been made
// elsewhere.
func Put(buffer []byte) { Buffers.Put(&buffer) }

type pool struct{ mem.BufferPool }

// Put implements mem.BufferPool.
func (p pool) Put(buffer *[]byte) {
	clear((*buffer)[:cap(*buffer)])
	p.BufferPool.Put(buffer)
}

// tiers has buffers of 8 KB, in which a usual answer has room, up to 128 KB. All that are larger are one tier.
func tiers() mem.BufferPool {
	p, err := mem.NewBinaryTieredBufferPool(13, 14, 15, 16, 17)
	if err != nil {
		panic(err) // not with these sizes
	}
	return p
}
