package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// calm waits until what a flood has left running in the server has ended.
func (x *target) calm(t *testing.T, goroutines float64) {
	t.Helper()
	eventually(t, 20*time.Second, fmt.Sprintf("about %v goroutines", goroutines), func() bool {
		return x.metric(t, "go_goroutines") < goroutines+100
	})
}

// resetMemory is what resets may cost. If the calls were kept until they have ended, 20,000 would need some 400 MB.
const resetMemory = 128 << 20

// TestRapidResets opens calls and takes each back at once, as fast as one connection can, from callers with and without a
// credential. The server may cut the connection; it must not keep the calls, nor what they have started.
func TestRapidResets(t *testing.T) {
	t.Parallel()
	x := start(t, options{tls: true})
	for door, address := range map[string]string{"gRPC": x.GRPC, "REST": x.HTTP} {
		for _, credential := range []string{"", "Bearer " + x.secret} {
			t.Run(fmt.Sprintf("%s, with a credential: %v", door, credential != ""), func(t *testing.T) {
				before, goroutines := x.memory(t), x.metric(t, "go_goroutines")
				f := x.connect(t, address)
				go f.discard()
				fields := x.request(address)
				if credential != "" {
					fields = append(fields, "authorization", credential)
				}
				var served sync.WaitGroup
				served.Go(func() { x.serves(t) }) // while it lasts
				sent := 0
				var err error
				for ; err == nil && sent < manyResets; sent++ {
					stream := uint32(1 + 2*sent)
					err = errors.Join(f.begin(stream, f.encode(fields...), address == x.HTTP), f.request(stream, address == x.GRPC), f.WriteRSTStream(stream, 8))
				}
				served.Wait()
				t.Logf("%d calls until: %v", sent, err)
				_ = f.Close()
				x.serves(t)
				x.calm(t, goroutines)
				x.grew(t, before, resetMemory)
			})
		}
	}
}

// request sends the request of a gRPC call, which is a Get of the seeded member.
func (f *frames) request(stream uint32, is bool) error {
	if !is {
		return nil
	}
	request := append([]byte{0, 0, 0, 0, 0, 0x0a, byte(len(organization))}, organization...)
	request = append(append(request, 0x12, byte(len(member))), member...)
	request[4] = byte(len(request) - 5)
	return f.WriteData(stream, true, request)
}

// spare is how many connections there may be for a test, beside those that it and the server have anyway.
func spare(t *testing.T, want int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Go has raised the limit of this process and of the server as far as it may be.
	if most := int(limit.Max) - 500; most < want {
		t.Logf("this system allows %d connections, of %d", most, want)
		return most
	}
	return want
}

// perConnection is what an idle connection may cost. Go's libraries keep 4 to 16 KB of buffers and two or three goroutines
// for each.
const perConnection = 40 << 10

// TestIdleConnections opens connections that do nothing, on each door.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	for door, begin := range map[string]func(x *target, conn net.Conn) error{
		"gRPC": func(_ *target, conn net.Conn) error {
			_, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
			return err
		},
		"REST": func(_ *target, conn net.Conn) error {
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				return err
			}
			_, err := io.ReadFull(conn, make([]byte, 100)) // of the refusal: the connection is idle now
			return err
		},
	} {
		t.Run(door, func(t *testing.T) {
			x := start(t, options{})
			before := x.memory(t)
			want := spare(t, manyConnections)
			address := x.GRPC
			if door == "REST" {
				address = x.HTTP
			}
			conns := make([]net.Conn, want)
			var opening sync.WaitGroup
			for worker := range runtime.NumCPU() {
				opening.Go(func() {
					for i := worker; i < want; i += runtime.NumCPU() {
						// Ports of one address would run out when the test is repeated.
						from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%200))}
						conn, err := (&net.Dialer{LocalAddr: from, Timeout: 20 * time.Second}).DialContext(t.Context(), "tcp", address)
						if err == nil {
							conns[i] = conn
							err = begin(x, conn)
						}
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			opening.Wait()
			defer func() {
				for _, conn := range conns {
					if conn != nil {
						_ = conn.Close()
					}
				}
			}()
			x.serves(t)
			x.grew(t, before, want*perConnection)
		})
	}
}

// TestIdleTLSConnections is the same with TLS, which costs more for each, and far more to open.
func TestIdleTLSConnections(t *testing.T) {
	t.Parallel()
	const want = manyConnections / 20
	x := start(t, options{tls: true})
	before := x.memory(t)
	for i := range want {
		x.connect(t, []string{x.GRPC, x.HTTP}[i%2])
	}
	x.serves(t)
	x.grew(t, before, 3*want*perConnection)
}

// TestHealthWatches has nobody in particular watch the server's health, thousands of times.
func TestHealthWatches(t *testing.T) {
	t.Parallel()
	const onOne, perWatch = 250, 32 << 10
	x := start(t, options{})
	before, goroutines := x.memory(t), x.metric(t, "go_goroutines")
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var conns []*grpc.ClientConn
	for range manyWatches / onOne {
		conn := x.dial(t)
		conns = append(conns, conn)
		for range onOne {
			watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if update, err := watch.Recv(); err != nil || update.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Fatalf("%v %v", update, err)
			}
		}
	}
	// One more on a connection that has as many as it may waits, and takes nothing from others.
	soon, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := healthpb.NewHealthClient(conns[0]).Check(soon, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("one call more than there may be on a connection: %v", err)
	}
	x.serves(t)
	x.grew(t, before, manyWatches*perWatch)
	for _, conn := range conns {
		_ = conn.Close()
	}
	x.calm(t, goroutines)
}

// TestAdminPaths asks the admin door for what such doors often have.
func TestAdminPaths(t *testing.T) {
	t.Parallel()
	x := start(t, options{})
	for _, path := range adminPaths {
		resp, err := http.Get("http://" + x.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if want := slices.Contains(adminPaths[:7], path); (resp.StatusCode == http.StatusOK) != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// adminPaths are those of the admin door, seven of them, and those that it must not have.
var adminPaths = []string{
	"/livez", "/readyz", "/metrics", "/log-level", "/", "/docs", "/docs/openapi.json",
	"/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline", "/debug/vars", "/debug/requests",
	"/debug/events", "/config", "/env", "/healthz", "/metrics/../debug/pprof/", pathOfMember,
}
