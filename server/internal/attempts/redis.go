package attempts

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// reserveLimit bounds how long an attempt waits for Redis before it counts as down.
	reserveLimit = time.Second
	// settleLimit bounds how long an answer is held back for its attempt to be settled.
	settleLimit = 250 * time.Millisecond
)

// ErrDown refuses an attempt because the store cannot be asked.
var ErrDown = errors.New("attempts: the store cannot be asked")

// Consequence is what an attempt came to because the store could not be asked.
type Consequence string

// The consequences.
const (
	Refused   Consequence = "refused"   // it was not made
	Alone     Consequence = "alone"     // it was counted by this process only
	Unsettled Consequence = "unsettled" // it was made, and its verdict is lost: it stays counted for the member
)

// RedisConfig is how a store in Redis counts.
type RedisConfig struct {
	Limits Limits
	// Secrets are what names are hashed under, each at least 32 random bytes. Attempts are counted under all of them and
	// added under the first. To change it, first give the new one to all replicas in second place, then in the
	// first, and drop the old one when a window has passed.
	Secrets [][]byte
	// FailOpen is what happens while Redis cannot be asked. Without it attempts are refused. With it they are counted by
	// this process as Memory does: each replica begins anew, and a member may be sent MemberLimit by each of them.
	FailOpen bool
	// OnDown is told whenever the store could not be asked; it must not block. It may be nil.
	OnDown func(Consequence)
}

// Redis counts in a Redis server, for all processes that share the server, the window and a secret. It is exact for
// members; for callers it is as coarse as Memory. Times are those of the server. It is safe for concurrent use and
// needs no closing.
//
// What it has in Redis are HMACs, counts, times and random ids. It needs a single server, not a cluster, that evicts
// nothing: what is evicted, or lost in a restart or a failover, is fresh attempts. Whoever opens the client sees to
// that, and closes it. The client should have short timeouts, ContextTimeoutEnabled, and retry nothing: a reservation
// that is asked for twice could be refused because of itself.
type Redis struct {
	client  *redis.Client
	limits  Limits
	secrets [][]byte
	local   *Memory // nil: attempts are refused while Redis is down
	onDown  func(Consequence)
}

// NewRedis returns a store, which keeps a copy of the secrets. It does not connect: see Check.
func NewRedis(client *redis.Client, cfg RedisConfig) (*Redis, error) {
	if err := cfg.Limits.check(); err != nil {
		return nil, err
	}
	if len(cfg.Secrets) == 0 {
		return nil, errors.New("attempts: the store has no secret")
	}
	r := &Redis{client: client, limits: cfg.Limits, onDown: cfg.OnDown}
	for _, secret := range cfg.Secrets {
		if len(secret) == 0 {
			return nil, errors.New("attempts: a secret of the store is empty")
		}
		for _, other := range r.secrets {
			if bytes.Equal(secret, other) { // each attempt would count twice
				return nil, errors.New("attempts: a secret of the store stands twice")
			}
		}
		r.secrets = append(r.secrets, bytes.Clone(secret))
	}
	if r.onDown == nil {
		r.onDown = func(Consequence) {}
	}
	if cfg.FailOpen {
		local, err := NewMemory(cfg.Limits)
		if err != nil {
			return nil, err
		}
		r.local = local
	}
	return r, nil
}

// Reserve has the contract of Memory.Reserve, for all stores on the same Redis. When Redis cannot be asked it does as
// it was configured: it counts in this process, or returns ErrDown. It also returns ErrDown, with the context's own
// error, when the context ends. An attempt that is refused so may have been counted, if only the answer was lost.
//
// A verdict is told to Redis even if the context has ended by then; settle takes a quarter of a second at most.
func (r *Redis) Reserve(ctx context.Context, a Attempt) (settle func(Verdict), err error) {
	n := r.names(a)
	err = r.reserve(ctx, n)
	var exceeded *ExceededError
	switch {
	case err == nil:
		return settleOnce(func(v Verdict) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
			defer cancel()
			if r.settle(ctx, n, v) != nil {
				r.onDown(Unsettled)
			}
		}), nil
	case errors.As(err, &exceeded):
		return nil, exceeded
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", ErrDown, ctx.Err())
	case r.local != nil:
		r.onDown(Alone)
		return r.local.Reserve(ctx, a)
	default:
		r.onDown(Refused)
		return nil, ErrDown
	}
}

