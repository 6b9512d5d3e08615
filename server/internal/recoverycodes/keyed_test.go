package recoverycodes

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/once"
	"recoverycodes.internal/test/documents"
)

// keyed makes a call with an idempotency key and returns what its record says.
func keyed(ctx context.Context, s *Service, operation, key string) (*call.Call, error) {
	record := call.New(call.GRPC, "")
	record.IdempotencyKeys = []string{key}
	return record, operations[operation](call.NewContext(ctx, record), s)
}

func withStore(t *testing.T, s *Service, capacity int) {
	t.Helper()
	store, err := once.NewMemory([]byte(strings.Repeat("s", 32)), time.Minute, capacity)
	if err != nil {
		t.Fatal(err)
	}
	s.options.Once = store
}

// TestOneEffectForAKey makes each call thrice with one key, under every way in which the first can end, and counts
// what arrives upstream. The second and third get what the first got.
func TestOneEffectForAKey(t *testing.T) {
	cut := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	answer := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, test := range map[string]struct {
		upstream func(http.ResponseWriter)
		code     codes.Code
		arrive   int32
	}{
		"done":           {answer(200, string(documents.Recover())), codes.OK, 1},
		"refused":        {answer(401, `{"error_type":"unable_to_authenticate_recovery_code","error_message":"No."}`), codes.Unauthenticated, 1},
		"unknown":        {answer(502, "<html>"), codes.Unknown, 1},
		"cut":            {cut, codes.Unknown, 1},
		"answer lost":    {answer(200, "{"), codes.Unknown, 1},
		"limited: again": {answer(429, `{"error_type":"too_many_requests"}`), codes.ResourceExhausted, 3},
	} {
		for _, operation := range []string{"Recover", "Rotate"} {
			t.Run(operation+" "+name, func(t *testing.T) {
				var arrived atomic.Int32
				s, _ := newService(t, func(w http.ResponseWriter, r *http.Request) {
					for name := range r.Header {
						if strings.Contains(strings.ToLower(name), "idempotency") {
							t.Errorf("the key is sent upstream in %s", name)
						}
					}
					_, _ = io.ReadAll(r.Body)
					arrived.Add(1)
					test.upstream(w)
				})
				withStore(t, s, 10)
				var first call.Outcome
				for i := range 3 {
					record, err := keyed(t.Context(), s, operation, "key-1")
					code := codes.OK
					if err != nil {
						code = apierror.From(err).Code
					}
					if i == 0 {
						first = record.Outcome
					}
					if code != test.code || record.Outcome != first || record.Replayed != (i > 0 && test.arrive == 1) {
						t.Errorf("call %d: %s, %q after %q, replayed %v", i, code, record.Outcome, first, record.Replayed)
					}
				}
				if n := arrived.Load(); n != test.arrive {
					t.Errorf("%d requests arrived, want %d", n, test.arrive)
				}
			})
		}
	}
}

func TestReplayIsTheSameAnswer(t *testing.T) {
	s, _ := newService(t, answering(200, string(documents.Recover())))
	withStore(t, s, 10)
	var answers [2]*recoverycodesv1.RecoverResponse
	for i := range answers {
		record := call.New(call.REST, "")
		record.IdempotencyKeys = []string{"k"}
		var err error
		if answers[i], err = s.Recover(call.NewContext(t.Context(), record), recoverRequest); err != nil {
			t.Fatal(err)
		}
		if string(record.Answer) != string(documents.Recover()) {
			t.Errorf("call %d: the bytes for REST differ", i)
		}
	}
	if !proto.Equal(answers[0], answers[1]) {
		t.Error("the answers differ")
	}
}

