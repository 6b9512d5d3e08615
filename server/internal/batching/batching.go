// Package batching has calls that are under way at the same time do the same things at the same time.
//
// Under load many calls become ready at once. Left alone, each would go on until it has to wait, and by the time that
// the next comes to the same place, code, tables and branches have left the processor's caches. Where a call has come
// to the end of a step, it therefore lets the others come as far; and the doors write less often, each time more. A server
// with nothing else to do does not wait: a goroutine that yields runs again when those that are ready have had their turn.
//
// docs/performance.md has what it brings. The package knows connections and the pool of buffers, and no call.
package batching

import "runtime"

// Yield lets other calls that are ready come as far. It belongs between two steps of some length, and never where a lock
// is held.
func Yield() { runtime.Gosched() }
