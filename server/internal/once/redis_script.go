package once

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"

	"github.com/redis/go-redis/v9"
)

// keyPrefix is how the name of everything begins that the store has in Redis. After it comes the name of a call, so a
// record is found, or it is not; nothing is listed.
const keyPrefix = "recoverycodes:once:"

// A record is a hash. Its fingerprint is there from the claim on; the rest says what became of the run:
//
//	token, until    it is under way, by whoever has the token, until that time of Redis in milliseconds; if it has
//	                passed, the one who ran is lost
//	record          it was kept: the sealed record
//	neither         it broke, and nobody knows what it did
//
// All fields but until are HMACs, sealed or random.

// claimScript looks for a call under all its names and, if there is nothing, writes that it is under way. It looks and
// writes in one step. Asked again with the same token, because an answer was lost or came late, it says again that the
// call is claimed, and the lease begins anew; but not if it is over, since others have been told that nobody knows
// what became of the run. Fingerprints are HMACs, so comparing them here tells nobody anything.
//
// It begins with no "#!lua", since Redis would then refuse it whole when memory is full; so it refuses only the
// write, and what is there is still found.
//
//	KEYS  the names, that for new records first
//	ARGV  token, lease and time to live in milliseconds, a fingerprint for each name
var claimScript = redis.NewScript(`
local token, lease, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i, name in ipairs(KEYS) do
  local found = redis.call('HMGET', name, 'fingerprint', 'record', 'token', 'until')
  if found[1] then
    if found[1] ~= ARGV[3 + i] then return {'reused'} end
    if found[2] then return {'kept', i - 1, found[2]} end
    local over = not found[3] or now >= tonumber(found[4])
    if found[3] == token then
      if over then return {'lapsed'} end
    else
      return {over and 'unknown' or 'running'}
    end
  end
end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[4], 'token', token, 'until', string.format('%d', now + lease))
redis.call('PEXPIRE', KEYS[1], lease + ttl)
return {'claimed'}
`)

// settleScript ends the run that has the token; it must not fail for want of memory, since the run has had its effect.
// If the claim is gone, because Redis lost it or the run took longer than it lives, the outcome is written all the
// same, unless another call has the name by now. It returns whether it has changed anything.
//
//	KEYS  as above
//	ARGV  token, time to live in milliseconds, fingerprint for the first name, outcome, sealed record
var settleScript = redis.NewScript(`#!lua flags=allow-oom
local token, outcome = ARGV[1], ARGV[4]
if outcome == 'freed' then
  if redis.call('HGET', KEYS[1], 'token') ~= token then return 0 end
  return redis.call('DEL', KEYS[1])
end
for _, name in ipairs(KEYS) do
  if redis.call('EXISTS', name) == 1 and redis.call('HGET', name, 'token') ~= token then return 0 end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[3])
if outcome == 'kept' then redis.call('HSET', KEYS[1], 'record', ARGV[5]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
`)

// errReply is an answer that the scripts do not give.
var errReply = errors.New("once: no answer of the script")

// claim is a call on its way to its run, as Redis is told of it.
type claim struct {
	names        []string // under each secret
	fingerprints [][]byte
	boxes        []box
	token        string // what makes this claim different from another of the same call
	// unsure: Redis was asked and may have given the claim, and no run has begun.
	unsure bool
}

func (r *Redis) newClaim(c Call) (*claim, error) {
	cl := &claim{token: rand.Text()}
	for _, s := range r.ring {
		name, fingerprint := s.name(c), s.fingerprint(c)
		box, err := s.box(c, fingerprint)
		if err != nil {
			return nil, err
		}
		cl.names = append(cl.names, keyPrefix+base64.RawURLEncoding.EncodeToString(name[:]))
		cl.fingerprints = append(cl.fingerprints, fingerprint[:])
		cl.boxes = append(cl.boxes, box)
	}
	return cl, nil
}

// What the claim script finds. That a record was kept or that nobody knows is also what a run is settled with.
const (
	foundClaimed = "claimed" // the run is this call's to do and to settle
	foundLapsed  = "lapsed"  // it was, but it was not begun in time
	foundRunning = "running"
	foundReused  = "reused"
	foundKept    = "kept"
	foundUnknown = "unknown"
)

// finding is the claim script's answer.
type finding struct {
	state  string
	secret int    // kept: under which secret
	sealed []byte // kept: the record
}

// find runs the claim script.
func (r *Redis) find(ctx context.Context, cl *claim) (finding, error) {
	args := []any{cl.token, r.lease.Milliseconds(), r.ttl.Milliseconds()}
	for _, fingerprint := range cl.fingerprints {
		args = append(args, fingerprint)
	}
	reply, err := claimScript.Run(ctx, r.client, cl.names, args...).Slice()
	if err != nil {
		return finding{}, err
	}
	if len(reply) == 0 {
		return finding{}, errReply
	}
	var f finding
	switch f.state, _ = reply[0].(string); f.state {
	case foundClaimed, foundLapsed, foundRunning, foundReused, foundUnknown:
		return f, nil
	case foundKept:
		if len(reply) != 3 {
			return finding{}, errReply
		}
		secret, _ := reply[1].(int64)
		sealed, _ := reply[2].(string)
		if secret < 0 || secret >= int64(len(cl.boxes)) {
			return finding{}, errReply
		}
		f.secret, f.sealed = int(secret), []byte(sealed)
		return f, nil
	default:
		return finding{}, errReply
	}
}

// conclude runs the settle script.
func (r *Redis) conclude(ctx context.Context, cl *claim, o outcome, sealed []byte) (changed bool, err error) {
	word := [...]string{unknown: "unknown", kept: "kept", freed: "freed"}[o]
	return settleScript.Run(ctx, r.client, cl.names, cl.token, r.ttl.Milliseconds(), cl.fingerprints[0], word, sealed).Bool()
}
