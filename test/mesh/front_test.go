package mesh

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// TestNothingIsRepeated counts how often one Recover and one Rotate reach the upstream through a proxy in front of two
// replicas, under each fault and when the connection between the two is cut: once, as the proxies are by default.
// Through the gRPC door it is once as well when they are told to send again whatever they can; through the REST door
// that is what must not be set.
func TestNothingIsRepeated(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	replicas := []*replica{newReplica(t, sandbox, impatient...), newReplica(t, sandbox, impatient...)}
	for _, program := range programs {
		for _, repeat := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, told to repeat %t", program.name, repeat), func(t *testing.T) {
				t.Parallel()
				doorways, cut := wired(t, replicas...)
				p := program.run(t, setup{Doors: doorways, Repeat: repeat})
				for _, door := range doors {
					repeats := repeat && program.repeatsREST && door.name == "rest"
					name := fmt.Sprintf("%s-%s-%t-", program.name, door.name, repeat)
					for id, n := range arrivals(t, sandbox, door.dial(t, p.socket(door.name), nil), cut, name) {
						if n != 1 && !repeats || n == 1 && repeats && !strings.HasSuffix(id, "-cut") { // whose repetition is cut too, at times
							t.Errorf("%s, %s: arrived %d times", door.name, id, n)
						}
					}
				}
			})
		}
	}
}

