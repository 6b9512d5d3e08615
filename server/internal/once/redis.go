package once

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// claimLimit bounds how long a call asks for its claim, in at most claimAttempts, before the store counts as down.
	claimLimit    = 1500 * time.Millisecond
	claimAttempts = 2
	// A waiter looks again after a pause that grows from the first to the last.
	firstLook = 10 * time.Millisecond
	lastLook  = 250 * time.Millisecond
	// settleWait bounds how long an answer is held back for its run to be settled.
	settleWait = 250 * time.Millisecond
	// writeLimit bounds one attempt to settle or release, and the others are the pauses between attempts.
	writeLimit = time.Second
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
	// A claim that may have been given and that nobody wants is looked for so long, so often and by so many at once.
	// One that is missed holds its key as a lost run does.
	releaseLimit = 5 * time.Second
	releaseLooks = 3
	maxReleases  = 64
	// closeLimit bounds how long Close waits for runs to be settled.
	closeLimit = 5 * time.Second
)

// RedisConfig says where a store is and how long it keeps what.
type RedisConfig struct {
	// URL is redis://, rediss:// (TLS) or unix://, with user, password and database if there are any. No error shows it.
	URL string
	// Secrets are what records are named and sealed under, each at least 32 random bytes. New records take the first,
	// those of the others are still found. To change it, first give the new one to all replicas in second place,
	// then in the first, and drop the old one when TTL has passed.
	Secrets [][]byte
	// TTL is how long a record lives from the end of its run.
	TTL time.Duration
	// Lease is how long a run may take. If it has not been settled by then, the key gives ErrUnknown, for TTL, to
	// replicas that need not wait for a process that may have died. The caller owes a lease that is longer than the
	// longest run: what bounds it, and some seconds more. A run that takes longer is still settled at its end.
	Lease time.Duration
}

// Redis is a store in a Redis server, for all processes that share the server and a secret. Its promise holds while Redis
// keeps what was written: it must not evict, which is checked, and what it loses in a restart or a failover may
// run again. It must be closed. It is safe for concurrent use.
type Redis struct {
	client     *redis.Client
	ring       ring
	ttl, lease time.Duration
	releases   chan struct{} // has an element for each release under way

	// life ends when nothing is to be tried any more.
	life context.Context
	stop context.CancelFunc

	mu         sync.Mutex
	closed     bool
	background sync.WaitGroup // added to under the lock and before closed
}

// silence is a logger for the Redis client, which would write to stderr: what matters is in the errors.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// NewRedis returns a store, of whose secrets it keeps a copy. It does not connect: see Check.
func NewRedis(cfg RedisConfig) (*Redis, error) {
	options, err := redisOptions(cfg.URL)
	if err != nil {
		return nil, err
	}
	ring, err := newRing(cfg.Secrets)
	if err != nil {
		return nil, err
	}
	if cfg.TTL < time.Millisecond || cfg.Lease < time.Millisecond {
		return nil, errors.New("once: a record's time and a run's lease must be a millisecond or more")
	}
	redis.SetLogger(silence{})
	r := &Redis{
		client: redis.NewClient(options), ring: ring, ttl: cfg.TTL, lease: cfg.Lease, releases: make(chan struct{}, maxReleases),
	}
	r.life, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// Client is the connection to Redis, for others who keep something there. It is checked as this store needs it, asks
// nothing twice, and is closed with the store.
func (r *Redis) Client() *redis.Client { return r.client }

// Do has the contract of Memory.Do, for all stores on the same Redis. More can come between: ErrDown if Redis cannot be
// asked whether the key is free. One who waits already goes on waiting then: it is known that there is another
// call, so what it gets is that call's record or, at the end of the context, ErrWaiting. If the process of a run ends
// before the run does, or Redis cannot be told of its end, the key gives ErrUnknown when the lease is over.
//
// The answer of a run does not wait long for Redis: what is left to write is written in the background.
func (r *Redis) Do(ctx context.Context, c Call, run func() (record []byte, keep bool)) (record []byte, replayed bool, err error) {
	cl, err := r.newClaim(c) // before the run: afterwards nothing may fail
	if err != nil {
		return nil, false, err
	}
	defer r.forget(cl)
	waiting := false
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		found, err := r.claim(ctx, cl)
		if err != nil && (!waiting || !errors.Is(err, ErrDown)) {
			return nil, false, err
		}
		switch found.state {
		case foundClaimed:
			return r.run(cl, run), false, nil
		case foundReused:
			return nil, false, ErrReused
		case foundUnknown:
			return nil, false, ErrUnknown
		case foundKept:
			record, err := cl.boxes[found.secret].open(found.sealed)
			if err != nil {
				return nil, false, ErrUnknown
			}
			return record, true, nil
		case foundRunning:
			waiting = true
		}
		if !sleep(ctx, pause) {
			return nil, false, fmt.Errorf("%w: %w", ErrWaiting, ctx.Err())
		}
	}
}

