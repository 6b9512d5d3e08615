package recoverycodes

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/stytch"
	"recoverycodes.internal/test/documents"
)

// operations are the three RPCs with a good request each.
var operations = map[string]func(context.Context, *Service) error{
	"Get": func(ctx context.Context, s *Service) error {
		_, err := s.Get(ctx, &recoverycodesv1.GetRequest{OrganizationId: "o", MemberId: "m"})
		return err
	},
	"Recover": func(ctx context.Context, s *Service) error {
		_, err := s.Recover(ctx, recoverRequest)
		return err
	},
	"Rotate": func(ctx context.Context, s *Service) error {
		_, err := s.Rotate(ctx, &recoverycodesv1.RotateRequest{OrganizationId: "o", MemberId: "m"})
		return err
	},
}

func refusedAsNotSent(t *testing.T, err error, record *call.Call) {
	t.Helper()
	e := apierror.From(err)
	if e.Code != codes.Unavailable || e.Reason != apierror.NotSent || e.RetryAfter <= 0 || record.Outcome != call.NotSent {
		t.Errorf("outcome %q, %+v", record.Outcome, e)
	}
}

func TestTooLittleTimeIsRefused(t *testing.T) {
	s, _ := newService(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	s.gate.least = time.Minute
	for name, do := range operations {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 59*time.Second)
			defer cancel()
			record := call.New(call.GRPC, "")
			refusedAsNotSent(t, do(call.NewContext(ctx, record), s), record)
		})
	}
}

func TestTooManyInFlightAreRefused(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s, _ := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = w.Write(documents.Rotate())
	})
	s.gate = newGate(0, 1, 0)
	for name, do := range operations {
		first := make(chan error, 1)
		go func() { first <- operations["Rotate"](t.Context(), s) }()
		<-arrived
		record := call.New(call.GRPC, "")
		refusedAsNotSent(t, do(call.NewContext(t.Context(), record), s), record)
		release <- struct{}{}
		if err := <-first; err != nil {
			t.Errorf("%s: the first: %v", name, err)
		}
	}
	go func() { <-arrived; release <- struct{}{} }()
	if err := operations["Get"](t.Context(), s); err != nil {
		t.Errorf("the place is not free again: %v", err)
	}
}

// TestBreaker opens after failures in a row, rests, lets one call try, and closes when that one goes well.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(0, 10, 3)
		failure, success := &stytch.Exchange{Sent: true, Fault: stytch.FaultReset}, &stytch.Exchange{Sent: true, Status: 404}
		try := func(x *stytch.Exchange) bool {
			leave, refusal := g.enter(t.Context(), &operation{name: "Get"})
			if refusal != nil {
				if refusal.RetryAfter != breakerRest {
					t.Errorf("%+v", refusal)
				}
				return false
			}
			leave(x)
			return true
		}
		for _, x := range []*stytch.Exchange{failure, failure, success, failure, failure, failure} {
			if !try(x) {
				t.Fatal("refused too early")
			}
		}
		if try(success) {
			t.Fatal("not refused after three failures in a row")
		}
		time.Sleep(breakerRest + time.Second)
		if !try(failure) || try(success) {
			t.Error("a failed trial does not open it again")
		}
		time.Sleep(breakerRest + time.Second)
		for range 2 {
			if !try(success) {
				t.Error("a good trial does not close it")
			}
		}
		if len(g.slots) != 0 {
			t.Errorf("%d places are not free again", len(g.slots))
		}
	})
}

func TestEvidence(t *testing.T) {
	for name, test := range map[string]struct {
		x    stytch.Exchange
		want error
	}{
		"success":             {stytch.Exchange{Status: 200}, nil},
		"refused":             {stytch.Exchange{Status: 401}, nil},
		"limited":             {stytch.Exchange{Status: 429}, nil},
		"too large an answer": {stytch.Exchange{Status: 200, Fault: stytch.FaultTooLarge}, nil},
		"500":                 {stytch.Exchange{Status: 500}, errFailed},
		"reset":               {stytch.Exchange{Fault: stytch.FaultReset}, errFailed},
		"time-out":            {stytch.Exchange{Fault: stytch.FaultTimeout}, errFailed},
		"no connection":       {stytch.Exchange{Fault: stytch.FaultConnect}, errFailed},
		"caller gone":         {stytch.Exchange{Fault: stytch.FaultCancelled}, errNoEvidence},
		"caller's deadline":   {stytch.Exchange{Fault: stytch.FaultDeadline}, errNoEvidence},
		"panic":               {stytch.Exchange{}, errNoEvidence},
	} {
		if got := evidence(&test.x); !errors.Is(got, test.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestOnlyGetIsSentAgain fails a number of requests and counts how many arrive.
func TestOnlyGetIsSentAgain(t *testing.T) {
	cut := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	status := func(code int) func(http.ResponseWriter) { return func(w http.ResponseWriter) { w.WriteHeader(code) } }
	for name, test := range map[string]struct {
		fail  func(http.ResponseWriter)
		times int32 // how many requests fail
		want  int32 // how many Gets arrive
		done  bool
	}{
		"502 once":       {status(502), 1, 2, true},
		"503 twice":      {status(503), 2, 3, true},
		"500 for ever":   {status(500), 99, 3, false},
		"cut twice":      {cut, 2, 3, true},
		"404":            {status(404), 99, 1, false},
		"429":            {status(429), 99, 1, false},
		"not even asked": {nil, 0, 1, true},
	} {
		for operation, do := range operations {
			t.Run(operation+" "+name, func(t *testing.T) {
				var arrived atomic.Int32
				s, _ := newService(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.ReadAll(r.Body)
					if arrived.Add(1) <= test.times {
						test.fail(w)
						return
					}
					_, _ = w.Write(documents.Recover())
				})
				want, done := test.want, test.done
				if operation != "Get" {
					want, done = 1, test.times == 0
				}
				record := call.New(call.GRPC, "")
				err := do(call.NewContext(t.Context(), record), s)
				if (err == nil) != done || arrived.Load() != want || record.Retries != int(want-1) {
					t.Errorf("%d arrived, %d retries, %v", arrived.Load(), record.Retries, err)
				}
			})
		}
	}
}

// TestRetriesHaveABudget fails every attempt of a thousand Gets: a tenth more are sent, and what was saved up.
func TestRetriesHaveABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, attempts := newRetrier(), 0
		for range 1000 {
			x, retries := r.get(t.Context(), 0, func() stytch.Exchange {
				attempts++
				return stytch.Exchange{Sent: true, Status: 502}
			})
			if x.Status != 502 || retries > maxRetries {
				t.Fatalf("%+v after %d retries", x, retries)
			}
		}
		if attempts < 1000+maxTokens || attempts > 1000+1000/10+maxTokens {
			t.Errorf("%d attempts", attempts)
		}
	})
}

func TestRetriesStayWithinTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := func() stytch.Exchange { return stytch.Exchange{Sent: true, Fault: stytch.FaultReset} }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, retries := newRetrier().get(ctx, time.Second, fail); retries != 0 {
			t.Errorf("%d retries with too little time left", retries)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, retries := newRetrier().get(gone, 0, fail); retries != 0 {
			t.Errorf("%d retries for a caller who has gone", retries)
		}
		start := time.Now()
		if _, retries := newRetrier().get(t.Context(), 0, fail); retries != maxRetries {
			t.Errorf("%d retries", retries)
		}
		if took := time.Since(start); took < retryPause*3/2 || took > retryPause*9/2 {
			t.Errorf("paused %v in all", took)
		}
	})
}
