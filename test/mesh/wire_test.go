package mesh

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A wire leads from one address to another and can be cut, as when a machine between two hops dies.
type wire struct {
	address string

	mu    sync.Mutex
	conns []net.Conn
}

// wireTo lays a wire to a socket or a port, until the test ends, from a socket or from a free port of loopback.
func wireTo(t *testing.T, from, target string) *wire {
	t.Helper()
	address, to := "127.0.0.1:0", "tcp"
	if from == "unix" {
		address = filepath.Join(socketDir(t), "wire")
	}
	if strings.HasPrefix(target, "/") {
		to = "unix"
	}
	listener, err := net.Listen(from, address)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{address: listener.Addr().String()}
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial(to, target)
			if err != nil {
				_ = here.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, here, there)
			w.mu.Unlock()
			for _, ends := range [][2]net.Conn{{here, there}, {there, here}} {
				relays.Go(func() {
					_, _ = io.Copy(ends[0], ends[1])
					_, _ = ends[0].Close(), ends[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		w.cut()
		relays.Wait()
	})
	return w
}

// cut ends every connection. New ones can be made.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		_ = conn.Close()
	}
	w.conns = nil
}

// wired are the doorways to servers by wires, and what cuts all of those.
func wired(t *testing.T, replicas ...*replica) (doorways []doorway, cut func()) {
	t.Helper()
	doorways = before(replicas...)
	var wires []*wire
	for _, d := range doorways {
		for i, socket := range d.Sockets {
			w := wireTo(t, "unix", socket)
			d.Sockets[i] = w.address
			wires = append(wires, w)
		}
	}
	return doorways, func() {
		for _, w := range wires {
			w.cut()
		}
	}
}
