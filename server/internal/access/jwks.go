package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"recoverycodes.internal/server/internal/reload"
)

const (
	maxKeysBytes = 1 << 20
	minRSABits   = 2048

	// loadTimeout bounds one attempt to get the keys.
	loadTimeout = 5 * time.Second
)

// keyAges says how long keys are used, and how often they are asked for.
type keyAges struct {
	fresh time.Duration // until then nothing is done
	stale time.Duration // from then on a call waits for newer keys; between the two they are loaded on the side
	keep  time.Duration // how long keys last that cannot be renewed

	// The next attempt is no earlier than this after one that was successful, and after one that failed, whatever
	// tokens come.
	pause, retry time.Duration
}

var (
	// A key that the issuer withdraws is refused here after half an hour at the latest while the issuer can be reached.
	addressAges = keyAges{fresh: 10 * time.Minute, stale: 30 * time.Minute, keep: 24 * time.Hour,
		pause: time.Minute, retry: 10 * time.Second}
	// Reading a file takes no time, so it is always waited for. A file that has become bad keeps the old keys.
	fileAges = keyAges{fresh: 10 * time.Second, stale: 10 * time.Second, keep: 1 << 62,
		pause: 10 * time.Second, retry: 10 * time.Second}
)

type keysByID map[string][]jose.JSONWebKey

// keySource holds the keys of one issuer. It is safe for concurrent use.
type keySource struct {
	load   func(context.Context) ([]byte, error)
	ages   keyAges
	report func(error)

	mu      sync.Mutex
	keys    keysByID
	loaded  time.Time     // when keys was asked for
	next    time.Time     // no attempt before
	failing string        // why the last attempt failed; empty when it did not
	flight  chan struct{} // closed when the attempt under way has ended; nil when there is none
}

func newKeySource(issuer JWTIssuer, report func(error)) (*keySource, error) {
	s := &keySource{ages: addressAges, report: func(err error) {
		report(fmt.Errorf("jwt: issuer %q: keys not renewed: %w", issuer.Issuer, err))
	}}
	if issuer.JWKSURL != "" {
		s.load = func(ctx context.Context) ([]byte, error) { return fetchKeys(ctx, issuer) }
		_, err := keysRequest(context.Background(), issuer)
		if err == nil {
			_, err = keysTransport(issuer)
		}
		return s, err
	}
	s.ages = fileAges
	s.load = func(context.Context) ([]byte, error) { return reload.Read(issuer.JWKSFile) }
	data, err := reload.Read(issuer.JWKSFile)
	if err != nil {
		return nil, err
	}
	s.keys, err = parseKeys(data)
	return s, err // loaded stays zero: the first token has the file read again, with the verifier's clock
}

// find returns the issuer's keys of an id, at least one.
func (s *keySource) find(ctx context.Context, now time.Time, id string) ([]jose.JSONWebKey, error) {
	s.mu.Lock()
	age := now.Sub(s.loaded)
	if found := s.lookup(now, id); found != nil && (age < s.ages.stale || s.failing != "") {
		if age >= s.ages.fresh {
			s.renew(now)
		}
		s.mu.Unlock()
		return found, nil
	}
	flight := s.renew(now)
	s.mu.Unlock()

	if flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errKeysUnavailable, ctx.Err())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch found := s.lookup(now, id); {
	case found != nil:
		return found, nil
	case s.failing != "": // newer keys might have been what the token is signed with
		return nil, errKeysUnavailable
	default:
		return nil, fmt.Errorf("%w: its issuer has no key of that name", errToken)
	}
}

// lookup returns the keys of an id that are in force, or nil. Callers hold mu.
func (s *keySource) lookup(now time.Time, id string) []jose.JSONWebKey {
	if !s.loaded.IsZero() && now.Sub(s.loaded) >= s.ages.keep {
		return nil
	}
	return s.keys[id]
}

// renew starts an attempt to load the keys, unless one is under way, which it joins, or it is too early. It returns
// what is closed when the attempt has ended, or nil. Callers hold mu.
func (s *keySource) renew(now time.Time) <-chan struct{} {
	if s.flight != nil || now.Before(s.next) {
		return s.flight
	}
	flight := make(chan struct{})
	s.flight = flight
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
		defer cancel()
		data, err := s.load(ctx)
		var keys keysByID
		if err == nil {
			keys, err = parseKeys(data)
		}
		if s.land(now, keys, err) {
			s.report(err)
		}
		close(flight)
	}()
	return flight
}

// land takes in what an attempt came to, and says whether it is a failure that is not known yet.
func (s *keySource) land(now time.Time, keys keysByID, err error) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	if err != nil {
		news = s.failing != err.Error()
		s.failing, s.next = err.Error(), now.Add(s.ages.retry)
		return news
	}
	s.keys, s.loaded, s.failing, s.next = keys, now, "", now.Add(s.ages.pause)
	return false
}

// parseKeys reads a JWK set. Keys that are of no use here are passed over, as the standard asks; a set that has no
// other is an error.
func parseKeys(data []byte) (keysByID, error) {
	if len(data) > maxKeysBytes {
		return nil, errors.New("the key set is too large")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("the key set is not JSON of that kind")
	}
	keys := make(keysByID)
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		var uses struct {
			Operations []string `json:"key_ops"`
		}
		if key.UnmarshalJSON(raw) != nil || json.Unmarshal(raw, &uses) != nil || key.KeyID == "" || !strong(key) ||
			key.Use != "" && key.Use != "sig" || uses.Operations != nil && !slices.Contains(uses.Operations, "verify") {
			continue
		}
		keys[key.KeyID] = append(keys[key.KeyID], key)
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set has no public RSA or elliptic-curve key for signatures that has an id")
	}
	return keys, nil
}

// strong says whether a key is a public one that is not too weak.
func strong(key jose.JSONWebKey) bool {
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return true
	default: // a secret, a private key, or a kind that no allowed algorithm uses
		return false
	}
}

// fetchKeys asks JWKSURL once. It follows no redirect, and keeps no connection: the next request is minutes away.
func fetchKeys(ctx context.Context, issuer JWTIssuer) ([]byte, error) {
	req, err := keysRequest(ctx, issuer)
	if err != nil {
		return nil, err
	}
	transport, err := keysTransport(issuer)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = fmt.Errorf("%s: %w", op.Op, op.Err) // without its ports, which differ each time, the same reason is the same
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer has status %d", resp.StatusCode)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxKeysBytes+1))
}

func keysRequest(ctx context.Context, issuer JWTIssuer) (*http.Request, error) {
	if !keysAddress(issuer.JWKSURL) {
		return nil, errors.New("the address of the keys is neither https nor http on loopback")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer.JWKSURL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	if issuer.TokenFile != "" {
		token, err := reload.Read(issuer.TokenFile)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	return req, nil
}

func keysTransport(issuer JWTIssuer) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if issuer.CAFile != "" {
		data, err := reload.Read(issuer.CAFile)
		if err != nil {
			return nil, err
		}
		if config.RootCAs, err = authorities(data); err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
	}
	return &http.Transport{
		Proxy:                  nil, // only main reads the environment
		TLSClientConfig:        config,
		DisableKeepAlives:      true,
		DisableCompression:     true, // what is bounded is what was sent
		MaxResponseHeaderBytes: 64 << 10,
	}, nil
}
