package model

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/stats"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// A fleet is the servers in front of one sandbox, as callers find them. When one dies, another takes its place.
type fleet struct {
	t         *testing.T
	sandbox   *daemon.Sandbox
	args      []string // of each server, besides those that all have
	addresses *manual.Resolver
	repeating recoverycodesv1.RecoveryCodesServiceClient // through a balancer to all servers
	rest      *http.Client

	deaths atomic.Int64 // goes up when a server is about to die, and again when it has been replaced

	mu      sync.Mutex
	servers []*server
}

// server is one server as its callers see it.
type server struct {
	daemon *daemon.Daemon
	plain  recoverycodesv1.RecoveryCodesServiceClient
	dead   atomic.Bool // set before it is killed
}

func newFleet(t *testing.T, sandbox *daemon.Sandbox, number int, args ...string) *fleet {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: crowd}
	f := &fleet{
		t: t, sandbox: sandbox, args: args, addresses: manual.NewBuilderWithScheme("fleet"), rest: &http.Client{Transport: transport},
	}
	for range number {
		f.servers = append(f.servers, f.newServer())
	}
	f.addresses.InitialState(f.state())
	conn, err := grpc.NewClient("fleet:///", grpc.WithResolvers(f.addresses), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(repeatEverything), grpc.WithStatsHandler(countAttempts{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		transport.CloseIdleConnections()
	})
	f.repeating = recoverycodesv1.NewRecoveryCodesServiceClient(conn)
	return f
}

func (f *fleet) newServer() *server {
	f.t.Helper()
	d := daemon.Start(f.t, f.sandbox.Env, append([]string{
		"--insecure-allow-any-caller", "--upstream-timeout=2s", "--upstream-header-timeout=2s",
		"--upstream-breaker-failures=0", "--upstream-least-time=1ms", fmt.Sprint("--upstream-max-in-flight=", slots),
	}, f.args...)...)
	return &server{daemon: d, plain: recoverycodesv1.NewRecoveryCodesServiceClient(d.Dial(f.t))}
}

// state is where the servers are. The lock is held, or nobody else knows the fleet yet.
func (f *fleet) state() (state resolver.State) {
	for _, s := range f.servers {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: s.daemon.GRPC}}})
	}
	return state
}

func (f *fleet) at(i int) *server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.servers[i%len(f.servers)]
}

// replace kills a server where it stands and starts another.
func (f *fleet) replace(i int) {
	f.deaths.Add(1)
	defer f.deaths.Add(1)
	s := f.at(i)
	s.dead.Store(true)
	s.daemon.Signal(f.t, syscall.SIGKILL)
	_ = s.daemon.Wait(f.t) // it did not end by itself
	fresh := f.newServer()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers[i%len(f.servers)] = fresh
	f.addresses.UpdateState(f.state())
}

// die kills servers, one after the other, until played is closed, and returns how many. The pauses follow from the
// seed.
func (f *fleet) die(seed uint64, played <-chan struct{}) int {
	r := rand.New(rand.NewPCG(seed, 1))
	for n := 0; ; n++ {
		select {
		case <-played:
			return n
		case <-time.After(time.Duration(100+r.IntN(600)) * time.Millisecond):
			f.replace(r.IntN(len(f.servers)))
		}
	}
}

// stop ends every server as an operator does. It returns when everything that they have sent is over.
func (f *fleet) stop() {
	f.t.Helper()
	for _, s := range f.servers {
		s.daemon.Signal(f.t, syscall.SIGTERM)
		if code := s.daemon.Wait(f.t); code != 0 {
			f.t.Errorf("a server ended with %d:\n%s", code, s.daemon.Log())
		}
	}
}

// replicas are the arguments of servers that share their keys in a store.
func replicas(t *testing.T, redis *daemon.Redis) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "store-secret")
	if err := os.WriteFile(file, []byte(strings.Repeat("a secret of the model test ", 2)), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--once-redis-url=" + redis.URL(), "--store-secret-file=" + file}
}

// attempts is how often the repeating client sent one call, and whether it did so after an answer had begun.
type attempts struct {
	n          int
	header     bool
	begunAgain bool
}

type attemptsKey struct{}

// countAttempts sees every attempt of the repeating client. The attempts of a call come one after the other.
type countAttempts struct{}

func (countAttempts) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (countAttempts) HandleRPC(ctx context.Context, s stats.RPCStats) {
	seen, ok := ctx.Value(attemptsKey{}).(*attempts)
	if !ok {
		return
	}
	switch s.(type) {
	case *stats.Begin:
		seen.n++
		seen.begunAgain = seen.begunAgain || seen.header
	case *stats.InHeader:
		seen.header = true
	}
}

func (countAttempts) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (countAttempts) HandleConn(context.Context, stats.ConnStats)                       {}
