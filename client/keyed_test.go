package client_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// effects are the two methods that have keys, with the outcome that a caller makes of them.
var effects = map[string]func(context.Context, *client.Client) (client.Outcome, error){
	"Recover": func(ctx context.Context, c *client.Client) (client.Outcome, error) {
		var p peer.Peer
		_, err := c.Recover(ctx, &recoverycodesv1.RecoverRequest{}, grpc.Peer(&p))
		return client.OutcomeOf(err, &p), err
	},
	"Rotate": func(ctx context.Context, c *client.Client) (client.Outcome, error) {
		var p peer.Peer
		_, err := c.Rotate(ctx, &recoverycodesv1.RotateRequest{}, grpc.Peer(&p))
		return client.OutcomeOf(err, &p), err
	},
}

// A step is what one attempt of a call comes to.
type step func(context.Context, *servicetest.Server) error

func failing(err error) step {
	return func(context.Context, *servicetest.Server) error { return err }
}

var (
	succeeds step = failing(nil)
	// cut is an attempt that has arrived and whose connection breaks.
	cut step = func(ctx context.Context, srv *servicetest.Server) error {
		srv.Break()
		<-ctx.Done()
		return ctx.Err()
	}
)

// replayed is a failure that the service marks as one it has given before.
func replayed(err error) step {
	return func(ctx context.Context, _ *servicetest.Server) error {
		_ = grpc.SetHeader(ctx, metadata.Pairs("idempotency-replayed", "true"))
		return err
	}
}

// afterHeader is a failure after the header that stops gRPC's own retries.
func afterHeader(err error) step {
	return func(ctx context.Context, _ *servicetest.Server) error {
		_ = grpc.SendHeader(ctx, nil)
		return err
	}
}

// notSent is the service's NOT_SENT, with the time that it asks to wait.
func notSent(t *testing.T, delay time.Duration) error {
	t.Helper()
	st, err := status.New(codes.Unavailable, "no").WithDetails(
		&errdetails.ErrorInfo{Domain: serviceDomain, Reason: "NOT_SENT"},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)},
	)
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// An arrival is an attempt as the service sees it.
type arrival struct {
	at   time.Time
	keys []string
}

// A script answers the attempts that arrive with one step after the other, the last one as often as it is asked.
type script struct {
	srv   *servicetest.Server
	steps []step

	mu       sync.Mutex
	arrivals []arrival
}

func startScript(t *testing.T, steps ...step) *script {
	t.Helper()
	s := &script{steps: steps}
	ready := make(chan struct{})
	s.srv = servicetest.Start(t, servicetest.Answering(func(ctx context.Context) error {
		<-ready
		return s.next(ctx)
	}))
	close(ready)
	return s
}

func (s *script) next(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	s.mu.Lock()
	step := s.steps[min(len(s.arrivals), len(s.steps)-1)]
	s.arrivals = append(s.arrivals, arrival{time.Now(), md.Get("idempotency-key")})
	s.mu.Unlock()
	return step(ctx, s.srv)
}

func (s *script) seen() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.arrivals)
}

// oneKey returns the key that all attempts came with.
func oneKey(t *testing.T, attempts []arrival) string {
	t.Helper()
	var key string
	for i, a := range attempts {
		if len(a.keys) != 1 || a.keys[0] == "" {
			t.Fatalf("attempt %d came with the keys %q, want one", i+1, a.keys)
		}
		if i > 0 && a.keys[0] != key {
			t.Fatalf("attempt %d came with the key %q, the one before with %q", i+1, a.keys[0], key)
		}
		key = a.keys[0]
	}
	return key
}

