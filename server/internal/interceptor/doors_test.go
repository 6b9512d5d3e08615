package interceptor_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/inproc"
	"recoverycodes.internal/server/internal/interceptor"
	"recoverycodes.internal/server/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is the longest time that a handler is given. No test waits for it on a real clock.
const limit = time.Minute

// service answers Recover with a function: nil is an empty answer.
type service struct {
	recoverycodesv1.UnimplementedRecoveryCodesServiceServer
	handle func(context.Context) error
}

func (s service) Recover(ctx context.Context, _ *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
	return &recoverycodesv1.RecoverResponse{}, s.handle(ctx)
}

func done(ctx context.Context) error {
	call.FromContext(ctx).Outcome = call.Done
	return nil
}

// house is the chain around a service, as the server builds it for both doors.
type house struct {
	calls    interceptor.InFlight
	observer *telemetry.Observer
	lines    *observer.ObservedLogs
	corridor *inproc.Channel
	server   *grpc.Server
}

func build(handle func(context.Context) error, options ...zap.Option) *house {
	core, lines := observer.New(zap.DebugLevel)
	h := &house{observer: telemetry.NewObserver(zap.New(core, options...), nil), lines: lines}
	chain := interceptor.Chain{Calls: &h.calls, Observer: h.observer, Guard: access.Anyone(), Limit: limit}
	h.corridor = inproc.New(chain.Unary()...)
	h.server = grpc.NewServer(grpc.ChainUnaryInterceptor(chain.Unary()...), grpc.ChainStreamInterceptor(chain.Stream()...))
	for _, registrar := range []grpc.ServiceRegistrar{h.corridor, h.server} {
		recoverycodesv1.RegisterRecoveryCodesServiceServer(registrar, service{handle: handle})
		healthpb.RegisterHealthServer(registrar, health.NewServer())
	}
	return h
}

// serve serves gRPC on loopback until the test ends, and returns a connection there.
func (h *house) serve(t *testing.T) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		h.server.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return conn
}

// settled waits until no call is open and all lines are written.
func (h *house) settled(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if left := h.calls.Wait(ctx); left != 0 {
		t.Fatalf("%d calls do not end", left)
	}
}

// metric returns the value of a series when all calls have ended, empty when there is none.
func (h *house) metric(t *testing.T, name string) string {
	t.Helper()
	h.settled(t)
	w := httptest.NewRecorder()
	h.observer.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// reply is everything that a caller gets to see.
type reply struct {
	err             error
	header, trailer metadata.MD
}

// A door is a way to call Recover. An empty proposal is none.
type door struct {
	name    call.Door
	conn    grpc.ClientConnInterface
	recover func(ctx context.Context, proposed string) reply
}

func recoverOver(ctx context.Context, conn grpc.ClientConnInterface) (r reply) {
	_, r.err = recoverycodesv1.NewRecoveryCodesServiceClient(conn).Recover(ctx, &recoverycodesv1.RecoverRequest{},
		grpc.Header(&r.header), grpc.Trailer(&r.trailer))
	return r
}

func (h *house) grpcDoor(t *testing.T) door {
	conn := h.serve(t)
	return door{call.GRPC, conn, func(ctx context.Context, proposed string) reply {
		if proposed != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, call.RequestIDKey, proposed)
		}
		return recoverOver(ctx, conn)
	}}
}

// restDoor does what the gateway does around a call: it starts the record, and ends it when the corridor has.
func (h *house) restDoor() door {
	return door{call.REST, h.corridor, func(ctx context.Context, proposed string) reply {
		record := call.New(call.REST, proposed)
		r := recoverOver(call.NewContext(ctx, record), h.corridor)
		var failure *apierror.Error
		if r.err != nil {
			failure = apierror.From(r.err)
		}
		h.observer.Ended(record, failure)
		return r
	}}
}

// throughBothDoors runs test once for each door, each time with a house of its own.
func throughBothDoors(t *testing.T, handle func(context.Context) error, test func(*testing.T, *house, door)) {
	t.Helper()
	t.Run("grpc", func(t *testing.T) {
		h := build(handle)
		test(t, h, h.grpcDoor(t))
	})
	t.Run("rest", func(t *testing.T) {
		h := build(handle)
		test(t, h, h.restDoor())
	})
}

// accessLine returns the one access line there must be when all calls have ended.
func (h *house) accessLine(t *testing.T) observer.LoggedEntry {
	t.Helper()
	h.settled(t)
	calls := h.lines.FilterMessage("call").All()
	if len(calls) != 1 {
		t.Fatalf("%d access lines, want 1: %v", len(calls), calls)
	}
	return calls[0]
}

// detail returns the detail of an error that has the type of D, or nil.
func detail[D any](err error) *D {
	for _, d := range status.Convert(err).Details() {
		if d, ok := d.(*D); ok {
			return d
		}
	}
	return nil
}

func reason(err error) string {
	if info := detail[errdetails.ErrorInfo](err); info != nil {
		return info.GetReason()
	}
	return ""
}
