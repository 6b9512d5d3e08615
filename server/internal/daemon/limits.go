package daemon

import (
	"context"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/tap"
)

// These limits are what one connection may cost, whoever is at its other end: they hold before it is known who calls.
const (
	// maxHeader bounds a call's header or metadata, decompressed. The longest that mean something are a JWT and the
	// certificates in x-forwarded-client-cert, 8 KB of each.
	maxHeader = 16 << 10

	// maxMessage bounds a gRPC request, which gRPC reads to its end before any interceptor runs: a connection can claim
	// maxStreams times as much for callers that nobody knows. All fields at their limits have some 80 KB, so that
	// validation can still name one that is too long, instead of the library the frame.
	maxMessage = 256 << 10

	// maxStreams bounds the calls on one connection at once. Sidecars carry many callers on one, and open another then.
	maxStreams = 250

	// maxUnread and maxUnreadOfCall bound what HTTP/2 takes in of requests that nobody has read yet, since REST reads no body
	// before it is known who calls. Left to itself gRPC would measure what a connection can carry, which costs a ping and its
	// answer for each round trip, and take in up to 16 MB; requests are small.
	maxUnread, maxUnreadOfCall = 1 << 20, 256 << 10

	// handshakeLimit bounds what comes before the first call: TLS and the beginning of HTTP/2.
	handshakeLimit = 10 * time.Second

	// A connection on which nothing whole arrives for silence is asked whether it is still there, and ended when it does
	// not answer within pingLimit. One that is sending a header byte by byte cannot answer.
	silence, pingLimit = 30 * time.Second, 10 * time.Second

	// Connections without a call end after this: on the REST door a little later than balancers give theirs up, on the
	// gRPC door when a caller who has been quiet for so long can as well make another.
	restIdle, grpcIdle = 75 * time.Second, 5 * time.Minute
)

// grpcLimits are the limits of the gRPC door; limit is that of a call.
func (s *server) grpcLimits(limit time.Duration) []grpc.ServerOption {
	ages := s.age.keepalive(limit + slack)
	ages.Time, ages.Timeout, ages.MaxConnectionIdle = silence, pingLimit, grpcIdle
	return []grpc.ServerOption{
		grpc.InTapHandle(arriveWithin(limit)),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.StaticStreamWindowSize(maxUnreadOfCall), grpc.StaticConnWindowSize(maxUnread),
		grpc.ConnectionTimeout(handshakeLimit),
		grpc.KeepaliveParams(ages),
		// Clients may ping every ten seconds, with or without a call open: sidecars hold connections for many callers.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
}

// streamWorkers are goroutines that serve one gRPC call after another, so that the stack that a call needs has grown already:
// in a new goroutine it grows twice, which is copying. Calls beyond so many at once have a goroutine of their own.
const streamWorkers = 128

// arriveWithin bounds a call from its first byte: the chain's own deadline begins when the request has arrived, and a
// caller who never sends it would hold a stream for ever. Streams that are meant to last do so, as long as their
// connection.
func arriveWithin(limit time.Duration) tap.ServerInHandle {
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		if info.FullMethodName == healthpb.Health_Watch_FullMethodName || strings.HasPrefix(info.FullMethodName, "/grpc.reflection.") {
			return ctx, nil
		}
		// The end of the stream ends this context too, and its timer; a function for that would cost each call a goroutine.
		ctx, cancel := context.WithTimeout(ctx, limit) //nolint:gosec // G118: see above
		_ = cancel
		return ctx, nil
	}
}

// httpServer is an HTTP server with the limits of the REST door, which the admin door has too: a header in five seconds,
// a request in fifteen, an answer within the limits of the upstream.
func httpServer(handler http.Handler, limit time.Duration) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		// A call that waits for another with its key can be made after that, with a time of its own.
		WriteTimeout:   15*time.Second + 2*limit,
		IdleTimeout:    restIdle,
		MaxHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: maxUnread,
			MaxReceiveBufferPerStream:     maxUnreadOfCall,
			SendPingTimeout:               silence,
			PingTimeout:                   pingLimit,
		},
		DisableGeneralOptionsHandler: true,                       // who asks OPTIONS * is asked who he is, like everybody
		ErrorLog:                     log.New(io.Discard, "", 0), // lines of another form, with addresses
	}
}
