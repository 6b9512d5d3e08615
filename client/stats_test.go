package client_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
)

// A counter counts the attempts that gRPC makes, and marks them for the service.
type counter struct{ begun, failed atomic.Int64 }

func (*counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "traceparent", "00-1-2-01")
}

func (c *counter) HandleRPC(_ context.Context, s stats.RPCStats) {
	switch s := s.(type) {
	case *stats.Begin:
		c.begun.Add(1)
	case *stats.End:
		if s.Error != nil {
			c.failed.Add(1)
		}
	}
}

func (*counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*counter) HandleConn(context.Context, stats.ConnStats)                       {}

func TestStatsHandler(t *testing.T) {
	var marks []string
	svc := reporting(func(ctx context.Context) {
		md, _ := metadata.FromIncomingContext(ctx)
		marks = append(marks, md.Get("traceparent")...)
	})
	var first, second counter
	c := newClient(t, servicetest.Start(t, svc).Addr, client.WithInsecure(),
		client.WithStatsHandler(&first), client.WithStatsHandler(&second))
	for method, call := range rpcs {
		if err := call(t.Context(), c); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
	}
	for _, got := range []*counter{&first, &second} {
		if got.begun.Load() != 3 || got.failed.Load() != 0 {
			t.Errorf("the handler saw %d calls and %d failures, want 3 and none", got.begun.Load(), got.failed.Load())
		}
	}
	if want := slices.Repeat([]string{"00-1-2-01"}, 6); !slices.Equal(marks, want) {
		t.Errorf("the service was given the traces %q, want 3 from each handler", marks)
	}
	if _, err := client.New("127.0.0.1:1", client.WithInsecure(), client.WithStatsHandler(nil)); err == nil {
		t.Error("New took a nil handler")
	}
}