// claim asks Redis for a call. The context does not bound this, or its end would leave a claim that nobody knows of.
func (r *Redis) claim(ctx context.Context, cl *claim) (finding, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimLimit)
	defer cancel()
	var reason error
	for attempt := range claimAttempts {
		if attempt > 0 && !sleep(ctx, firstLook) {
			break
		}
		start := time.Now()
		found, err := r.find(ctx, cl)
		switch {
		case err == nil && (found.state == foundLapsed || found.state == foundClaimed && time.Since(start) > r.lease/4):
			// Not enough of the lease may be left for a run. If some is, asking again makes it whole.
			cl.unsure, reason = true, errLate
		case err == nil:
			cl.unsure = cl.unsure && found.state != foundClaimed
			return found, nil
		case redis.IsOOMError(err):
			return finding{}, ErrFull
		default:
			cl.unsure, reason = cl.unsure || !unasked(err), err
		}
	}
	return finding{}, down(reason)
}

// run does the run that was claimed and settles it, also when it panics.
func (r *Redis) run(cl *claim, run func() ([]byte, bool)) []byte {
	var (
		o      outcome
		sealed []byte
	)
	defer func() { r.settle(cl, o, sealed) }()
	record, keep := run()
	if keep {
		o, sealed = kept, cl.boxes[0].seal(record)
	} else {
		o = freed
	}
	return record
}

// settle tells Redis what became of a run. It returns when that was tried once, and goes on in the background for as
// long as a lease: a record that comes too late for some is still there for others.
func (r *Redis) settle(cl *claim, o outcome, sealed []byte) {
	tried := make(chan struct{})
	tell := sync.OnceFunc(func() { close(tried) })
	if !r.inBackground(func() {
		r.persist(r.lease, func(ctx context.Context) bool {
			defer tell()
			_, err := r.conclude(ctx, cl, o, sealed)
			return err == nil // also if the name has become another's: then there is nothing to settle
		})
	}) {
		return
	}
	wait := time.NewTimer(settleWait)
	defer wait.Stop()
	select {
	case <-tried:
	case <-wait.C:
	}
}

// forget releases, in the background, a claim that may have been given and whose run has not begun.
func (r *Redis) forget(cl *claim) {
	if !cl.unsure {
		return
	}
	select {
	case r.releases <- struct{}{}:
	default:
		return
	}
	looks := 0
	if !r.inBackground(func() {
		defer func() { <-r.releases }()
		// What is not there may yet come, if Redis stalled with the question in its buffer.
		r.persist(releaseLimit, func(ctx context.Context) bool {
			released, err := r.conclude(ctx, cl, freed, nil)
			if err == nil {
				looks++
			}
			return released || looks == releaseLooks || err != nil && r.closing()
		})
	}) {
		<-r.releases
	}
}

// persist tries until it is done, for so long or until the store's life ends.
func (r *Redis) persist(limit time.Duration, try func(context.Context) (done bool)) {
	life, cancel := context.WithTimeout(r.life, limit)
	defer cancel()
	attempt := func() bool {
		ctx, cancel := context.WithTimeout(r.life, writeLimit)
		defer cancel()
		return try(ctx)
	}
	for pause := firstPause; !attempt() && sleep(life, pause); pause = min(2*pause, lastPause) {
	}
}

// inBackground calls f in a goroutine that Close waits for, or reports that the store is closed.
func (r *Redis) inBackground(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.background.Go(f)
	return true
}

func (r *Redis) closing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Close ends the store. It waits, for seconds at most, until the runs that have ended are settled; what is not then, and a
// run that has not ended, is lost to the others. No call should be under way.
func (r *Redis) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	late := time.AfterFunc(closeLimit, r.stop)
	defer late.Stop()
	r.background.Wait()
	r.stop()
	return r.client.Close()
}

// sleep waits between the half of a pause and all of it. It reports whether the context allows more.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause/2 + rand.N(pause/2)) //nolint:gosec // jitter is no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
