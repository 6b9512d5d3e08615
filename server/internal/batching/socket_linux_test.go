package batching_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"recoverycodes.internal/server/internal/batching"
)

// gRPC bounds how long a connection takes without its peer acknowledging anything, on sockets that it recognises.
func TestSocketOptionsAreSet(t *testing.T) {
	const limit = 7 * time.Second
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	server := grpc.NewServer(grpc.Creds(batching.GRPC(insecure.NewCredentials())),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: limit}))
	served := make(chan error, 1)
	go func() { served <- server.Serve(recording{inner, accepted}) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	client, err := grpc.NewClient(inner.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	client.Connect()
	for state := client.GetState(); state != connectivity.Ready; state = client.GetState() {
		if !client.WaitForStateChange(t.Context(), state) {
			t.Fatal("no connection")
		}
	}
	raw, err := (<-accepted).(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	var failed error
	if err := raw.Control(func(fd uintptr) {
		got, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	if got != int(limit.Milliseconds()) {
		t.Errorf("TCP_USER_TIMEOUT is %d ms, want %v", got, limit)
	}
}

// recording is a listener that tells what it accepts and hands it on as it is.
type recording struct {
	net.Listener
	accepted chan<- net.Conn
}

func (l recording) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- c
	}
	return c, err
}
