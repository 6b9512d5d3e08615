package interceptor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
)

// talking builds a house that has a stream besides, answered by handle.
func talking(handle func(grpc.ServerStream) error) *house {
	h := build(done)
	h.server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Streams",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "Talk", ServerStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return handle(stream) },
		}},
	}, nil)
	return h
}

// talk opens the stream and returns how it ended.
func talk(ctx context.Context, conn *grpc.ClientConn) error {
	ctx = metadata.AppendToOutgoingContext(ctx, call.RequestIDKey, "id-1")
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/test.Streams/Talk")
	if err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.RecvMsg(&healthpb.HealthCheckResponse{}); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func TestStream(t *testing.T) {
	tests := []struct {
		name   string
		handle func(grpc.ServerStream) error
		code   codes.Code
		reason string
		panics string
	}{
		{"ends well", func(grpc.ServerStream) error { return nil }, codes.OK, "", "0"},
		{"refuses", func(grpc.ServerStream) error {
			return &apierror.Error{Code: codes.NotFound, Reason: "NO_SUCH_SERVICE", Message: "no such service"}
		}, codes.NotFound, "NO_SUCH_SERVICE", "0"},
		{"fails", func(grpc.ServerStream) error { return errors.New(marked) }, codes.Internal, "INTERNAL", "0"},
		{"fails in a library", func(grpc.ServerStream) error { return status.Error(codes.Canceled, marked) }, codes.Canceled, "CANCELLED", "0"},
		{"panics", func(grpc.ServerStream) error { panic(marked) }, codes.Internal, "INTERNAL", "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := talking(tt.handle)
			conn := h.serve(t)
			err := talk(t.Context(), conn)
			if status.Code(err) != tt.code || reason(err) != tt.reason {
				t.Errorf("got %v %s, want %v %s", err, reason(err), tt.code, tt.reason)
			}
			shows(t, h, reply{err: err}, marked, false)
			line := h.accessLine(t).ContextMap()
			for key, want := range map[string]string{
				"method": "test.Streams/Talk", "door": "grpc", "code": tt.code.String(), "request_id": "id-1",
			} {
				if got := fmt.Sprint(line[key]); got != want {
					t.Errorf("the access line has the %s %q, want %q", key, got, want)
				}
			}
			if got := h.metric(t, "recoverycodes_panics_total"); got != tt.panics {
				t.Errorf("%s panics were counted, want %s", got, tt.panics)
			}
			if r := recoverOver(t.Context(), conn); r.err != nil {
				t.Errorf("the next call failed: %v", r.err)
			}
		})
	}
}

func TestStreamHasNoDeadline(t *testing.T) {
	h := talking(func(stream grpc.ServerStream) error {
		if at, ok := stream.Context().Deadline(); ok {
			t.Errorf("the stream has the deadline %v, and its caller gave none", at)
		}
		return nil
	})
	if err := talk(t.Context(), h.serve(t)); err != nil {
		t.Fatal(err)
	}
}

// TestHealthWatch is the one stream that balancers keep open: its line is for nobody.
func TestHealthWatch(t *testing.T) {
	h := build(done)
	conn := h.serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	h.server.GracefulStop() // returns when the handler has
	if line := h.accessLine(t); line.Level != zap.DebugLevel || line.ContextMap()["code"] != "Canceled" {
		t.Errorf("the line is %v %v", line.Level, line.ContextMap())
	}
}
