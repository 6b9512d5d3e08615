package daemon

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/keepalive"
)

// age bounds how old the connections of the REST door become, as gRPC does by itself for its own. A connection that is
// too old ends with the answer to its next request: over HTTP/1.1 by closing it, over HTTP/2 by a GOAWAY. Nothing is cut.
type age struct {
	limit   time.Duration // 0: for ever
	leaving atomic.Bool   // the server will stop: every connection is too old
}

type tooOldKey struct{}

// connection is http.Server's ConnContext.
func (a *age) connection(ctx context.Context, _ net.Conn) context.Context {
	if a.limit == 0 {
		return ctx
	}
	// Connections that were made together should not come back together: a tenth more or less, as gRPC has it.
	spread := 0.9 + 0.2*rand.Float64() //nolint:gosec // jitter is no secret
	return context.WithValue(ctx, tooOldKey{}, time.Now().Add(time.Duration(spread*float64(a.limit))))
}

// handler asks clients of connections that are too old to make another. net/http turns the header into what the protocol
// has for it.
func (a *age) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tooOld, ok := r.Context().Value(tooOldKey{}).(time.Time)
		if a.leaving.Load() || ok && time.Now().After(tooOld) {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// keepalive is the same for gRPC. No call is cut: each has ended within longest. Streams, such as health's Watch, are.
func (a *age) keepalive(longest time.Duration) keepalive.ServerParameters {
	return keepalive.ServerParameters{
		Time: time.Minute, Timeout: 20 * time.Second, MaxConnectionAge: a.limit, MaxConnectionAgeGrace: longest,
	}
}
