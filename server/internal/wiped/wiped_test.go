package wiped

import (
	"bytes"
	"testing"
)

// TestPutLeavesNothing looks at a buffer after it was given back, at what was written beyond its end too.
func TestPutLeavesNothing(t *testing.T) {
	for _, size := range []int{1, 5 << 10, 8 << 10, 100 << 10, 1 << 20} {
		buffer := Get(size)
		whole := buffer[:cap(buffer)]
		for i := range whole {
			whole[i] = 's'
		}
		Put(buffer[:size/2])
		if at := bytes.IndexByte(whole, 's'); at >= 0 {
			t.Errorf("%d bytes: byte %d of %d is still there", size, at, len(whole))
		}
	}
}

func TestGet(t *testing.T) {
	for _, size := range []int{0, 1, 5 << 10, 8 << 10, 100 << 10, 1 << 20} {
		if got := Get(size); len(got) != size || bytes.Count(got, []byte{0}) != size {
			t.Errorf("%d bytes: got %d, of them %d zero", size, len(got), bytes.Count(got, []byte{0}))
		}
	}
	Put(nil)
	Put(make([]byte, 100)) // was made elsewhere, and is too small to be kept
	if got := Get(100); len(got) != 100 {
		t.Errorf("got %d bytes, want 100", len(got))
	}
}
