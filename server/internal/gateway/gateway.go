// Package gateway is the REST door: it turns Stytch's own paths and bodies into calls of the service and its answers
// and errors back into what Stytch's callers expect. Successes are the upstream's bytes, unchanged; failures have
// Stytch's five fields, whoever decided them.
//
// It finds out who calls before it reads a byte of a body. It knows HTTP and the generated gateway. It knows no upstream
// and no rule about a request beyond its JSON; those are the service's, behind the same interceptors that gRPC callers
// pass.
package gateway

import (
	"context"
	"errors"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/batching"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/interceptor"
	"recoverycodes.internal/server/internal/telemetry"
	"recoverycodes.internal/server/internal/wiped"
)

// maxBody bounds a request body. Requests are a few kilobytes at most; the limit is above every limit on a field, so
// that it is the field that is named and not the body, and low enough that many such requests at once do no harm.
const maxBody = 2 << 20

// bodyGrace is how long the answer to a call that is refused by its header waits, over HTTP/1.1, for the body. One that has
// arrived by then leaves the connection in order for the next call; otherwise the connection is closed.
const bodyGrace = 500 * time.Millisecond

const (
	pathRecover = "/v1/b2b/recovery_codes/recover"
	pathRotate  = "/v1/b2b/recovery_codes/rotate"
	pathGet     = "/v1/b2b/recovery_codes/" // and an organization and a member
)

// routes are the paths of the RPCs, with the names of ids where ids are.
var routes = map[string]string{
	recoverycodesv1.RecoveryCodesService_Get_FullMethodName:     pathGet + "{organization_id}/{member_id}",
	recoverycodesv1.RecoveryCodesService_Recover_FullMethodName: pathRecover,
	recoverycodesv1.RecoveryCodesService_Rotate_FullMethodName:  pathRotate,
}

// forwarded are the request headers that the gateway library gets to see. Everything else is dropped at the door:
// method overrides, forwarding and metadata headers, cookies, trailers. None of them has an effect here.
var forwarded = []string{"Content-Type"}

// Handler returns the REST door of the service behind conn, and an error when the generated routes do not fit. Requests that
// do not become calls are reported by calls too.
func Handler(conn grpc.ClientConnInterface, calls *interceptor.InFlight, observer *telemetry.Observer, guard *access.Guard) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, codec{}),
		// The path is split before it is unescaped, so that an id with an escaped slash is one segment and refused by name.
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptReserved),
		// A form that is posted to the path of a GET is a form, not a GET.
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithIncomingHeaderMatcher(none),
		runtime.WithOutgoingHeaderMatcher(none),
		runtime.WithOutgoingTrailerMatcher(none),
		runtime.WithWriteContentLength(),
		runtime.WithErrorHandler(errorHandler),
		runtime.WithRoutingErrorHandler(routingErrorHandler),
		runtime.WithForwardResponseOption(markReplay),
		runtime.WithForwardResponseRewriter(upstreamBytes),
	)
	client := recoverycodesv1.NewRecoveryCodesServiceClient(conn)
	// The context bounds nothing but a dial, and there is none.
	if err := recoverycodesv1.RegisterRecoveryCodesServiceHandlerClient(context.Background(), mux, client); err != nil {
		return nil, err
	}
	return &door{mux: mux, ends: ends{calls, observer}, guard: guard}, nil
}

// none is a header matcher: no header passes between HTTP and gRPC by itself.
func none(string) (string, bool) { return "", false }

// door is what every REST request passes first and last.
type door struct {
	ends
	mux   *runtime.ServeMux
	guard *access.Guard
}

// ends is who sees to the ends of requests.
type ends struct {
	calls    *interceptor.InFlight
	observer *telemetry.Observer
}

// visit is what the door remembers of one request while the gateway library has it.
type visit struct {
	record  *call.Call
	refusal *apierror.Error // why the body was refused; the library would make a text of it
	failure *apierror.Error // what was answered, nil for a success
	status  int             // with which HTTP status
}

type visitKey struct{}

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method := rpcOf(r)
	d.observed(w, r, routes[method], func(ctx context.Context, v *visit) {
		d.serve(ctx, v, w, r, method)
	})
}

// observed serves a request as one call that is logged, counted and, if it panics, contained. route is its path with the
// names of ids where ids are.
func (e ends) observed(w http.ResponseWriter, r *http.Request, route string, serve func(context.Context, *visit)) {
	v := &visit{status: http.StatusOK, record: call.New(call.REST, r.Header.Get(call.RequestIDKey))}
	batching.Yield()
	w.Header().Set(call.RequestIDKey, v.record.RequestID)
	w.Header().Set("Cache-Control", "no-store") // nearly every answer is a secret or about one
	ctx := e.observer.ArrivedHTTP(r.Context(), v.record, propagation.HeaderCarrier(r.Header), r.Method, route, r.TLS != nil)
	defer func() {
		if recover() != nil { // the value is not looked at: it can be made of a payload
			e.observer.Panicked(v.record, debug.Stack())
			v.fail(w, interceptor.Panicked(v.record))
		}
		if report := e.observer.Ending(v.record, v.failure); report != nil { // the corridor has not seen to it
			e.calls.After(report)
		}
		e.observer.AnsweredHTTP(v.record, v.status)
	}()
	serve(ctx, v)
}

