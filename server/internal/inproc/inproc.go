// Package inproc is the channel from the gateway to the service: a client connection whose other end is in the same
// process. Calls run the same interceptors as those from the network, without a socket, a second TLS or a second
// encoding. Errors pass as the Go values they are, and the context's values pass too; that is how the record of
// the call (package call) travels.
//
// It knows gRPC's generated descriptors and no service. Only unary RPCs exist here; streams are refused.
package inproc

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Channel is a grpc.ClientConnInterface. Register the services first; afterwards it is safe for concurrent use.
type Channel struct {
	chain   grpc.UnaryServerInterceptor
	methods map[string]method
}

type method struct {
	handler grpc.MethodHandler
	impl    any
}

var (
	_ grpc.ClientConnInterface = (*Channel)(nil)
	_ grpc.ServiceRegistrar    = (*Channel)(nil)
)

// New returns a channel that runs the interceptors in the given order, the first outermost.
func New(interceptors ...grpc.UnaryServerInterceptor) *Channel {
	return &Channel{chain: chain(interceptors), methods: make(map[string]method)}
}

func chain(interceptors []grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		for _, interceptor := range slices.Backward(interceptors) {
			next := handler
			handler = func(ctx context.Context, req any) (any, error) { return interceptor(ctx, req, info, next) }
		}
		return handler(ctx, req)
	}
}

// RegisterService implements grpc.ServiceRegistrar.
func (c *Channel) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for _, m := range desc.Methods {
		c.methods["/"+desc.ServiceName+"/"+m.MethodName] = method{handler: m.Handler, impl: impl}
	}
}

// Invoke implements grpc.ClientConnInterface. Of the call options it honours Header and Trailer; the others concern
// a wire that is not there. The answer shares no memory with the handler's.
func (c *Channel) Invoke(ctx context.Context, name string, args, reply any, opts ...grpc.CallOption) error {
	m, ok := c.methods[name]
	if !ok {
		return status.Error(codes.Unimplemented, "unknown method")
	}
	out, _ := metadata.FromOutgoingContext(ctx)
	stream := &transportStream{method: name}
	ctx = metadata.NewIncomingContext(metadata.NewOutgoingContext(ctx, nil), out)
	ctx = grpc.NewContextWithServerTransportStream(ctx, stream)
	if _, ok := peer.FromContext(ctx); !ok {
		ctx = peer.NewContext(ctx, &peer.Peer{Addr: addr{}})
	}

	answer, err := m.handler(m.impl, ctx, func(in any) error { return copyMessage(in, args) }, c.chain)
	stream.mu.Lock()
	for _, opt := range opts {
		switch o := opt.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = stream.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = stream.trailer
		}
	}
	stream.mu.Unlock()
	if err != nil {
		return err
	}
	return copyMessage(reply, answer)
}

// NewStream implements grpc.ClientConnInterface by refusing.
func (c *Channel) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "no streams in process")
}

func copyMessage(into, from any) error {
	dst, ok1 := into.(proto.Message)
	src, ok2 := from.(proto.Message)
	if !ok1 || !ok2 {
		return status.Error(codes.Internal, fmt.Sprintf("not protobuf messages: %T, %T", into, from))
	}
	proto.Merge(dst, src)
	return nil
}

// transportStream collects what handlers and interceptors say beside the message. The header may be sent from another
// goroutine than the handler's, at any time until the call ends and after.
type transportStream struct {
	method string

	mu              sync.Mutex
	header, trailer metadata.MD
	headerSent      bool
}

func (s *transportStream) Method() string { return s.method }

func (s *transportStream) SetHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setHeader(md)
}

func (s *transportStream) setHeader(md metadata.MD) error {
	if s.headerSent {
		return status.Error(codes.Internal, "header was sent already")
	}
	s.header = metadata.Join(s.header, md)
	return nil
}

func (s *transportStream) SendHeader(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.setHeader(md); err != nil {
		return err
	}
	s.headerSent = true
	return nil
}

func (s *transportStream) SetTrailer(md metadata.MD) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trailer = metadata.Join(s.trailer, md)
	return nil
}

// addr is the peer of a call that the gateway did not give one.
type addr struct{}

func (addr) Network() string { return "inproc" }
func (addr) String() string  { return "inproc" }

var _ net.Addr = addr{}
