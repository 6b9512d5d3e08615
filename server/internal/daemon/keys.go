package daemon

import (
	"context"

	"recoverycodes.internal/server/internal/gateway"
)

// sessionKeys has the upstream's session keys fetched for the REST door, which knows no upstream.
func (s *server) sessionKeys(ctx context.Context) gateway.Fetched {
	x := s.upstream.SessionKeys(ctx)
	return gateway.Fetched{Status: x.Status, Body: x.Body, Fault: string(x.Fault)}
}
