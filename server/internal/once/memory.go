package once

import (
	"container/list"
	"context"
	"crypto/hmac"
	"fmt"
	"sync"
	"time"
)

// dropsPerCall is how many expired records a call clears away at most. More than the one that it may add, so that the
// store shrinks; few, so that no caller pays for a long silence.
const dropsPerCall = 2

// Memory is a store in this process: its promise does not reach other replicas and ends with the process. It has
// no goroutine and no timer, and needs no closing; an expired record is given to nobody, and its place is taken back by
// the calls that follow. It is safe for concurrent use.
type Memory struct {
	sealer   sealer
	ttl      time.Duration
	capacity int

	mu      sync.Mutex
	entries map[digest]*entry
	// ended has the entries whose run is over, the first to expire in front: all live equally long, so the order in
	// which they end is the order in which they expire.
	ended list.List
}

// NewMemory returns an empty store. The secret, of which it keeps a copy, must not be empty and should be at least 32
// random bytes. A record lives for ttl from the end of its run. The store has places for capacity keys, those of
// the calls under way included; a record that has not expired is never given up for a new one.
func NewMemory(secret []byte, ttl time.Duration, capacity int) (*Memory, error) {
	s, err := newSealer(secret)
	if err != nil {
		return nil, err
	}
	return &Memory{sealer: s, ttl: ttl, capacity: capacity, entries: make(map[digest]*entry)}, nil
}

// outcome is what became of a run.
type outcome int

const (
	unknown outcome = iota // it panicked: nobody knows what it did
	kept                   // it left a record
	freed                  // the key may be used again; the entry is in the store no longer
)

// entry is one run and, when it is over, what is left of it.
type entry struct {
	name        digest
	fingerprint digest
	done        chan struct{} // closed when the run is over; what follows is written before

	outcome outcome
	sealed  []byte
	expires time.Time
	place   *list.Element // in Memory.ended, guarded by its lock
}

func (e *entry) expired(now time.Time) bool {
	return e.place != nil && !now.Before(e.expires)
}

// Do returns the record of the one run that the caller's key has within the store's time, and whether that is a replay:
// false means that run was called, here and now, and this is what it returned.
//
// With keep, the record is given to everybody who repeats the call. Without, it is certain that nothing was sent, or
// that the call may be made again: the record is for this caller only and the key is free; if others wait, one of
// them runs. If run panics, so does Do, and the key gives ErrUnknown for as long as a record would have lived.
//
// The context bounds only the wait for another's run. Whether there is time for a run of its own is for run to say, and
// so is its end: a run that does not return holds its key.
func (m *Memory) Do(ctx context.Context, c Call, run func() (record []byte, keep bool)) (record []byte, replayed bool, err error) {
	name, fingerprint := m.sealer.name(c), m.sealer.fingerprint(c)
	box, err := m.sealer.box(c, fingerprint) // before the run: afterwards nothing may fail
	if err != nil {
		return nil, false, err
	}
	for {
		e, found, err := m.claim(name, fingerprint)
		if err != nil {
			return nil, false, err
		}
		if !found {
			defer m.settle(e) // also when run panics
			record, keep := run()
			if keep {
				e.sealed = box.seal(record)
				e.outcome = kept
			} else {
				e.outcome = freed
			}
			return record, false, nil
		}
		if err := e.wait(ctx); err != nil {
			return nil, false, err
		}
		// The entry that was waited for counts, even if it has expired since.
		switch e.outcome {
		case kept:
			record, err := box.open(e.sealed)
			if err != nil {
				return nil, false, ErrUnknown
			}
			return record, true, nil
		case unknown:
			return nil, false, ErrUnknown
		case freed: // look again: the key is for whoever claims it first
		}
	}
}

// claim finds the entry of a name or makes one, whose run is then the caller's to do and to settle.
func (m *Memory) claim(name, fingerprint digest) (e *entry, found bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if e, ok := m.entries[name]; ok {
		if !e.expired(now) {
			if !hmac.Equal(e.fingerprint[:], fingerprint[:]) {
				return nil, false, ErrReused
			}
			return e, true, nil
		}
		m.drop(e)
	}
	for range dropsPerCall {
		front := m.ended.Front()
		if front == nil || !front.Value.(*entry).expired(now) {
			break
		}
		m.drop(front.Value.(*entry))
	}
	if len(m.entries) >= m.capacity {
		return nil, false, ErrFull
	}
	e = &entry{name: name, fingerprint: fingerprint, done: make(chan struct{})}
	m.entries[name] = e
	return e, false, nil
}

// drop takes an entry whose run is over out of the store. The lock is held.
func (m *Memory) drop(e *entry) {
	m.ended.Remove(e.place)
	delete(m.entries, e.name)
}

// settle ends the run of an entry, with the outcome that it was given.
func (m *Memory) settle(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.outcome == freed {
		delete(m.entries, e.name)
	} else {
		e.expires = time.Now().Add(m.ttl)
		e.place = m.ended.PushBack(e)
	}
	close(e.done)
}

// wait returns when the run of the entry is over, or an error if the context ends first.
func (e *entry) wait(ctx context.Context) error {
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-e.done: // what is known is told, also to one who has no more time
		return nil
	default:
		return fmt.Errorf("%w: %w", ErrWaiting, ctx.Err())
	}
}
