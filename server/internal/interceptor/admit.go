package interceptor

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/telemetry"
)

// public are the methods that need no caller: balancers and kubelets have no credentials.
const public = "/grpc.health.v1.Health/"

// Admit finds out who calls, and refuses who may not call the method, or not so often. It is for both doors: REST asks
// before it reads a body, and the chain does not ask again. The context returned carries the caller.
func Admit(ctx context.Context, guard *access.Guard, evidence access.Evidence, record *call.Call, method string) (context.Context, *apierror.Error) {
	caller, refusal := guard.Identify(ctx, evidence)
	if refusal != nil {
		return ctx, refuse(record, refusal)
	}
	record.Caller = caller.Name()
	if telemetry.OfService(method) {
		if refusal := caller.Method(method[strings.LastIndexByte(method, '/')+1:]); refusal != nil {
			return ctx, refuse(record, refusal)
		}
		if refusal := caller.Take(); refusal != nil {
			return ctx, refuse(record, refusal)
		}
	}
	return context.WithValue(ctx, admittedKey{}, admitted{caller, method}), nil
}

// refuse says in the record what the refusal means for an effect.
func refuse(record *call.Call, refusal *apierror.Error) *apierror.Error {
	record.Outcome = call.Refused
	if refusal.Reason == apierror.NotSent {
		record.Outcome = call.NotSent
	}
	return refusal
}

type admittedKey struct{}

// admitted is who was let in, and for what.
type admitted struct {
	caller *access.Caller
	method string
}

func admit(guard *access.Guard) check {
	return func(ctx context.Context, _ any, method string) (context.Context, *apierror.Error) {
		if strings.HasPrefix(method, public) {
			return ctx, nil
		}
		if a, ok := ctx.Value(admittedKey{}).(admitted); ok && a.method == method {
			return ctx, nil
		}
		return Admit(ctx, guard, evidenceOf(ctx), call.FromContext(ctx), method)
	}
}

func admitStream(guard *access.Guard) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if !strings.HasPrefix(info.FullMethod, public) {
			ctx := stream.Context()
			if _, refusal := Admit(ctx, guard, evidenceOf(ctx), call.FromContext(ctx), info.FullMethod); refusal != nil {
				return refusal
			}
		}
		return handler(srv, stream)
	}
}

// organization refuses a call about an organization that its caller may not name.
func organization(ctx context.Context, req any, _ string) (context.Context, *apierror.Error) {
	named, ok := req.(interface{ GetOrganizationId() string })
	a, known := ctx.Value(admittedKey{}).(admitted)
	if ok && known {
		if refusal := a.caller.Organization(named.GetOrganizationId()); refusal != nil {
			return ctx, refuse(call.FromContext(ctx), refusal)
		}
	}
	return ctx, nil
}

// evidenceOf is what gRPC has seen of a call and its connection.
func evidenceOf(ctx context.Context) access.Evidence {
	e := access.Evidence{}
	if p, ok := peer.FromContext(ctx); ok {
		var secure credentials.TLSInfo
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			secure = info
		}
		switch from := p.Addr.(type) {
		case *net.TCPAddr:
			e = access.OfConnection(from.Network(), from.AddrPort().Addr(), &secure.State)
		case *net.UnixAddr:
			e = access.OfConnection(from.Network(), netip.Addr{}, &secure.State)
		}
	}
	e.Authorization = metadata.ValueFromIncomingContext(ctx, "authorization")
	e.ForwardedClientCert = metadata.ValueFromIncomingContext(ctx, access.ForwardedHeader)
	return e
}