// TestCallersWithOneKeyWait lets many come at once: one request arrives, and all get its answer.
func TestCallersWithOneKeyWait(t *testing.T) {
	var arrived atomic.Int32
	release := make(chan struct{})
	s, _ := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived.Add(1)
		<-release
		_, _ = w.Write(documents.Rotate())
	})
	withStore(t, s, 10)
	var group sync.WaitGroup
	var replayed atomic.Int32
	for range 20 {
		group.Go(func() {
			record, err := keyed(t.Context(), s, "Rotate", "k")
			if err != nil {
				t.Error(err)
			}
			if record.Replayed {
				replayed.Add(1)
			}
		})
	}
	// One that is not prepared to wait is told that the outcome is not known to it: the other may be under way.
	for arrived.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if record, err := keyed(short, s, "Rotate", "k"); apierror.From(err).Reason != apierror.OutcomeUnknown || record.Outcome != call.Unknown {
		t.Errorf("the impatient one: %v", err)
	}
	close(release)
	group.Wait()
	if arrived.Load() != 1 || replayed.Load() != 19 {
		t.Errorf("%d arrived, %d replayed", arrived.Load(), replayed.Load())
	}
}

// TestWhoGivesUpWaitingSaysSo has a caller go while another call with its key is under way. It is told that it does not know,
// and its record that somebody else will.
func TestWhoGivesUpWaitingSaysSo(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s, _ := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = w.Write(documents.Rotate())
	})
	withStore(t, s, 10)
	var first *call.Call
	var group sync.WaitGroup
	group.Go(func() {
		var err error
		if first, err = keyed(t.Context(), s, "Rotate", "k"); err != nil {
			t.Error(err)
		}
	})
	<-arrived
	ctx, leave := context.WithCancel(t.Context())
	leave()
	second, err := keyed(ctx, s, "Rotate", "k")
	if !second.GaveUp || second.Outcome != call.Unknown || err == nil || apierror.From(err).Reason != apierror.OutcomeUnknown {
		t.Errorf("%+v %v", second, err)
	}
	close(release)
	group.Wait()
	if first.GaveUp || first.Outcome != call.Done {
		t.Errorf("%+v", first)
	}
}

func TestKeyRefusals(t *testing.T) {
	s, _ := newService(t, answering(200, string(documents.Recover())))
	withStore(t, s, 1)
	if _, err := keyed(t.Context(), s, "Recover", "k"); err != nil {
		t.Fatal(err)
	}
	_, err := keyed(t.Context(), s, "Rotate", "k")
	if e := apierror.From(err); e.Reason != apierror.KeyReused || e.Code != codes.InvalidArgument || e.HTTP != 422 {
		t.Errorf("another request: %+v", e)
	}
	record, err := keyed(t.Context(), s, "Rotate", "k2")
	refusedAsNotSent(t, err, record)
	if err := operations["Rotate"](t.Context(), s); err != nil {
		t.Errorf("an unkeyed call with a full store: %v", err)
	}
	for _, bad := range [][]string{{""}, {strings.Repeat("k", 256)}, {"a b"}, {"ä"}, {"a\n"}, {"a", "b"}} {
		for _, operation := range []string{"Recover", "Rotate"} {
			record := call.New(call.GRPC, "")
			record.IdempotencyKeys = bad
			err := operations[operation](call.NewContext(t.Context(), record), s)
			var e *apierror.Error
			if !errors.As(err, &e) || e.Code != codes.InvalidArgument || e.Violations[0].Field != call.IdempotencyKey {
				t.Errorf("%q: %v", bad, err)
			}
			if err != nil && bad[0] != "" && strings.Contains(err.Error(), bad[0]+" ") {
				t.Errorf("the key is told: %v", err)
			}
		}
	}
}

// TestWhatWasNotSentFreesTheKey has no upstream at first.
func TestWhatWasNotSentFreesTheKey(t *testing.T) {
	var arrived atomic.Int32
	s, _ := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived.Add(1)
		_, _ = w.Write(documents.Rotate())
	})
	withStore(t, s, 10)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if record, err := keyed(gone, s, "Rotate", "k"); err == nil || record.Outcome != call.NotSent {
		t.Errorf("%q %v", record.Outcome, err)
	}
	if record, err := keyed(t.Context(), s, "Rotate", "k"); err != nil || record.Replayed {
		t.Errorf("replayed %v, %v", record.Replayed, err)
	}
	if arrived.Load() != 1 {
		t.Errorf("%d arrived", arrived.Load())
	}
}
