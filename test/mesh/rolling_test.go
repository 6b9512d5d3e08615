package mesh

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"recoverycodes.internal/client"
	"recoverycodes.internal/test/daemon"
)

// A balancer is what spreads calls over two replicas, and has to learn that one goes and comes.
type balancer struct {
	dial func(t *testing.T, p *proxy, replicas []*replica) map[string]caller // by the name of the door
	run  func(t *testing.T, replicas []*replica) *proxy                      // nil: there is no proxy

	leaves, returns func(t *testing.T, p *proxy, replicas []*replica, i int) // tell it
}

// TestRollingRestart restarts two replicas, one after the other, behind a balancer and under load through both doors. No
// Get is lost. No Recover arrives twice, and none ends with an outcome that is unknown: each makes a session, at once or
// when its caller, told that it was not sent, sends it again.
func TestRollingRestart(t *testing.T) {
	for name, b := range map[string]balancer{
		"haproxy":     {dialBoth, runHAProxy, nobodyTells, readdress},
		"nginx":       {dialBoth, runNginx, takeOut, putBack},
		"round robin": {dialRoundRobin, nil, nobodyTells, nobodyTells},
	} {
		t.Run(name, func(t *testing.T) {
			sandbox := daemon.StartSandbox(t, false)
			var replicas []*replica
			for range 2 {
				replicas = append(replicas, newReplica(t, sandbox, append(patient, "--drain-delay=500ms")...))
			}
			var p *proxy
			if b.run != nil {
				p = b.run(t, replicas)
			}
			l := start(t, b.dial(t, p, replicas))
			for i, r := range replicas {
				l.await(t)
				r.Signal(t, syscall.SIGTERM)
				if !r.AwaitLog(`"message":"stopping"`, 1) {
					t.Fatalf("replica %d does not stop\n%s", i, r.Log())
				}
				b.leaves(t, p, replicas, i)
				if code := r.Wait(t); code != 0 {
					t.Errorf("replica %d: exit code %d\n%s", i, code, r.Log())
				}
				r.start(t)
				b.returns(t, p, replicas, i)
				// The other may go when this one is used again, which takes clients a second or more who found it gone.
				await(t, "load after a restart", func() bool { return strings.Contains(r.Log(), `"method":"Recover"`) })
			}
			l.await(t)
			l.stop(t, sandbox)
		})
	}
}

// A load calls through each door until it is stopped.
type load struct {
	cancel context.CancelFunc
	ended  sync.WaitGroup
	calls  atomic.Int64
	again  atomic.Int64 // Recovers that were not sent at first

	mu      sync.Mutex
	members []string
	lost    []string
}

func start(t *testing.T, callers map[string]caller) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	for name, call := range callers {
		for worker := range 2 {
			l.ended.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					l.get(call, name)
					l.recover(call, name, faulty("slow-5", fmt.Sprintf("%s-%d-%d", name, worker, i)))
				}
			})
		}
	}
	t.Cleanup(func() {
		cancel()
		l.ended.Wait()
	})
	return l
}

func (l *load) get(call caller, door string) {
	if a := call(context.Background(), "Get", faulty("slow-5", "get")); !a.ok {
		l.lose(door, "Get", a)
	}
	l.calls.Add(1)
}

func (l *load) recover(call caller, door, member string) {
	a := call(context.Background(), "Recover", member)
	for ; a.reason == "NOT_SENT"; a = call(context.Background(), "Recover", member) {
		l.again.Add(1)
	}
	if !a.ok {
		l.lose(door, "Recover", a)
	}
	l.calls.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members = append(l.members, member)
}

func (l *load) lose(door, method string, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, fmt.Sprintf("%s %s: %s %s", door, method, a.reason, a.text))
}

// await waits until there has been some load more.
func (l *load) await(t *testing.T) {
	t.Helper()
	since := l.calls.Load()
	await(t, "load", func() bool { return l.calls.Load() > since+40 })
}

// stop ends the load and says what became of it.
func (l *load) stop(t *testing.T, sandbox *daemon.Sandbox) {
	t.Helper()
	l.cancel()
	l.ended.Wait()
	for _, lost := range l.lost {
		t.Error("lost: " + lost)
	}
	members := sandbox.Members(t)
	for _, id := range l.members {
		if state := members[id]; state.Calls.Recover != 1 || state.Effects.Recover != 1 {
			t.Errorf("%s: %+v", id, state)
		}
	}
	t.Logf("%d calls, %d Recovers sent again", l.calls.Load(), l.again.Load())
}

func dialBoth(t *testing.T, p *proxy, _ []*replica) map[string]caller {
	callers := make(map[string]caller)
	for _, door := range doors {
		callers[door.name] = door.dial(t, p.socket(door.name), nil)
	}
	return callers
}

// runHAProxy has HAProxy ask the replicas whether they are ready, twenty times a second.
func runHAProxy(t *testing.T, replicas []*replica) *proxy {
	t.Helper()
	s := setup{Doors: before(replicas...)}
	for _, r := range replicas {
		s.Admin = append(s.Admin, r.Admin)
	}
	return haproxy.run(t, s)
}

// readdress tells HAProxy on what port a replica says now whether it is ready.
func readdress(t *testing.T, p *proxy, replicas []*replica, i int) {
	t.Helper()
	host, port, err := net.SplitHostPort(replicas[i].Admin)
	if err != nil {
		t.Fatal(err)
	}
	p.tell(t, fmt.Sprintf("set server health/replica%d addr %s port %s", i, host, port))
	await(t, "the replica in rotation", func() bool {
		for line := range strings.Lines(p.tell(t, "show stat health 4 -1")) {
			if fields := strings.Split(line, ","); len(fields) > 17 && fields[1] == fmt.Sprint("replica", i) {
				return fields[17] == "UP"
			}
		}
		return false
	})
}

// tell gives one command to HAProxy, and returns what it says.
func (p *proxy) tell(t *testing.T, command string) string {
	t.Helper()
	conn, err := net.Dial("unix", p.Dir+"/stats.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(said)
}

func runNginx(t *testing.T, replicas []*replica) *proxy {
	t.Helper()
	return nginx.run(t, setup{Doors: before(replicas...)})
}

// takeOut does what the controller of an ingress does when a replica is not ready any more, and putBack when it is again:
// nginx itself does not look.
func takeOut(t *testing.T, p *proxy, replicas []*replica, i int) { reload(t, p, replicas[1-i]) }
func putBack(t *testing.T, p *proxy, replicas []*replica, _ int) { reload(t, p, replicas...) }

func reload(t *testing.T, p *proxy, replicas ...*replica) {
	t.Helper()
	p.Doors = before(replicas...)
	p.configure(t)
	if err := p.command.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func nobodyTells(*testing.T, *proxy, []*replica, int) {}

// dialRoundRobin is the Go client, which spreads calls over all addresses of its target. REST has no such thing.
func dialRoundRobin(t *testing.T, _ *proxy, replicas []*replica) map[string]caller {
	t.Helper()
	names := manual.NewBuilderWithScheme("replicas")
	var state resolver.State
	for _, r := range replicas {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: "unix:" + r.grpc, ServerName: "grpc.example"})
	}
	names.InitialState(state)
	c, err := client.New("replicas:///both", client.WithInsecure(), client.WithDialOptions(grpc.WithResolvers(names)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return map[string]caller{"grpc": overGRPC(c)}
}
