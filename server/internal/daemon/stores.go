package daemon

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"recoverycodes.internal/server/internal/attempts"
	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/once"
	"recoverycodes.internal/server/internal/recoverycodes"
	"recoverycodes.internal/server/internal/telemetry"
)

// storeCheckLimit bounds how long a start waits for the stores. One that does not answer is no reason not to start.
const storeCheckLimit = time.Second

// store is where keyed calls leave what they came to.
type store interface {
	recoverycodes.Once
	io.Closer
}

// memory is a store in memory, which has nothing to close.
type memory struct{ *once.Memory }

func (memory) Close() error { return nil }

// openStores makes the store of idempotency keys and that of wrong codes, which share a Redis if there is one. run is the
// longest that a call may take. A Redis that must not be used is an error; one that cannot be asked now is not, since
// there is more to serve than what needs it.
func openStores(cfg *config.Serve, projectID string, run time.Duration, observer *telemetry.Observer, log *zap.Logger) (store, recoverycodes.Attempts, error) {
	limits := attempts.Limits{
		Window: cfg.AttemptsWindow, MemberLimit: cfg.AttemptsPerMember,
		CallerFailures: cfg.AttemptsFailures, CallerShare: float64(cfg.AttemptsFailureShare) / 100,
	}
	if cfg.OnceRedisURL == "" {
		counts, err := attempts.NewMemory(limits)
		if err != nil {
			return nil, nil, err
		}
		// The secret lives as long as the store, and nobody else has it.
		keys, err := once.NewMemory([]byte(rand.Text()+rand.Text()), cfg.KeyTTL, cfg.MaxKeys)
		return memory{keys}, bounded(counts, limits), err
	}
	secrets := ofProject(cfg.StoreSecrets, projectID)
	keys, err := once.NewRedis(once.RedisConfig{
		URL: cfg.OnceRedisURL, Secrets: secrets, TTL: cfg.KeyTTL,
		Lease: run + 5*time.Second, // above the longest run by what a busy machine may add
	})
	if err != nil {
		return nil, nil, UsageError{Err: fmt.Errorf("--once-redis-url: %w", err)}
	}
	counts, err := attempts.NewRedis(keys.Client(), attempts.RedisConfig{
		Limits: limits, Secrets: secrets, FailOpen: !cfg.AttemptsFailClosed,
		OnDown: func(c attempts.Consequence) { observer.Uncounted(string(c)) },
	})
	if err == nil {
		err = check(keys, counts, log)
	}
	if err != nil {
		return nil, nil, errors.Join(UsageError{Err: fmt.Errorf("--once-redis-url: %w", err)}, keys.Close())
	}
	return keys, bounded(counts, limits), nil
}

// bounded has no caller send more codes at once than may be wrong before its share of them counts.
func bounded(store attempts.Store, limits attempts.Limits) attempts.Store {
	if limits.CallerShare >= 1 {
		return store // no caller is ever refused for its share
	}
	return attempts.NewAtOnce(store, limits.CallerFailures)
}

// ofProject makes secrets for one Stytch project out of those of the file: two deployments that share a Redis and a file
// but not a project share no keys.
func ofProject(secrets [][]byte, projectID string) (own [][]byte) {
	for _, secret := range secrets {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte("store of project " + projectID))
		own = append(own, h.Sum(nil))
	}
	return own
}

// check asks Redis whether it can be used.
func check(keys *once.Redis, counts *attempts.Redis, log *zap.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), storeCheckLimit)
	defer cancel()
	err := keys.Check(ctx)
	if err == nil {
		err = counts.Check(ctx)
	}
	if errors.Is(err, once.ErrDown) || errors.Is(err, attempts.ErrDown) {
		log.Warn("calls with an idempotency key are refused until the store answers, and wrong codes are not counted together", zap.Error(err))
		return nil
	}
	return err
}
