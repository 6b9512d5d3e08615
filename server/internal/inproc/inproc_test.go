package inproc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	organizationsv1 "recoverycodes.internal/gen/go/stytch/b2b/organizations/v1"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/inproc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service answers Get with a function.
type service struct {
	recoverycodesv1.UnimplementedRecoveryCodesServiceServer
	get func(context.Context, *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error)
}

func (s service) Get(ctx context.Context, req *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
	return s.get(ctx, req)
}

type handler = func(context.Context, *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error)

func connect(get handler, interceptors ...grpc.UnaryServerInterceptor) recoverycodesv1.RecoveryCodesServiceClient {
	c := inproc.New(interceptors...)
	recoverycodesv1.RegisterRecoveryCodesServiceServer(c, service{get: get})
	return recoverycodesv1.NewRecoveryCodesServiceClient(c)
}

// seeing answers with an empty message and shows the handler's context to see.
func seeing(see func(context.Context)) handler {
	return func(ctx context.Context, _ *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
		see(ctx)
		return &recoverycodesv1.GetResponse{}, nil
	}
}

func failing(err error) handler {
	return func(context.Context, *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
		return nil, err
	}
}

func TestAnswer(t *testing.T) {
	client := connect(func(_ context.Context, req *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
		return &recoverycodesv1.GetResponse{
			MemberId: req.GetMemberId(), RecoveryCodes: []string{req.GetOrganizationId()}, StatusCode: 200,
		}, nil
	})
	got, err := client.Get(t.Context(), &recoverycodesv1.GetRequest{OrganizationId: "organization-1", MemberId: "member-1"})
	if err != nil {
		t.Fatal(err)
	}
	want := &recoverycodesv1.GetResponse{MemberId: "member-1", RecoveryCodes: []string{"organization-1"}, StatusCode: 200}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

func TestInterceptorsRunInOrderOnce(t *testing.T) {
	for n := range 4 {
		t.Run(fmt.Sprint(n, " interceptors"), func(t *testing.T) {
			var steps, want []string
			var interceptors []grpc.UnaryServerInterceptor
			for i := range n {
				interceptors = append(interceptors, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					steps = append(steps, fmt.Sprint("into ", i, " ", info.FullMethod))
					defer func() { steps = append(steps, fmt.Sprint("out of ", i)) }()
					return next(ctx, req)
				})
				want = append(want, fmt.Sprint("into ", i, " ", recoverycodesv1.RecoveryCodesService_Get_FullMethodName))
			}
			want = append(want, "handler")
			for i := range n {
				want = append(want, fmt.Sprint("out of ", n-1-i))
			}
			client := connect(seeing(func(context.Context) { steps = append(steps, "handler") }), interceptors...)
			for range 2 { // the second call must not find the first one's chain
				steps = nil
				if _, err := client.Get(t.Context(), &recoverycodesv1.GetRequest{}); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, steps); diff != "" {
					t.Errorf("steps (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestInterceptorsMayReplace has one interceptor exchange context, request and answer.
func TestInterceptorsMayReplace(t *testing.T) {
	type key struct{}
	replace := func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		answer, err := next(context.WithValue(ctx, key{}, "value"), &recoverycodesv1.GetRequest{MemberId: "replaced"})
		if err != nil {
			return nil, err
		}
		return &recoverycodesv1.GetResponse{RequestId: answer.(*recoverycodesv1.GetResponse).GetRequestId() + ", replaced"}, nil
	}
	client := connect(func(ctx context.Context, req *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
		return &recoverycodesv1.GetResponse{RequestId: fmt.Sprint(ctx.Value(key{}), " ", req.GetMemberId())}, nil
	}, replace)
	got, err := client.Get(t.Context(), &recoverycodesv1.GetRequest{MemberId: "original"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "value replaced, replaced"; got.GetRequestId() != want {
		t.Errorf("got %q, want %q", got.GetRequestId(), want)
	}
}

func TestErrorIsTheSameValue(t *testing.T) {
	refusal := &apierror.Error{Code: codes.NotFound, Reason: "MEMBER_NOT_FOUND", Message: "No such member.", NeverRetry: true}
	_, err := connect(failing(refusal)).Get(t.Context(), &recoverycodesv1.GetRequest{})
	var got *apierror.Error
	if !errors.As(err, &got) || got != refusal {
		t.Errorf("got %#v, want the handler's own value", err)
	}

	stray := errors.New("stray")
	if _, err := connect(failing(stray)).Get(t.Context(), &recoverycodesv1.GetRequest{}); !errors.Is(err, stray) {
		t.Errorf("got %#v, want the handler's own value", err)
	}

	refuse := func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { return nil, refusal }
	unreached := seeing(func(context.Context) { t.Error("the handler ran although an interceptor refused") })
	if _, err := connect(unreached, refuse).Get(t.Context(), &recoverycodesv1.GetRequest{}); !errors.Is(err, refusal) {
		t.Errorf("got %#v, want the interceptor's own value", err)
	}
}

func TestHeaderAndTrailer(t *testing.T) {
	for _, fails := range []error{nil, status.Error(codes.NotFound, "no")} {
		client := connect(func(ctx context.Context, _ *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
			for _, err := range []error{
				grpc.SetHeader(ctx, metadata.Pairs("one", "1")),
				grpc.SetTrailer(ctx, metadata.Pairs("last", "a")),
				grpc.SendHeader(ctx, metadata.Pairs("one", "2", "two", "3")),
				grpc.SetTrailer(ctx, metadata.Pairs("last", "b")),
			} {
				if err != nil {
					t.Error(err)
				}
			}
			if grpc.SetHeader(ctx, metadata.Pairs("late", "1")) == nil || grpc.SendHeader(ctx, nil) == nil {
				t.Error("a header could be set after it was sent")
			}
			return &recoverycodesv1.GetResponse{}, fails
		})
		var header, trailer metadata.MD
		_, err := client.Get(t.Context(), &recoverycodesv1.GetRequest{}, grpc.Header(&header), grpc.Trailer(&trailer), grpc.WaitForReady(true))
		if status.Code(err) != status.Code(fails) {
			t.Fatalf("got %v, want %v", err, fails)
		}
		if diff := cmp.Diff(metadata.Pairs("one", "1", "one", "2", "two", "3"), header); diff != "" {
			t.Errorf("with the error %v, header (-want +got):\n%s", fails, diff)
		}
		if diff := cmp.Diff(metadata.Pairs("last", "a", "last", "b"), trailer); diff != "" {
			t.Errorf("with the error %v, trailer (-want +got):\n%s", fails, diff)
		}
	}
}

func TestMethodIsKnownToTheHandler(t *testing.T) {
	client := connect(seeing(func(ctx context.Context) {
		if got, ok := grpc.Method(ctx); !ok || got != recoverycodesv1.RecoveryCodesService_Get_FullMethodName {
			t.Errorf("the method is %q", got)
		}
	}))
	if _, err := client.Get(t.Context(), &recoverycodesv1.GetRequest{}); err != nil {
		t.Fatal(err)
	}
}

// TestMetadata holds that what a caller sends arrives, and that a handler which calls on does not pass it along.
func TestMetadata(t *testing.T) {
	tests := []struct {
		name string
		ctx  func(context.Context) context.Context
		want metadata.MD
	}{
		{"none", func(ctx context.Context) context.Context { return ctx }, metadata.MD{}},
		{
			"outgoing", func(ctx context.Context) context.Context {
				return metadata.AppendToOutgoingContext(ctx, "x-request-id", "id-1", "many", "a", "many", "b")
			},
			metadata.Pairs("x-request-id", "id-1", "many", "a", "many", "b"),
		},
		{
			"incoming of another call is not this one's", func(ctx context.Context) context.Context {
				return metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "other"))
			},
			metadata.MD{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ran := false
			client := connect(seeing(func(ctx context.Context) {
				ran = true
				in, ok := metadata.FromIncomingContext(ctx)
				if !ok {
					t.Error("there is no incoming metadata")
				}
				if diff := cmp.Diff(tt.want, in); diff != "" {
					t.Errorf("incoming (-want +got):\n%s", diff)
				}
				if out, _ := metadata.FromOutgoingContext(ctx); len(out) != 0 {
					t.Errorf("still outgoing: %v", out)
				}
			}))
			if _, err := client.Get(tt.ctx(t.Context()), &recoverycodesv1.GetRequest{}); err != nil || !ran {
				t.Fatalf("the handler ran: %v; error %v", ran, err)
			}
		})
	}
}

func TestContextValuesPass(t *testing.T) {
	record := call.New(call.REST, "id-1")
	client := connect(seeing(func(ctx context.Context) { call.FromContext(ctx).Outcome = call.Done }))
	if _, err := client.Get(call.NewContext(t.Context(), record), &recoverycodesv1.GetRequest{}); err != nil {
		t.Fatal(err)
	}
	if record.Outcome != call.Done {
		t.Error("what the handler wrote into the record did not reach the door")
	}
}

func TestPeer(t *testing.T) {
	given := &peer.Peer{}
	for name, tt := range map[string]struct {
		ctx  context.Context
		want func(*peer.Peer) bool
	}{
		"the door's own": {peer.NewContext(t.Context(), given), func(p *peer.Peer) bool { return p == given }},
		"none":           {t.Context(), func(p *peer.Peer) bool { return p.Addr.Network() == "inproc" && p.Addr.String() == "inproc" }},
	} {
		t.Run(name, func(t *testing.T) {
			client := connect(seeing(func(ctx context.Context) {
				if p, ok := peer.FromContext(ctx); !ok || !tt.want(p) {
					t.Errorf("the peer is %v", p)
				}
			}))
			if _, err := client.Get(tt.ctx, &recoverycodesv1.GetRequest{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestDeadlineAndCancellationPass(t *testing.T) {
	at := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), at)
	defer cancel()
	client := connect(func(ctx context.Context, _ *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
		if got, ok := ctx.Deadline(); !ok || !got.Equal(at) {
			t.Errorf("the handler's deadline is %v, want %v", got, at)
		}
		cancel() // the caller goes away while the handler runs
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if _, err := client.Get(ctx, &recoverycodesv1.GetRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the handler's context.Canceled", err)
	}
}

func TestUnknownMethod(t *testing.T) {
	known, empty := inproc.New(), inproc.New()
	recoverycodesv1.RegisterRecoveryCodesServiceServer(known, service{})
	const get = recoverycodesv1.RecoveryCodesService_Get_FullMethodName
	for name, tt := range map[string]struct {
		channel *inproc.Channel
		method  string
	}{
		"nothing registered": {empty, get},
		"another method":     {known, "/stytch.b2b.recoverycodes.v1.RecoveryCodesService/Delete"},
		"another service":    {known, "/grpc.health.v1.Health/Check"},
		"no leading slash":   {known, get[1:]},
		"no name":            {known, ""},
	} {
		err := tt.channel.Invoke(t.Context(), tt.method, &recoverycodesv1.GetRequest{}, &recoverycodesv1.GetResponse{})
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: got %v, want UNIMPLEMENTED", name, err)
		}
	}
}

func TestStreamsAreRefused(t *testing.T) {
	stream, err := inproc.New().NewStream(t.Context(), &grpc.StreamDesc{}, "/grpc.health.v1.Health/Watch")
	if stream != nil || status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v and %v, want UNIMPLEMENTED", stream, err)
	}
}

func TestWhatIsNoMessage(t *testing.T) {
	answering := func(answer any) grpc.UnaryServerInterceptor {
		return func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { return answer, nil }
	}
	tests := []struct {
		name        string
		interceptor grpc.UnaryServerInterceptor
		args, reply any
	}{
		{"request", answering(&recoverycodesv1.GetResponse{}), "text", &recoverycodesv1.GetResponse{}},
		{"reply", answering(&recoverycodesv1.GetResponse{}), &recoverycodesv1.GetRequest{}, new(string)},
		{"answer", answering("text"), &recoverycodesv1.GetRequest{}, &recoverycodesv1.GetResponse{}},
		{"no answer and no error", answering(nil), &recoverycodesv1.GetRequest{}, &recoverycodesv1.GetResponse{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := inproc.New(tt.interceptor)
			recoverycodesv1.RegisterRecoveryCodesServiceServer(c, service{})
			err := c.Invoke(t.Context(), recoverycodesv1.RecoveryCodesService_Get_FullMethodName, tt.args, tt.reply)
			if status.Code(err) != codes.Internal {
				t.Errorf("got %v, want INTERNAL", err)
			}
		})
	}
}

// TestNothingIsShared has the handler overwrite its answer and its request after the call, byte for byte.
func TestNothingIsShared(t *testing.T) {
	unknown := protowire.AppendString(protowire.AppendTag(nil, 5, protowire.BytesType), "ckss-2skx-ebow")
	const field = 900 // one that the contract does not have
	unknown = protowire.AppendString(protowire.AppendTag(unknown, field, protowire.BytesType), "later")
	wire := append([]byte(nil), unknown...)
	var (
		answer *recoverycodesv1.GetResponse
		got    *recoverycodesv1.GetRequest
	)
	client := connect(func(_ context.Context, req *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
		got = req
		answer = &recoverycodesv1.GetResponse{
			Member: &organizationsv1.Member{Name: "Ada"}, RecoveryCodes: []string{"one", "two"},
		}
		answer.ProtoReflect().SetUnknown(wire)
		return answer, nil
	})
	sent := &recoverycodesv1.GetRequest{MemberId: "member-1"}
	sent.ProtoReflect().SetUnknown(append([]byte(nil), unknown...))
	sentBefore := proto.Clone(sent)
	reply, err := client.Get(t.Context(), sent)
	if err != nil {
		t.Fatal(err)
	}
	replyBefore := proto.Clone(reply)

	answer.Member.Name, answer.RecoveryCodes[0] = "Eve", "stolen"
	clear(wire)
	got.MemberId = "member-2"
	clear(got.ProtoReflect().GetUnknown())

	if diff := cmp.Diff(replyBefore, reply, protocmp.Transform()); diff != "" {
		t.Errorf("the reply shares memory with the answer (-before +after):\n%s", diff)
	}
	if string(reply.ProtoReflect().GetUnknown()) != string(unknown) {
		t.Errorf("the unknown bytes arrived as %q, want %q", reply.ProtoReflect().GetUnknown(), unknown)
	}
	if diff := cmp.Diff(sentBefore, sent, protocmp.Transform()); diff != "" {
		t.Errorf("the caller's request shares memory with the handler's (-before +after):\n%s", diff)
	}
}

// TestConcurrentCallsDoNotMix keeps many calls open until all have arrived, so that they really overlap.
func TestConcurrentCallsDoNotMix(t *testing.T) {
	const n = 16
	var arrived sync.WaitGroup
	arrived.Add(n)
	pass := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		return next(ctx, req)
	}
	client := connect(func(ctx context.Context, req *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
		arrived.Done()
		arrived.Wait()
		id := req.GetMemberId()
		in, _ := metadata.FromIncomingContext(ctx)
		if err := grpc.SetHeader(ctx, metadata.Pairs("header", id)); err != nil {
			t.Error(err)
		}
		if err := grpc.SetTrailer(ctx, metadata.Pairs("trailer", id)); err != nil {
			t.Error(err)
		}
		return &recoverycodesv1.GetResponse{MemberId: id, RecoveryCodes: in.Get("id")}, nil
	}, pass, pass)
	var callers sync.WaitGroup
	for i := range n {
		callers.Go(func() {
			id := fmt.Sprint("member-", i)
			var header, trailer metadata.MD
			got, err := client.Get(metadata.AppendToOutgoingContext(t.Context(), "id", id), &recoverycodesv1.GetRequest{MemberId: id},
				grpc.Header(&header), grpc.Trailer(&trailer))
			if err != nil {
				t.Error(err)
				return
			}
			want := &recoverycodesv1.GetResponse{MemberId: id, RecoveryCodes: []string{id}}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", id, diff)
			}
			if diff := cmp.Diff([]metadata.MD{metadata.Pairs("header", id), metadata.Pairs("trailer", id)}, []metadata.MD{header, trailer}); diff != "" {
				t.Errorf("%s, beside the answer (-want +got):\n%s", id, diff)
			}
		})
	}
	callers.Wait()
}