func TestKeyedAttempts(t *testing.T) {
	var (
		shed        = failing(notSent(t, 0))
		unavailable = failing(status.Error(codes.Unavailable, "no"))
		wrongCode   = saying(t, codes.Unauthenticated, stytchDomain, "UNABLE_TO_AUTHENTICATE_RECOVERY_CODE")
		credentials = saying(t, codes.Internal, serviceDomain, "UPSTREAM_CREDENTIALS")
		unknown     = saying(t, codes.Unknown, serviceDomain, "OUTCOME_UNKNOWN")
	)
	tests := []struct {
		name     string
		steps    []step
		attempts int
		want     client.Outcome
	}{
		{"success", []step{succeeds}, 1, client.Done},
		{"shed, then success", []step{shed, succeeds}, 2, client.Done},
		{"shed for ever", []step{shed}, 3, client.NotSent},
		{"shed by a limit", []step{failing(saying(t, codes.ResourceExhausted, serviceDomain, "NOT_SENT"))}, 3, client.NotSent},
		{"shed for an hour", []step{failing(notSent(t, time.Hour))}, 1, client.NotSent},
		{"cut, then success", []step{cut, succeeds}, 2, client.Done},
		{"cut for ever", []step{cut}, 3, client.Unknown},
		{"unavailable, from a proxy", []step{unavailable}, 3, client.Unknown},
		{"unavailable, after the header", []step{afterHeader(status.Error(codes.Unavailable, "no"))}, 3, client.Unknown},
		{"unavailable, with a reason", []step{failing(saying(t, codes.Unavailable, serviceDomain, "UPSTREAM_FAILED"))}, 3, client.Unknown},
		{"cancelled by a proxy", []step{failing(status.Error(codes.Canceled, "no")), succeeds}, 2, client.Done},

		{"outcome unknown", []step{failing(unknown)}, 1, client.Unknown},
		{"answer lost", []step{failing(saying(t, codes.Unknown, serviceDomain, "ANSWER_LOST"))}, 1, client.Unknown},
		{"the reason comes before the code", []step{failing(saying(t, codes.Unavailable, serviceDomain, "OUTCOME_UNKNOWN"))}, 1, client.Unknown},
		{"a defect of the service", []step{failing(saying(t, codes.Internal, serviceDomain, "INTERNAL"))}, 1, client.Unknown},
		{"cancelled, with a reason", []step{failing(saying(t, codes.Canceled, serviceDomain, "CANCELLED"))}, 1, client.Unknown},
		{"refused by Stytch", []step{failing(wrongCode)}, 1, client.Refused},
		{"refused by the service", []step{failing(credentials)}, 1, client.Refused},
		{"refused by a proxy", []step{failing(status.Error(codes.PermissionDenied, "no"))}, 1, client.Unknown},
		{"too large", []step{failing(status.Error(codes.ResourceExhausted, "no"))}, 1, client.Unknown},

		// What was in doubt stays so until the service or Stytch says what the key came to.
		{"cut, then shed", []step{cut, shed}, 3, client.Unknown},
		{"cut, then unknown", []step{cut, failing(unknown)}, 2, client.Unknown},
		{"cut, then refused by Stytch", []step{cut, failing(wrongCode)}, 2, client.Refused},
		{"cut, then refused by the service", []step{cut, failing(credentials)}, 2, client.Unknown},
		{"cut, then a replayed refusal", []step{cut, replayed(credentials)}, 2, client.Refused},
		{"shed, then refused by the service", []step{shed, failing(credentials)}, 2, client.Refused},
	}
	for _, tt := range tests {
		for method, call := range effects {
			t.Run(tt.name+"/"+method, func(t *testing.T) {
				t.Parallel()
				s := startScript(t, tt.steps...)
				c := newClient(t, s.srv.Addr, client.WithInsecure(), client.WithKeyedRetries())
				got, err := call(t.Context(), c)
				if got != tt.want {
					t.Errorf("outcome %v (%v), want %v", got, err, tt.want)
				}
				seen := s.seen()
				if len(seen) != tt.attempts {
					t.Errorf("%d attempts arrived, want %d", len(seen), tt.attempts)
				}
				oneKey(t, seen)
			})
		}
	}
}

// afterAttempt returns an option that calls then with the number of each attempt that has ended.
func afterAttempt(then func(attempt int)) client.Option {
	attempt := 0
	return client.WithDialOptions(grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			err := invoke(ctx, method, req, reply, cc, opts...)
			attempt++
			then(attempt)
			return err
		}))
}

// A server that goes away between two attempts says nothing of the first one.
func TestKeyedAttemptsThatReachNobody(t *testing.T) {
	tests := []struct {
		name  string
		first step // nil: nobody listens from the start
		want  client.Outcome
	}{
		{"from the start", nil, client.NotSent},
		{"after a cut", cut, client.Unknown},
		{"after a failure on the way", failing(status.Error(codes.Unavailable, "no")), client.Unknown},
		{"after a shed call", failing(notSent(t, 0)), client.NotSent},
	}
	for _, tt := range tests {
		for method, call := range effects {
			t.Run(tt.name+"/"+method, func(t *testing.T) {
				t.Parallel()
				s := startScript(t, tt.first)
				if tt.first == nil {
					s.srv.Close()
				}
				attempts := 0
				c := newClient(t, s.srv.Addr, client.WithInsecure(), client.WithKeyedRetries(), afterAttempt(func(n int) {
					attempts = n
					s.srv.Close()
				}))
				if got, err := call(t.Context(), c); got != tt.want {
					t.Errorf("outcome %v (%v), want %v", got, err, tt.want)
				}
				if attempts != 3 {
					t.Errorf("%d attempts were made, want 3", attempts)
				}
			})
		}
	}
}

