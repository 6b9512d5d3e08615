package wiped

import "testing"

// BenchmarkPut is the price of the clearing: a buffer for a usual answer is taken and given back, cleared and as it is.
func BenchmarkPut(b *testing.B) {
	const answer = 5 << 10
	b.Run("cleared", func(b *testing.B) {
		for b.Loop() {
			Put(Get(answer))
		}
	})
	b.Run("as it is", func(b *testing.B) {
		buffers := tiers()
		for b.Loop() {
			buffers.Put(buffers.Get(answer))
		}
	})
}