// TestHAProxyCallsACutARefusal is what no setting of HAProxy's mends: when a connection behind it is cut, it tells a caller who
// speaks HTTP/2 REFUSED_STREAM, which means that the call was never begun and which every client may take for leave to
// send it again. Go's does. A caller who speaks HTTP/1.1 is told 502. Through the gRPC door the header of the answer is
// there first, and nothing of the kind is said.
func TestHAProxyCallsACutARefusal(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	doorways, cut := wired(t, newReplica(t, sandbox, impatient...))
	p := haproxy.run(t, setup{Doors: doorways})
	for name, test := range map[string]struct {
		call caller
		says string
	}{
		"REST over HTTP/2":   {overREST(restClient(t, p.socket("rest"), nil, true)), "REFUSED_STREAM"},
		"REST over HTTP/1.1": {overREST(restClient(t, p.socket("rest"), nil, false)), "502 Bad Gateway"},
		"gRPC":               {dialGRPC(t, p.socket("grpc"), nil), "without sending trailers"},
	} {
		id := faulty("slow-30000", "refusal-"+strings.NewReplacer(" ", "", "/", "").Replace(name))
		answered := make(chan answer)
		go func() { answered <- test.call(t.Context(), "Rotate", id) }()
		await(t, name, func() bool { return arrived(t, sandbox, id) == 1 })
		cut()
		if a := <-answered; !strings.Contains(a.text, test.says) || a.reason != "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// arrivals makes a Recover and a Rotate under each fault, and each once more whose connections are cut behind the proxy,
// none of which succeeds. It returns how often each arrived at the sandbox.
func arrivals(t *testing.T, sandbox *daemon.Sandbox, call caller, cut func(), name string) map[string]int {
	t.Helper()
	n := make(map[string]int)
	var mu sync.Mutex
	var calls sync.WaitGroup
	one := func(method, id string) {
		if a := call(t.Context(), method, id); a.ok {
			t.Errorf("%s of %s succeeded", method, id)
		}
		mu.Lock()
		defer mu.Unlock()
		n[id] = arrived(t, sandbox, id)
	}
	for _, method := range []string{"Recover", "Rotate"} {
		for _, kind := range afterEffect {
			calls.Go(func() { one(method, faulty(kind, name+method)) })
		}
	}
	calls.Wait()
	for _, method := range []string{"Recover", "Rotate"} {
		id := faulty("slow-30000", name+method+"-cut")
		calls.Go(func() { one(method, id) })
		await(t, method+" at the sandbox", func() bool { return arrived(t, sandbox, id) > 0 })
	}
	cut()
	calls.Wait()
	return n
}

// arrived is how many Recovers and Rotates of a member the sandbox has seen.
func arrived(t *testing.T, sandbox *daemon.Sandbox, id string) int {
	t.Helper()
	calls := sandbox.Member(t, id).Calls
	return calls.Recover + calls.Rotate
}

// TestProxiesPassEverything is what a caller must get through a proxy at either door: answers, errors with their reasons,
// and request ids both ways.
func TestProxiesPassEverything(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	r := newReplica(t, sandbox, patient...)
	for _, program := range programs {
		for _, door := range doors {
			t.Run(program.name+", "+door.name, func(t *testing.T) {
				call := door.dial(t, program.run(t, setup{Doors: before(r)}).socket(door.name), nil)
				name := program.name + door.name
				for _, test := range []struct{ method, member, reason string }{
					{"Get", faulty("slow-0", name), ""},
					{"Recover", faulty("slow-0", name), ""},
					{"Recover", faulty("slow-0", name), "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE"},
					{"Rotate", faulty("slow-0", name), ""},
					{"Get", "member-test-none", "MEMBER_NOT_FOUND"},
					{"Get", faulty("status-503", name), "UPSTREAM_FAILED"},
					{"Rotate", faulty("rate-limited", name), "TOO_MANY_REQUESTS"},
					{"Recover", "..", "INVALID_REQUEST"},
					{"Recover", faulty("status-500-after-effect", name), "OUTCOME_UNKNOWN"},
					{"Rotate", faulty("huge", name), "ANSWER_LOST"},
				} {
					a := call(t.Context(), test.method, test.member, "x-request-id", "id-of-the-caller")
					if a.ok != (test.reason == "") || a.reason != test.reason {
						t.Errorf("%s of %s: %+v", test.method, test.member, a)
					} else if got := a.header("x-request-id"); got != "id-of-the-caller" {
						t.Errorf("%s of %s: request id %q", test.method, test.member, got)
					}
					if never := test.reason == "OUTCOME_UNKNOWN" || test.reason == "ANSWER_LOST"; door.name == "grpc" && never != (a.header("grpc-retry-pushback-ms") == "-1") {
						t.Errorf("%s of %s: pushback %q", test.method, test.member, a.header("grpc-retry-pushback-ms"))
					}
				}
			})
		}
	}
}

// TestProxiesPassTraces: a caller's trace, in either form, is the one that the server joins.
func TestProxiesPassTraces(t *testing.T) {
	sandbox := *daemon.StartSandbox(t, false)
	nowhere := wireTo(t, "tcp", "/nowhere") // its connections end at once
	sandbox.Env = append(sandbox.Env[:len(sandbox.Env):len(sandbox.Env)], "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+nowhere.address)
	r := newReplica(t, &sandbox, patient...)
	n := 0
	for _, program := range programs {
		p := program.run(t, setup{Doors: before(r)})
		for _, door := range doors {
			call := door.dial(t, p.socket(door.name), nil)
			for name, form := range map[string]string{"traceparent": "00-%s-00f067aa0ba902b7-01", "b3": "%s-00f067aa0ba902b7-1"} {
				n++
				trace := fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e%04x", n)
				if a := call(t.Context(), "Get", faulty("slow-0", "traces"), name, fmt.Sprintf(form, trace)); !a.ok {
					t.Errorf("%s, %s: %+v", program.name, door.name, a)
				}
				if !r.AwaitLog(`"trace_id":"`+trace+`"`, 1) {
					t.Errorf("%s, %s: %s does not arrive", program.name, door.name, name)
				}
			}
		}
	}
}

// TestProxiesPassWhatGRPCNeeds: health, the caller's deadline, and at once the header of an answer that is still to come,
// which keeps the hops in front of the proxy from sending the call again.
func TestProxiesPassWhatGRPCNeeds(t *testing.T) {
	sandbox := daemon.StartSandbox(t, false)
	// A call with less than half a minute left is refused, which only a server that knows the deadline can do.
	r := newReplica(t, sandbox, "--insecure-allow-any-caller", "--upstream-least-time=30s")
	for _, program := range programs {
		t.Run(program.name, func(t *testing.T) {
			conn := connect(t, program.run(t, setup{Doors: before(r)}).socket("grpc"), nil)
			if answer, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil ||
				answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Errorf("health: %v %v", answer, err)
			}
			client := recoverycodesv1.NewRecoveryCodesServiceClient(conn)
			if a := overGRPC(client)(t.Context(), "Rotate", faulty("slow-0", program.name)); a.reason != "NOT_SENT" {
				t.Errorf("a call of %v: %+v", callLimit, a)
			}

			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			stream, err := conn.NewStream(ctx, &grpc.StreamDesc{}, recoverycodesv1.RecoveryCodesService_Rotate_FullMethodName)
			if err != nil {
				t.Fatal(err)
			}
			id := faulty("slow-600000", program.name)
			if err := stream.SendMsg(&recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: id}); err != nil {
				t.Fatal(err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			header, err := stream.Header()
			if took := time.Since(start); err != nil || len(header.Get("content-type")) == 0 || took > callLimit {
				t.Errorf("header %v after %v: %v", header, took, err)
			}
		})
	}
}
