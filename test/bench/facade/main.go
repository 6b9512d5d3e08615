// Command facade is the server that one would write in an afternoon: gRPC handlers that call Stytch with net/http and
// turn JSON into messages with protojson, and the generated gateway in front of them, over loopback. Only its transport
// is better than the default, which would dial for most calls under load. It checks nothing, logs nothing and knows
// nothing of what became of a call.
package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/bench/meter"
)

func main() {
	grpcListen := flag.String("grpc", "", "address to serve gRPC at")
	httpListen := flag.String("http", "", "address to serve REST at")
	admin := flag.String("admin", "", "address to serve metrics at")
	upstream := flag.String("upstream", "", "URL of the upstream")
	flag.Parse()

	server := grpc.NewServer()
	recoverycodesv1.RegisterRecoveryCodesServiceServer(server, &service{
		base: *upstream,
		client: &http.Client{Transport: &http.Transport{
			MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024,
		}},
	})
	listener, err := net.Listen("tcp", *grpcListen)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(server.Serve(listener)) }()
	go func() { log.Fatal(http.ListenAndServe(*admin, meter.Handler())) }()

	mux := runtime.NewServeMux(runtime.WithMarshalerOption(runtime.MIMEWildcard, &runtime.JSONPb{
		MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true},
		UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: true},
	}))
	err = recoverycodesv1.RegisterRecoveryCodesServiceHandlerFromEndpoint(context.Background(), mux, *grpcListen,
		[]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(*httpListen, mux))
}

type service struct {
	recoverycodesv1.UnimplementedRecoveryCodesServiceServer

	base   string
	client *http.Client
}

// Get implements the RPC.
func (s *service) Get(ctx context.Context, req *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
	answer := &recoverycodesv1.GetResponse{}
	path := url.PathEscape(req.GetOrganizationId()) + "/" + url.PathEscape(req.GetMemberId())
	return answer, s.call(ctx, http.MethodGet, path, nil, answer)
}

// Recover implements the RPC.
func (s *service) Recover(ctx context.Context, req *recoverycodesv1.RecoverRequest) (*recoverycodesv1.RecoverResponse, error) {
	answer := &recoverycodesv1.RecoverResponse{}
	return answer, s.call(ctx, http.MethodPost, "recover", req, answer)
}

// Rotate implements the RPC.
func (s *service) Rotate(ctx context.Context, req *recoverycodesv1.RotateRequest) (*recoverycodesv1.RotateResponse, error) {
	answer := &recoverycodesv1.RotateResponse{}
	return answer, s.call(ctx, http.MethodPost, "rotate", req, answer)
}

func (s *service) call(ctx context.Context, method, path string, body, answer proto.Message) error {
	var sent io.Reader
	if body != nil {
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(body)
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		sent = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+"/v1/b2b/recovery_codes/"+path, sent)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	req.SetBasicAuth("project-test-bench", "secret-test-bench")
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	if resp.StatusCode != http.StatusOK {
		return status.Error(codes.Unknown, string(text))
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, answer); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	return nil
}
