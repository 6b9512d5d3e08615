// Package meter lets the bench read how much a Go server allocates, in the words in which the real server says it. It
// knows nothing of what the server does.
package meter

import (
	"fmt"
	"net/http"
	"runtime"
)

// Handler serves the number of allocations since the start of the process, as Prometheus' collector for Go names it.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		_, _ = fmt.Fprintf(w, "go_memstats_mallocs_total %d\n", stats.Mallocs)
	})
}