func TestKeyedRetriesKeepTheDeadline(t *testing.T) {
	t.Run("which ends the first attempt", func(t *testing.T) {
		s := startScript(t, func(ctx context.Context, _ *servicetest.Server) error {
			<-ctx.Done()
			return ctx.Err()
		})
		c := newClient(t, s.srv.Addr, client.WithInsecure(), client.WithKeyedRetries(), client.WithTimeout(time.Second))
		got, err := effects["Recover"](t.Context(), c)
		if got != client.Unknown || status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("outcome %v (%v), want unknown for the deadline", got, err)
		}
		if seen := s.seen(); len(seen) != 1 {
			t.Errorf("%d attempts arrived, want 1", len(seen))
		}
	})
	t.Run("which leaves no time for a second", func(t *testing.T) {
		s := startScript(t, failing(notSent(t, 3*time.Second)))
		c := newClient(t, s.srv.Addr, client.WithInsecure(), client.WithKeyedRetries())
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		got, err := effects["Recover"](ctx, c)
		if got != client.NotSent || ctx.Err() != nil {
			t.Errorf("outcome %v (%v) with the context at %v, want not sent at once", got, err, ctx.Err())
		}
		if seen := s.seen(); len(seen) != 1 {
			t.Errorf("%d attempts arrived, want 1", len(seen))
		}
	})
	t.Run("and stop when the caller goes away", func(t *testing.T) {
		s := startScript(t, failing(notSent(t, 4*time.Second)))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := newClient(t, s.srv.Addr, client.WithInsecure(), client.WithKeyedRetries(), afterAttempt(func(int) { cancel() }))
		if got, err := effects["Recover"](ctx, c); got != client.NotSent {
			t.Errorf("outcome %v (%v), want what the only attempt came to: not sent", got, err)
		}
		if seen := s.seen(); len(seen) != 1 {
			t.Errorf("%d attempts arrived, want 1", len(seen))
		}
	})
}

func TestKeyedRetriesWaitAsAsked(t *testing.T) {
	const asked = 400 * time.Millisecond // more than the pause before a second attempt can be by itself
	s := startScript(t, failing(notSent(t, asked)), succeeds)
	c := newClient(t, s.srv.Addr, client.WithInsecure(), client.WithKeyedRetries())
	if _, err := effects["Rotate"](t.Context(), c); err != nil {
		t.Fatal(err)
	}
	seen := s.seen()
	if len(seen) != 2 {
		t.Fatalf("%d attempts arrived, want 2", len(seen))
	}
	if got := seen[1].at.Sub(seen[0].at); got < asked {
		t.Errorf("the second attempt came after %v, want at least %v", got, asked)
	}
}

func TestKeys(t *testing.T) {
	t.Run("each call has its own", func(t *testing.T) {
		s := startScript(t, succeeds)
		c := newClient(t, s.srv.Addr, client.WithInsecure(), client.WithKeyedRetries())
		for range 2 {
			for method, call := range effects {
				if _, err := call(t.Context(), c); err != nil {
					t.Fatalf("%s: %v", method, err)
				}
			}
		}
		known := map[string]bool{}
		for _, a := range s.seen() {
			key := oneKey(t, []arrival{a})
			if len(key) < 26 || known[key] {
				t.Errorf("the key %q is short or was used before", key)
			}
			known[key] = true
		}
	})
	t.Run("the caller's is kept", func(t *testing.T) {
		s := startScript(t, failing(notSent(t, 0)))
		c := newClient(t, s.srv.Addr, client.WithInsecure(), client.WithKeyedRetries())
		ctx := metadata.AppendToOutgoingContext(t.Context(), "Idempotency-Key", "of-the-caller")
		_, _ = effects["Recover"](ctx, c)
		seen := s.seen()
		if key := oneKey(t, seen); key != "of-the-caller" || len(seen) != 3 {
			t.Errorf("%d attempts came with the key %q, want 3 with the caller's", len(seen), key)
		}
	})
	t.Run("none without the option", func(t *testing.T) {
		for method, call := range effects {
			s := startScript(t, failing(notSent(t, 0)))
			_, _ = call(t.Context(), newClient(t, s.srv.Addr, client.WithInsecure()))
			if seen := s.seen(); len(seen) != 1 || len(seen[0].keys) != 0 {
				t.Errorf("%s arrived as %v, want one attempt without a key", method, seen)
			}
		}
	})
	t.Run("none for Get", func(t *testing.T) {
		s := startScript(t, failing(notSent(t, 0)))
		_ = rpcs["Get"](t.Context(), newClient(t, s.srv.Addr, client.WithInsecure(), client.WithKeyedRetries()))
		seen := s.seen()
		if len(seen) != 3 {
			t.Errorf("%d attempts arrived, want the 3 of gRPC's own retries", len(seen))
		}
		for _, a := range seen {
			if len(a.keys) != 0 {
				t.Errorf("Get came with the key %q", a.keys)
			}
		}
	})
}
