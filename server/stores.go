package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"recoverycodes.internal/server/internal/config"
	"recoverycodes.internal/server/internal/once"
	"recoverycodes.internal/server/internal/recoverycodes"
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

// openStore makes the store of idempotency keys. run is the longest that a call may take. A Redis that must not be used is
// an error; one that cannot be asked now is not, since only keyed calls need it.
func openStore(cfg *config.Serve, run time.Duration, log *zap.Logger) (store, error) {
	if cfg.OnceRedisURL == "" {
		// The secret lives as long as the store, and nobody else has it.
		m, err := once.NewMemory([]byte(rand.Text()+rand.Text()), cfg.KeyTTL, cfg.MaxKeys)
		return memory{m}, err
	}
	shared, err := once.NewRedis(once.RedisConfig{
		URL: cfg.OnceRedisURL, Secrets: cfg.StoreSecrets, TTL: cfg.KeyTTL,
		Lease: run + 5*time.Second, // above the longest run by what a busy machine may add
	})
	if err != nil {
		return nil, usageError{fmt.Errorf("--once-redis-url: %w", err)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeCheckLimit)
	defer cancel()
	switch err := shared.Check(ctx); {
	case errors.Is(err, once.ErrDown):
		log.Warn("calls with an idempotency key are refused until the store answers", zap.Error(err))
	case err != nil:
		return nil, errors.Join(usageError{fmt.Errorf("--once-redis-url: %w", err)}, shared.Close())
	}
	return shared, nil
}