// Check tries out, with an attempt that nobody makes, whether the client's user may do what the store needs. It is for
// the start of a server. The error is ErrDown if it may pass by itself; another is for the operator. A server that is
// full is in order.
func (r *Redis) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reserveLimit)
	defer cancel()
	n := r.names(Attempt{Caller: rand.Text(), Member: rand.Text()})
	err := r.reserve(ctx, n)
	if err == nil || redis.IsOOMError(err) {
		err = r.settle(ctx, n, Right)
	}
	var reply redis.Error
	switch {
	case err == nil:
		return nil
	case redis.IsPermissionError(err),
		errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "ERR ") && !redis.IsMaxClientsError(err):
		return errors.New("attempts: the Redis server does not do what the store needs, or not for this user: " +
			"EVAL, EVALSHA, TIME, and ZADD, ZREM, ZREMRANGEBYSCORE, ZRANGEBYSCORE, HGETALL, HKEYS, HINCRBY, HDEL " +
			"and PEXPIRE on " + keyPrefix + "*")
	default:
		return ErrDown
	}
}

// names is what an attempt is counted under, under each secret.
type names struct {
	id              string
	members, caller []string
}

func (r *Redis) names(a Attempt) names {
	n := names{id: rand.Text()}
	member, slice := a.member(), fmt.Sprintf(":%d", r.limits.slice().Milliseconds())
	for _, secret := range r.secrets {
		n.members = append(n.members, key(name(secret, forMember, member)))
		n.caller = append(n.caller, key(name(secret, forCaller, a.Caller))+slice)
	}
	return n
}

func key(name digest) string {
	return keyPrefix + base64.RawURLEncoding.EncodeToString(name[:])
}

// reserve runs the reserve script. Its error is an *ExceededError or one of the client library, which can hold anything
// and is told to nobody.
func (r *Redis) reserve(ctx context.Context, n names) error {
	ctx, cancel := context.WithTimeout(ctx, reserveLimit)
	defer cancel()
	keys := append(append(make([]string, 0, 2*len(r.secrets)), n.members...), n.caller...)
	reply, err := reserveScript.Run(ctx, r.client, keys,
		n.id, r.limits.window().Milliseconds(), r.limits.MemberLimit,
		r.limits.slice().Milliseconds(), slicesKept, r.limits.CallerFailures, r.limits.CallerShare).Slice()
	if err != nil {
		return err
	}
	if len(reply) != 2 {
		return errReply
	}
	word, _ := reply[0].(string)
	wait, _ := reply[1].(int64)
	switch subject := Subject(word); {
	case word == "reserved":
		return nil
	case subject == Member, subject == Caller:
		return &ExceededError{Who: subject, RetryAfter: time.Duration(wait) * time.Millisecond}
	default:
		return errReply
	}
}

// errReply is an answer that the scripts do not give.
var errReply = errors.New("attempts: no answer of the script")

// settle runs the settle script, if it has anything to do.
func (r *Redis) settle(ctx context.Context, n names, v Verdict) error {
	back, what := "", ""
	if v.givesBack() {
		back = n.id
	}
	switch v {
	case Wrong:
		what = "wrong"
	case Right:
		what = "right"
	case Unknown, Unjudged:
	}
	if back == "" && what == "" {
		return nil
	}
	return settleScript.Run(ctx, r.client, []string{n.members[0], n.caller[0]},
		back, what, r.limits.slice().Milliseconds(), slicesKept).Err()
}
