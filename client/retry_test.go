package client_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// rpcs are the three methods behind one signature, so that a table can have a column for them.
var rpcs = map[string]func(context.Context, recoverycodesv1.RecoveryCodesServiceClient) error{
	"Get": func(ctx context.Context, c recoverycodesv1.RecoveryCodesServiceClient) error {
		_, err := c.Get(ctx, &recoverycodesv1.GetRequest{})
		return err
	},
	"Recover": func(ctx context.Context, c recoverycodesv1.RecoveryCodesServiceClient) error {
		_, err := c.Recover(ctx, &recoverycodesv1.RecoverRequest{})
		return err
	},
	"Rotate": func(ctx context.Context, c recoverycodesv1.RecoveryCodesServiceClient) error {
		_, err := c.Rotate(ctx, &recoverycodesv1.RotateRequest{})
		return err
	},
}

// retriedByMeshes are the codes that some proxy or client library retries.
var retriedByMeshes = []codes.Code{
	codes.Canceled, codes.DeadlineExceeded, codes.Internal, codes.ResourceExhausted, codes.Unavailable,
}

func newClient(t *testing.T, target string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(target, opts...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

func TestGetIsTriedThreeTimes(t *testing.T) {
	tests := []struct {
		name     string
		failures int64
		want     codes.Code
	}{
		{"two failures are mended", 2, codes.OK},
		{"the third is told", 3, codes.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			svc := &servicetest.Service{}
			svc.OnGet = func(context.Context, *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
				if svc.Runs("Get") <= tt.failures {
					return nil, status.Error(codes.Unavailable, "not now")
				}
				return &recoverycodesv1.GetResponse{}, nil
			}
			c := newClient(t, servicetest.Start(t, svc).Addr, client.WithInsecure())
			if got := status.Code(rpcs["Get"](t.Context(), c)); got != tt.want {
				t.Errorf("Get ended with %v, want %v", got, tt.want)
			}
			if got := svc.Runs("Get"); got != 3 {
				t.Errorf("the handler ran %d times, want 3", got)
			}
		})
	}
}

func TestNothingElseIsTriedAgain(t *testing.T) {
	for method, call := range rpcs {
		for _, code := range append(retriedByMeshes, codes.Unknown, codes.Aborted) {
			if method == "Get" && code == codes.Unavailable {
				continue // the one retry there is
			}
			t.Run(fmt.Sprintf("%s %v", method, code), func(t *testing.T) {
				svc := servicetest.Answering(func(context.Context) error { return status.Error(code, "no") })
				c := newClient(t, servicetest.Start(t, svc).Addr, client.WithInsecure())
				if got := status.Code(call(t.Context(), c)); got != code {
					t.Errorf("%s ended with %v, want %v", method, got, code)
				}
				if got := svc.Runs(method); got != 1 {
					t.Errorf("the handler ran %d times, want 1", got)
				}
			})
		}
	}
}

// retryEverything is what a service config must not be able to bring about.
const retryEverything = `{"methodConfig": [{
  "name": [{}],
  "retryPolicy": {
    "maxAttempts": 4, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"]
  }
}]}`

// pushing returns a resolver for scheme "manual" that answers with addrs and, as DNS can with a TXT record, with a
// service config.
func pushing(config string, addrs ...string) *manual.Resolver {
	r := manual.NewBuilderWithScheme("manual")
	var state resolver.State
	for _, addr := range addrs {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: addr})
	}
	r.InitialState(state)
	r.BuildCallback = func(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) {
		if config != "" {
			state.ServiceConfig = cc.ParseServiceConfig(config)
			r.InitialState(state)
		}
	}
	return r
}

func TestNobodyElseBringsRetries(t *testing.T) {
	for _, method := range []string{"Recover", "Rotate"} {
		t.Run(method, func(t *testing.T) {
			unavailable := func(context.Context) error { return status.Error(codes.Unavailable, "not now") }

			t.Run("pushed by the resolver", func(t *testing.T) {
				svc := servicetest.Answering(unavailable)
				r := pushing(retryEverything, servicetest.Start(t, svc).Addr)
				c := newClient(t, "manual:///service", client.WithInsecure(), client.WithDialOptions(grpc.WithResolvers(r)))
				_ = rpcs[method](t.Context(), c)
				if got := svc.Runs(method); got != 1 {
					t.Errorf("the handler ran %d times, want 1", got)
				}
			})

			t.Run("given as a dial option", func(t *testing.T) {
				svc := servicetest.Answering(unavailable)
				c := newClient(t, servicetest.Start(t, svc).Addr, client.WithInsecure(),
					client.WithDialOptions(grpc.WithDefaultServiceConfig(retryEverything)))
				_ = rpcs[method](t.Context(), c)
				if got := svc.Runs(method); got != 1 {
					t.Errorf("the handler ran %d times, want 1", got)
				}
			})

			// The control: a plain connection obeys the same config, so the cases above would see it if the Client did.
			t.Run("control", func(t *testing.T) {
				svc := servicetest.Answering(unavailable)
				r := pushing(retryEverything, servicetest.Start(t, svc).Addr)
				conn, err := grpc.NewClient("manual:///service", grpc.WithResolvers(r),
					grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				_ = rpcs[method](t.Context(), recoverycodesv1.NewRecoveryCodesServiceClient(conn))
				if got := svc.Runs(method); got != 4 {
					t.Errorf("the handler ran %d times, want 4", got)
				}
			})
		})
	}
}
