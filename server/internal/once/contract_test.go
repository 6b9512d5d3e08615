package once_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"recoverycodes.internal/server/internal/once"
)

// waitLimit is far above what anything here takes.
const waitLimit = 20 * time.Second

// store is what the stores have in common.
type store interface {
	Do(ctx context.Context, c once.Call, run func() (record []byte, keep bool)) (record []byte, replayed bool, err error)
}

// moment is when a call comes, after another has ended.
type moment int

const (
	atOnce  moment = iota
	inTime         // as late as there is still a record
	expired        // as soon as there is none
)

func call(caller, key, request string) once.Call {
	return once.Call{Caller: caller, Key: key, Request: []byte(request)}
}

// answer is what Do returned.
type answer struct {
	record   string
	replayed bool
	err      error
}

func (a answer) String() string { return fmt.Sprintf("%q, %t, %v", a.record, a.replayed, a.err) }

// do makes a call whose run, if it is called, returns record and keep.
func do(ctx context.Context, s store, c once.Call, record string, keep bool) answer {
	got, replayed, err := s.Do(ctx, c, func() ([]byte, bool) { return []byte(record), keep })
	return answer{string(got), replayed, err}
}

// doBroken makes a call whose run panics, and returns what Do panicked with.
func doBroken(s store, c once.Call, value any) (panicked any) {
	defer func() { panicked = recover() }()
	_, _, _ = s.Do(context.Background(), c, func() ([]byte, bool) { panic(value) })
	return nil
}

var (
	first  = call("a", "k", "request")
	other  = call("a", "k", "other")
	kept   = func(s store) { do(context.Background(), s, first, "first", true) }
	freed  = func(s store) { do(context.Background(), s, first, "first", false) }
	broken = func(s store) { doBroken(s, first, "broken") }
)

// afterTheFirst is what a call gets when another has ended. Its own run is kept, with the record "second".
var afterTheFirst = []struct {
	name  string
	first func(store)
	call  once.Call
	after moment
	want  answer
}{
	{"kept", kept, first, atOnce, answer{record: "first", replayed: true}},
	{"kept, at the end of its time", kept, first, inTime, answer{record: "first", replayed: true}},
	{"kept, after its time", kept, first, expired, answer{record: "second"}},
	{"kept, another request", kept, other, atOnce, answer{err: once.ErrReused}},
	{"kept, another request, after its time", kept, other, expired, answer{record: "second"}},
	{"kept, another key", kept, call("a", "l", "request"), atOnce, answer{record: "second"}},
	{"kept, another caller", kept, call("b", "k", "request"), atOnce, answer{record: "second"}},
	{"kept, a caller who runs into the key", kept, call("", "ak", "request"), atOnce, answer{record: "second"}},
	{"freed", freed, first, atOnce, answer{record: "second"}},
	{"freed, another request", freed, other, atOnce, answer{record: "second"}},
	{"broken", broken, first, atOnce, answer{err: once.ErrUnknown}},
	{"broken, at the end of its time", broken, first, inTime, answer{err: once.ErrUnknown}},
	{"broken, after its time", broken, first, expired, answer{record: "second"}},
	{"broken, another request", broken, other, atOnce, answer{err: once.ErrReused}},
}

// testARecordIsItsReadersOwn: who changes the bytes that he got changes nothing for others.
func testARecordIsItsReadersOwn(t *testing.T, s store) {
	t.Helper()
	c := call("a", "k", "request")
	for range 3 {
		record, _, err := s.Do(t.Context(), c, func() ([]byte, bool) { return []byte("first"), true })
		if err != nil || string(record) != "first" {
			t.Fatalf("got %q, %v", record, err)
		}
		clear(record)
	}
}

func testPanics(t *testing.T, s store) {
	t.Helper()
	if got := doBroken(s, call("a", "k", "request"), "broken"); got != "broken" {
		t.Errorf("Do panicked with %v, want what run panicked with", got)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = s.Do(context.Background(), call("a", "l", "request"), func() ([]byte, bool) {
			runtime.Goexit()
			return nil, false
		})
	}()
	<-ended
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	for _, key := range []string{"k", "l"} {
		if got, want := do(ctx, s, call("a", key, "request"), "second", true), (answer{err: once.ErrUnknown}); got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
}

// racedKeys is how many keys testManyAtOnce uses.
const racedKeys = 5

// testManyAtOnce lets goroutines race for few keys, each time at one of the stores, which are to be as one. Each run counts itself.
func testManyAtOnce(t *testing.T, rounds int, stores ...store) {
	t.Helper()
	const keys, goroutines = racedKeys, 16
	var running, kept, runs [keys]atomic.Int64
	var records [keys]sync.Map
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				k := rand.IntN(keys)
				record, _, err := stores[rand.IntN(len(stores))].Do(context.Background(), call("a", fmt.Sprint(k), "request"), func() ([]byte, bool) {
					if running[k].Add(1) != 1 {
						t.Errorf("key %d: two runs at a time", k)
					}
					defer running[k].Add(-1)
					n := runs[k].Add(1)
					runtime.Gosched()
					if n < 20 && rand.IntN(20) != 0 {
						return nil, false
					}
					if kept[k].Add(1) != 1 {
						t.Errorf("key %d: two runs were kept", k)
					}
					return fmt.Append(nil, n), true
				})
				if err != nil {
					t.Errorf("key %d: %v", k, err)
				}
				if record != nil {
					records[k].Store(string(record), true)
				}
			}
		})
	}
	wg.Wait()
	for k := range keys {
		n := 0
		records[k].Range(func(any, any) bool { n++; return true })
		if kept[k].Load() != 1 || n != 1 {
			t.Errorf("key %d: %d runs kept and %d records given, want one of each", k, kept[k].Load(), n)
		}
	}
}