// serve finds out who calls, and hands the call to the generated routes.
func (d *door) serve(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request, method string) {
	v.record.IdempotencyKeys = r.Header.Values(call.IdempotencyKey)
	ctx, refusal := interceptor.Admit(ctx, d.guard, evidenceOf(r), v.record, method)
	if refusal == nil {
		refusal = unsupported(r)
	}
	if refusal != nil {
		v.record.Method = method
		if ids, ok := strings.CutPrefix(r.URL.Path, pathGet); ok && r.Method == http.MethodGet {
			v.record.Organization, v.record.Member, _ = strings.Cut(ids, "/")
		}
		if r.ProtoMajor == 1 && r.ContentLength != 0 {
			// The library reads what is left of a body before it answers. A writer that has no deadline has no such body.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyGrace))
		}
		v.fail(w, refusal)
		return
	}
	header := make(http.Header, len(forwarded))
	for _, name := range forwarded {
		if values := r.Header.Values(name); len(values) > 0 {
			header[name] = values
		}
	}
	ctx = call.NewContext(context.WithValue(ctx, visitKey{}, v), v.record)
	inner := r.WithContext(ctx)
	inner.Header = header
	inner.Body = &body{ReadCloser: http.MaxBytesReader(w, r.Body, maxBody), visit: v}
	out := &writer{ResponseWriter: w}
	d.mux.ServeHTTP(out, inner)
	if !out.failed {
		wiped.Put(v.record.Answer)
	}
	v.record.Answer = nil
}

// rpcOf is the RPC that a request is for, by its method and path; empty when there is no route. The generated routes
// decide: a call that they take elsewhere is admitted again, as what it is.
func rpcOf(r *http.Request) string {
	switch {
	case r.Method == http.MethodPost && r.URL.Path == pathRecover:
		return recoverycodesv1.RecoveryCodesService_Recover_FullMethodName
	case r.Method == http.MethodPost && r.URL.Path == pathRotate:
		return recoverycodesv1.RecoveryCodesService_Rotate_FullMethodName
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, pathGet):
		return recoverycodesv1.RecoveryCodesService_Get_FullMethodName
	default:
		return ""
	}
}

// evidenceOf is what HTTP has seen of a call and its connection.
func evidenceOf(r *http.Request) access.Evidence {
	network := ""
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		network = local.Network()
	}
	from, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero value is nobody's
	e := access.OfConnection(network, from.Addr(), r.TLS)
	e.Authorization, e.ForwardedClientCert = r.Header.Values("Authorization"), r.Header.Values(access.ForwardedHeader)
	return e
}

// unsupported refuses a body that is declared to be something else than plain JSON. A body that declares nothing is
// read as JSON. A charset is accepted, since some of Stytch's SDKs send one.
func unsupported(r *http.Request) *apierror.Error {
	if r.Method != http.MethodPost {
		return nil
	}
	refusal := &apierror.Error{Code: codes.InvalidArgument, HTTP: http.StatusUnsupportedMediaType, Reason: apierror.UnsupportedType}
	if value := r.Header.Get("Content-Type"); value != "" {
		if media, _, err := mime.ParseMediaType(value); err != nil || media != "application/json" {
			refusal.Message = "Content-Type: want application/json"
			return refusal
		}
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		refusal.Message = "Content-Encoding: the body must not be compressed"
		return refusal
	}
	return nil
}

// markReplay tells the caller that the answer was given before.
func markReplay(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
	if record := call.FromContext(ctx); record != nil && record.Replayed {
		w.Header().Set(call.ReplayedKey, "true")
	}
	return nil
}

// upstreamBytes replaces the message, whose content is wire bytes, by what the upstream sent.
func upstreamBytes(ctx context.Context, _ proto.Message) (any, error) {
	record := call.FromContext(ctx)
	if record == nil || record.Answer == nil {
		return nil, errors.New("gateway: no upstream answer beside the message")
	}
	return raw(record.Answer), nil
}

func errorHandler(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	v, _ := ctx.Value(visitKey{}).(*visit)
	if method, ok := runtime.RPCMethod(ctx); ok && v.record.Method == "" {
		v.record.Method, v.record.Outcome = method, call.Refused // refused before the corridor
	}
	var malformed *runtime.HTTPStatusError
	switch {
	case v.refusal != nil:
		v.fail(w, v.refusal)
	case errors.As(err, &malformed):
		v.fail(w, &apierror.Error{
			Code: codes.InvalidArgument, Reason: apierror.InvalidRequest, Message: "the path holds a malformed escape",
		})
	default:
		v.fail(w, apierror.From(err))
	}
}

func routingErrorHandler(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, status int) {
	v, _ := ctx.Value(visitKey{}).(*visit)
	e := &apierror.Error{
		Code: codes.NotFound, HTTP: status, Reason: apierror.RouteNotFound, Message: "no such path",
	}
	if status == http.StatusMethodNotAllowed {
		allow := http.MethodGet
		if r.URL.Path == pathRecover || r.URL.Path == pathRotate {
			allow = http.MethodPost
		}
		e = wrongMethod(w, allow)
	}
	v.fail(w, e)
}

// wrongMethod refuses a method on a path that wants another.
func wrongMethod(w http.ResponseWriter, allow string) *apierror.Error {
	w.Header().Set("Allow", allow)
	return &apierror.Error{
		Code: codes.Unimplemented, HTTP: http.StatusMethodNotAllowed, Reason: apierror.MethodNotAllowed, Message: "this path wants " + allow,
	}
}
