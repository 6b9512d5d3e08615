// Package batching has calls that are under way at the same time do the same things at the same time.
//
// Under load many calls become ready at once. Left alone, each would go on until it has to wait, and by the time that
// the next comes to the same place, code, tables and branches have left the processor's caches. Where a call has come
// to the end of a step, it therefore lets the others come as far; and the doors write less often, each time more. Nothing
// waits: a goroutine that yields runs again when those that are ready have had their turn.
//
// docs/performance.md has what it brings. The package knows connections, the pool of buffers, and how many calls there are.
package batching

import (
	"runtime"
	"sync/atomic"
)

// few is how many calls it takes for anybody to yield. Below, what would run meanwhile is mostly what the transports do
// after an answer, which had better wait until the call is answered.
const few = 8

// underWay is the number of calls in this process: what they share, its processor, is the process's too.
var underWay atomic.Int64

// Begin tells of a call, until end is called.
func Begin() (end func()) {
	underWay.Add(1)
	return ended
}

func ended() { underWay.Add(-1) }

// Yield lets other calls that are ready come as far, if there are more than a few. It belongs between two steps of some
// length, and never where a lock is held.
func Yield() {
	if underWay.Load() >= few {
		runtime.Gosched()
	}
}
