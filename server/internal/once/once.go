// Package once keeps a keyed call from having its effect twice: within a time, at most one run per caller and
// idempotency key, and everybody who repeats the call gets the record of that run. It knows callers, keys and bytes. It
// must not know what a request asks, what a record says, or which failures mean that nothing was sent: whoever
// runs the call decides that.
//
// There are two stores with one contract, that of Memory.Do: Memory is for one process, Redis for as many as share it.
//
// A store is no place for secrets, and records are full of them, so what is kept is sealed and what it is found by is
// a keyed hash. Without the server's secret a store gives away how many calls it holds, how long their records are and
// when they end.
package once

import "errors"

// Call is a call that is to have at most one effect.
type Call struct {
	// Caller is who calls. Callers do not share keys: the same key of two callers is two keys.
	Caller string
	// Key is the caller's idempotency key.
	Key string
	// Request is the method and the request in a canonical form: two calls ask for the same if these bytes are equal.
	Request []byte
}

// What Do may answer instead of a record. In each case the run of this call was not called.
var (
	// ErrReused: the caller has used the key for another request.
	ErrReused = errors.New("once: the key was used with another request")
	// ErrFull: there is no place for a new key.
	ErrFull = errors.New("once: no place for another key")
	// ErrDown: the store cannot be asked, so it is not known whether there was another call with the key; nothing was
	// run. The text says why, without a secret.
	ErrDown = errors.New("once: the store cannot be asked")
	// ErrWaiting: the context ended while another call with the same key was under way. What that call comes to, this
	// caller does not learn. The error wraps the context's own.
	ErrWaiting = errors.New("once: gave up waiting for a call with the same key")
	// ErrUnknown: there was a run and it left no record that can be read, because it panicked or its process ended.
	// Nobody knows what it did, and it is not run again.
	ErrUnknown = errors.New("once: nobody knows what became of the call with this key")
)
