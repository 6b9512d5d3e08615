// Command floor does the two halves of what a façade cannot do without, each by itself and by the usual means: it answers
// gRPC calls without asking anybody, and it fetches answers without serving them. The sum is what there is to
// be measured against.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/bench/meter"
)

func main() {
	listen := flag.String("listen", "", "address to serve gRPC at")
	admin := flag.String("admin", "", "address to serve metrics and /fetch at")
	upstream := flag.String("upstream", "", "URL of the answer, to fetch and to answer with")
	encoded := flag.Bool("encoded", false, "encode the answer once and not for each call")
	flag.Parse()

	fetcher := &fetcher{url: *upstream, transport: &http.Transport{
		MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, ReadBufferSize: 16 << 10, DisableCompression: true,
	}}
	answer, err := fetcher.answer()
	if err != nil {
		log.Fatal(err)
	}
	if *encoded {
		wire, err := proto.Marshal(answer)
		if err != nil {
			log.Fatal(err)
		}
		answer.Reset()
		answer.ProtoReflect().SetUnknown(wire) // which marshalling copies
	}
	server := grpc.NewServer()
	recoverycodesv1.RegisterRecoveryCodesServiceServer(server, &service{answer: answer})
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(server.Serve(listener)) }()

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", meter.Handler())
	mux.Handle("GET /fetch", fetcher)
	log.Fatal(http.ListenAndServe(*admin, mux))
}

type service struct {
	recoverycodesv1.UnimplementedRecoveryCodesServiceServer

	answer *recoverycodesv1.GetResponse
}

// Get implements the RPC.
func (s *service) Get(context.Context, *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
	return s.answer, nil
}

type fetcher struct {
	url       string
	transport *http.Transport
}

// ServeHTTP fetches with a number of callers for a time, and answers how often that was.
func (f *fetcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	callers, err1 := strconv.Atoi(r.FormValue("callers"))
	d, err2 := time.ParseDuration(r.FormValue("for"))
	if err1 != nil || err2 != nil {
		http.Error(w, "want callers and for", http.StatusBadRequest)
		return
	}
	var (
		done    atomic.Int64
		failure atomic.Pointer[error]
		all     sync.WaitGroup
	)
	end := time.Now().Add(d)
	for range callers {
		all.Go(func() {
			into := make([]byte, 128<<10)
			for time.Now().Before(end) {
				if _, err := f.fetch(into); err != nil {
					failure.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	if err := failure.Load(); err != nil {
		http.Error(w, (*err).Error(), http.StatusBadGateway)
		return
	}
	_, _ = fmt.Fprintln(w, done.Load())
}

// fetch reads the answer into a buffer and returns what of it was filled.
func (f *fetcher) fetch(into []byte) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, f.url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := f.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 || int(resp.ContentLength) > len(into) {
		return nil, fmt.Errorf("status %d, %d bytes", resp.StatusCode, resp.ContentLength)
	}
	n, err := io.ReadFull(resp.Body, into[:resp.ContentLength])
	return into[:n], err
}

func (f *fetcher) answer() (*recoverycodesv1.GetResponse, error) {
	text, err := f.fetch(make([]byte, 128<<10))
	if err != nil {
		return nil, err
	}
	answer := &recoverycodesv1.GetResponse{}
	return answer, protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, answer)
}
