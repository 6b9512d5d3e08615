// Command bare is the server without its chain: the service behind plain gRPC and the gateway, with no caller
// identity, request id, access line, deadline or recovery. The bench runs it to tell what the chain costs; it is
// never shipped. It stands here because only code below server can import what it is made of.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"log"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/access"
	"recoverycodes.internal/server/internal/batching"
	"recoverycodes.internal/server/internal/gateway"
	"recoverycodes.internal/server/internal/inproc"
	"recoverycodes.internal/server/internal/interceptor"
	"recoverycodes.internal/server/internal/once"
	"recoverycodes.internal/server/internal/recoverycodes"
	"recoverycodes.internal/server/internal/stytch"
	"recoverycodes.internal/server/internal/telemetry"
	"recoverycodes.internal/server/internal/wiped"
)

const limit = 31 * time.Second

func main() {
	grpcListen := flag.String("grpc", "", "address to serve gRPC at")
	httpListen := flag.String("http", "", "address to serve REST at")
	admin := flag.String("admin", "", "address to serve metrics at")
	upstream := flag.String("upstream", "", "URL of the upstream")
	flag.Parse()
	log.Fatal(serve(*grpcListen, *httpListen, *admin, *upstream))
}

func serve(grpcListen, httpListen, admin, upstream string) error {
	base, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	client, err := stytch.New(stytch.Config{
		BaseURL: base, ProjectID: "project-test-bench", Secret: "secret-test-bench", UserAgent: "bare",
		ConnectTimeout: limit, HeaderTimeout: limit, Timeout: limit, MaxAnswerBytes: 8 << 20, Buffer: wiped.Get, Conn: batching.Conn,
	})
	if err != nil {
		return err
	}
	store, err := once.NewMemory([]byte(rand.Text()), time.Minute, 1)
	if err != nil {
		return err
	}
	service, err := recoverycodes.New(client, recoverycodes.Options{Once: store, InFlight: 1000, BreakerFailures: 20})
	if err != nil {
		return err
	}
	// As the real one: what stacks, windows and writes cost is not the chain's price.
	server := grpc.NewServer(grpc.NumStreamWorkers(128), grpc.StaticStreamWindowSize(256<<10), grpc.StaticConnWindowSize(1<<20),
		grpc.UnaryInterceptor(together), grpc.Creds(batching.GRPC(insecure.NewCredentials())))
	recoverycodesv1.RegisterRecoveryCodesServiceServer(server, service)
	listener, err := net.Listen("tcp", grpcListen) //nolint:noctx // binding does not wait
	if err != nil {
		return err
	}

	webListener, err := net.Listen("tcp", httpListen) //nolint:noctx // binding does not wait
	if err != nil {
		return err
	}

	corridor := inproc.New(together)
	recoverycodesv1.RegisterRecoveryCodesServiceServer(corridor, service)
	observer := telemetry.NewObserver(zap.NewNop(), nil) // the REST door has one; it counts and writes nothing
	rest, err := gateway.Handler(corridor, new(interceptor.InFlight), observer, access.Anyone())
	if err != nil {
		return err
	}
	web := &http.Server{Handler: rest, ReadHeaderTimeout: limit}
	metrics := &http.Server{Addr: admin, Handler: observer.Metrics(), ReadHeaderTimeout: limit}
	failed := make(chan error)
	go func() { failed <- server.Serve(listener) }()
	go func() { failed <- web.Serve(batching.HTTP(webListener)) }()
	go func() { failed <- metrics.ListenAndServe() }()
	return <-failed
}

// together is what is left of the chain: calls take turns as they do in the real server.
func together(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	defer batching.Begin()()
	batching.Yield()
	return handler(ctx, req)
}
