package once

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// oldestRedis is the first major version whose scripts may say that they are to run when memory is full.
const oldestRedis = 7

const (
	dialLimit   = time.Second
	answerLimit = 500 * time.Millisecond
	connections = 32
	// connectionLife bounds how long a server whose settings were changed goes unnoticed: every new connection is checked.
	connectionLife = 5 * time.Minute
)

// refusal is why a server is not used, for an operator to read. It wraps nothing: the client library would take it apart.
type refusal string

func (r refusal) Error() string { return "once: " + string(r) }

var (
	// errLate: the claim was given too late to be used.
	errLate = errors.New("once: the answer came too late")
	// errReplica: the server takes no writes, which a failover may change.
	errReplica = errors.New("once: the Redis server is a replica")
)

// redisOptions reads the URL. Its errors show nothing of it, because it may hold a password.
func redisOptions(text string) (*redis.Options, error) {
	invalid := errors.New("once: the Redis URL is not valid: it must be redis://[user:password@]host[:port][/database], " +
		"the same with rediss://, or unix://[user:password@]/path[?db=database]")
	u, err := url.Parse(text)
	if err != nil || u.Fragment != "" {
		return nil, invalid
	}
	for name := range u.Query() {
		if name != "db" {
			return nil, invalid
		}
	}
	options, err := redis.ParseURL(text)
	if err != nil {
		return nil, invalid
	}
	options.DialTimeout, options.DialerRetries = dialLimit, 1
	options.ReadTimeout, options.WriteTimeout, options.PoolTimeout = answerLimit, answerLimit, answerLimit
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1 // who asks knows whether asking again is safe
	options.PoolSize, options.ConnMaxLifetime = connections, connectionLife
	options.OnConnect = func(ctx context.Context, conn *redis.Conn) error { return inspect(ctx, conn) }
	// Neither push messages nor pipelines are used, so nothing is set up for them.
	options.Protocol, options.DisableIdentity, options.PipelinePoolSize = 2, true, -1
	return options, nil
}

// inspect asks a server, in one round trip, whether it can be a store.
func inspect(ctx context.Context, conn redis.Cmdable) error {
	pipe := conn.Pipeline()
	var sections []*redis.StringCmd
	for _, section := range []string{"server", "memory", "replication"} {
		sections = append(sections, pipe.Info(ctx, section))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	info := map[string]string{}
	for _, section := range sections {
		for line := range strings.Lines(section.Val()) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				info[name] = value
			}
		}
	}
	return judge(info)
}

// judge says whether a server of which INFO says this can be a store.
func judge(info map[string]string) error {
	version := info["redis_version"]
	first, _, _ := strings.Cut(version, ".")
	switch major, err := strconv.Atoi(first); {
	case err != nil:
		return refusal("the Redis server does not tell its version")
	case major < oldestRedis:
		return refusal(fmt.Sprintf("the Redis server has version %s; %d.0 or later is needed", word(version), oldestRedis))
	case info["redis_mode"] == "cluster":
		return refusal("the Redis server is part of a Redis Cluster; a single server is needed")
	case info["maxmemory_policy"] == "":
		return refusal("the Redis server does not tell its maxmemory-policy")
	case info["maxmemory_policy"] != "noeviction":
		return refusal(fmt.Sprintf("the Redis server has maxmemory-policy %s, with which it forgets calls that were made; "+
			"it must be noeviction", word(info["maxmemory_policy"])))
	case info["role"] == "slave":
		return errReplica
	}
	return nil
}

// Check asks whether Redis can be used, by a claim that it releases again. It is for the start of a server. The error
// wraps ErrDown if that may pass by itself: Redis cannot be reached, is loading, is a replica or takes no writes. Another
// error is for the operator: its eviction policy, its version, a password or the permissions of its user are not right.
// A store that is full is in order.
func (r *Redis) Check(ctx context.Context) error {
	err := inspect(ctx, r.client)
	if err == nil {
		err = r.tryOut(ctx)
	}
	var refused refusal
	switch {
	case err == nil, redis.IsOOMError(err):
		return nil
	case errors.As(err, &refused):
		return refused
	case redis.IsAuthError(err):
		return refusal("the Redis server does not accept the user and password of the URL")
	case redis.IsPermissionError(err), replyCode(err) == "ERR" && !redis.IsMaxClientsError(err):
		return refusal("the Redis server does not do what a store needs, or not for this user: INFO, EVAL, EVALSHA, TIME, and HMGET, " +
			"HGET, HSET, EXISTS, DEL and PEXPIRE on " + keyPrefix + "*")
	default:
		return down(err)
	}
}

// tryOut claims and releases a call that nobody makes.
func (r *Redis) tryOut(ctx context.Context) error {
	cl, err := r.newClaim(Call{Key: rand.Text()})
	if err != nil {
		return err
	}
	if _, err := r.find(ctx, cl); err != nil {
		return err
	}
	_, err = r.conclude(ctx, cl, freed, nil)
	return err
}

// unasked reports whether an error of the client library says that a claim cannot have been given: the command was
// not sent, or Redis refused it.
func unasked(err error) bool {
	var (
		refused refusal
		network *net.OpError
	)
	return errors.As(err, &refused) || errors.Is(err, errReplica) || replyCode(err) != "" ||
		errors.As(err, &network) && network.Op == "dial" ||
		errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrClosed)
}

// replyCode is the first word of an error that Redis has answered, "" for any other.
func replyCode(err error) string {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return ""
	}
	code, _, _ := strings.Cut(reply.Error(), " ")
	return code
}

// down is ErrDown with the reason, in words that can hold no secret: what a server that is no Redis sends back, and a
// Redis that complains of a command, may repeat the password.
func down(err error) error {
	var (
		refused refusal
		network net.Error
		trust   *tls.CertificateVerificationError
		plain   tls.RecordHeaderError
	)
	reason := "what answers is not Redis"
	switch {
	case errors.As(err, &refused), errors.Is(err, errReplica):
		reason = strings.TrimPrefix(err.Error(), "once: ")
	case replyCode(err) != "":
		reason = "it answers " + word(replyCode(err))
	case errors.Is(err, redis.ErrPoolTimeout):
		reason = "no connection was free in time"
	case errors.Is(err, redis.ErrClosed):
		reason = "it is closed"
	case errors.Is(err, errLate), errors.Is(err, context.DeadlineExceeded):
		reason = "no answer in time"
	case errors.Is(err, context.Canceled):
		reason = "the caller has gone"
	case errors.Is(err, io.EOF):
		reason = "the connection was closed"
	case errors.As(err, &trust):
		reason = trust.Error()
	case errors.As(err, &plain):
		reason = "it does not speak TLS"
	case errors.As(err, &network):
		reason = network.Error()
	}
	return fmt.Errorf("%w: %s", ErrDown, reason)
}

var words = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`)

// word is a word that a server has sent, if it is one.
func word(s string) string {
	if words.MatchString(s) {
		return s
	}
	return "something else"
}
