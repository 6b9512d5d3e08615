// Package config declares every setting of the server once, and turns arguments and environment into values. Wrong
// settings are reported all together, by name. It reads files that settings name and nothing else: the environment
// comes in as a function.
package config

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Serve is what `recoverycodesd serve` runs by.
type Serve struct {
	GRPCListen, HTTPListen string

	// Sandbox puts an emulated Stytch behind the server. The fields of the upstream are then empty.
	Sandbox bool

	// SandboxSeed is the text of the file that says what the sandbox starts from, nil for its own.
	SandboxSeed []byte

	ProjectID, Secret string
	BaseURL           *url.URL
	RootCAs           *x509.CertPool // nil for the system's

	// SecretFile is where Secret was read, and is read again when it changes; empty for a secret of the environment.
	SecretFile string

	Access

	ConnectTimeout, HeaderTimeout, UpstreamTimeout time.Duration
	LeastTime                                      time.Duration
	DrainDelay, DrainTimeout, ConnectionAge        time.Duration
	MaxInFlight, BreakerFailures                   int
	KeyTTL                                         time.Duration
	MaxKeys                                        int

	OnceRedisURL string   // empty for a store in memory
	StoreSecrets [][]byte // the current one first; empty when there is no file of them

	Telemetry

	baseURL, caFile, storeSecretFile string
}

// settings binds every setting of serve to its field.
func (c *Serve) settings() []Setting {
	projectID := text(&c.ProjectID, "stytch-project-id", "", "The Stytch project id.")
	projectID.Env = "STYTCH_PROJECT_ID"
	secret := text(&c.Secret, "", "", "The project's secret. Not a flag, since arguments are public on a machine.")
	secret.Env = "STYTCH_SECRET"
	secretFile := text(&c.SecretFile, "stytch-secret-file", "", "A file that holds the secret, instead of STYTCH_SECRET.")
	secretFile.Env = "STYTCH_SECRET_FILE"
	baseURL := text(&c.baseURL, "stytch-base-url", "",
		"Stytch's address; by default api.stytch.com for project-live- ids, else test.stytch.com. http:// only to loopback.")
	baseURL.Env = "STYTCH_BASE_URL"
	caFile := text(&c.caFile, "stytch-ca-file", "", "A PEM file of the certificates to trust for Stytch's address, instead of the system's.")
	caFile.Env = "STYTCH_CA_FILE"
	return slices.Concat([]Setting{
		door(&c.GRPCListen, "grpc-listen", "127.0.0.1:50051", "Where gRPC is served: host:port, or unix:/path."),
		door(&c.HTTPListen, "http-listen", "127.0.0.1:8080", "Where REST is served: host:port, or unix:/path."),
		boolean(&c.Sandbox, "sandbox", "Serve an emulated Stytch; the STYTCH_ settings are then ignored."),
		seedFile(&c.SandboxSeed, "sandbox-seed", "A JSON file of organizations and members for --sandbox; see docs/sandbox.md."),
		projectID,
		secret,
		secretFile,
		baseURL,
		caFile,
	}, c.Access.settings(), []Setting{
		duration(&c.ConnectTimeout, "upstream-connect-timeout", "5s", "For a connection to Stytch, and again for its TLS handshake."),
		duration(&c.HeaderTimeout, "upstream-header-timeout", "31s", "From a request's last byte to the header of its answer."),
		duration(&c.UpstreamTimeout, "upstream-timeout", "31s", "For a whole exchange with Stytch, whose own limit is 30 s."),
		duration(&c.LeastTime, "upstream-least-time", "250ms", "What must be left of a call's deadline; a call with less is refused before anything is sent."),
		number(&c.MaxInFlight, 1, "upstream-max-in-flight", "1000", "Calls at Stytch at once; one more is refused before anything is sent."),
		number(&c.BreakerFailures, 0, "upstream-breaker-failures", "20",
			"After so many failures of Stytch in a row, calls are refused for 5 s before anything is sent; 0 is never."),
		duration(&c.KeyTTL, "idempotency-ttl", "10m", "How long the answer to an idempotency key is kept."),
		number(&c.MaxKeys, 1, "idempotency-max-keys", "10000",
			"Idempotency keys kept at once, each with its answer of some kilobytes; a call with one more is refused before anything is sent."),
		text(&c.OnceRedisURL, "once-redis-url", "", "A Redis that keeps idempotency keys for all replicas, such as rediss://host:6379/0, instead of "+
			"this process's memory. A URL with a password belongs into the environment variable."),
		text(&c.storeSecretFile, "store-secret-file", "", "A file of the secret under which shared stores are sealed, the same for all replicas; "+
			"further lines are earlier secrets that still open what they sealed."),
		span(&c.ConnectionAge, "connection-age", "30m", "How old a connection to a door may become, give or take a tenth, before its client is asked to make another, "+
			"so that load spreads to new replicas and withdrawn client certificates end; 0s is for ever."),
		span(&c.DrainDelay, "drain-delay", "5s", "How long everything is still served after SIGTERM, while balancers learn that the server is not ready. "+
			"SIGINT does without."),
		duration(&c.DrainTimeout, "drain-timeout", "10s",
			"For open calls and connections to end when stopping. Calls that were sent are waited for longer, up to the upstream "+
				"timeout and 2 s, before connections are cut."),
	}, c.Telemetry.settings())
}

// ServeSettings returns the settings of serve, for --help and for the test that holds the README to them.
func ServeSettings() []Setting { return new(Serve).settings() }

// ParseServe reads the settings of serve. The error joins everything that is wrong; it contains flag.ErrHelp when
// help was asked for.
func ParseServe(args []string, getenv func(string) string) (*Serve, error) {
	c := &Serve{}
	errs := parse(c.settings(), args, getenv)
	if c.LeastTime >= c.UpstreamTimeout && c.UpstreamTimeout > 0 {
		errs = append(errs, errors.New("--upstream-least-time: must be less than --upstream-timeout, or every call is refused"))
	}
	errs = append(errs, c.upstream()...)
	errs = append(errs, c.stores()...)
	errs = append(errs, c.callers()...)
	errs = append(errs, c.telemetry()...)
	return c, errors.Join(errs...)
}

// upstream checks the settings that depend on each other and fills in the base URL.
func (c *Serve) upstream() (errs []error) {
	if c.Sandbox {
		// Credentials that happen to stand in the environment are not used: nothing goes to the real Stytch.
		c.ProjectID, c.Secret = "", ""
		return nil
	}
	if c.ProjectID == "" {
		errs = append(errs, errors.New("STYTCH_PROJECT_ID: is required (or --sandbox)"))
	} else if strings.ContainsAny(c.ProjectID, ": \t\r\n") {
		errs = append(errs, errors.New("STYTCH_PROJECT_ID: holds a character that no project id has"))
	}
	if strings.TrimSpace(c.Secret) != c.Secret {
		errs = append(errs, errors.New("STYTCH_SECRET: begins or ends with white space"))
	}
	switch {
	case c.Secret != "" && c.SecretFile != "":
		errs = append(errs, errors.New("STYTCH_SECRET_FILE: give this or STYTCH_SECRET, not both"))
	case c.SecretFile != "":
		secret, err := readSecret(c.SecretFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("STYTCH_SECRET_FILE: %w", err))
		}
		c.Secret = secret
	case c.Secret == "":
		errs = append(errs, errors.New("STYTCH_SECRET: is required, or STYTCH_SECRET_FILE (or --sandbox)"))
	}
	base, err := webAddress(cmp.Or(c.baseURL, defaultBaseURL(c.ProjectID)))
	if err != nil {
		errs = append(errs, fmt.Errorf("STYTCH_BASE_URL: %w", err))
	}
	c.BaseURL = base
	if c.caFile != "" {
		if c.RootCAs, err = readCertificates(c.caFile); err != nil {
			errs = append(errs, fmt.Errorf("STYTCH_CA_FILE: %w", err))
		}
	}
	return errs
}

// minSharedTTL is longer than any call waits for another with its key, with the usual time limits.
const minSharedTTL = time.Minute

// stores checks what replicas share.
func (c *Serve) stores() (errs []error) {
	if c.storeSecretFile != "" {
		secrets, err := readSecrets(c.storeSecretFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("--store-secret-file: %w", err))
		}
		c.StoreSecrets = secrets
	}
	if c.OnceRedisURL != "" && c.KeyTTL > 0 && c.KeyTTL < minSharedTTL {
		errs = append(errs, fmt.Errorf("--idempotency-ttl: want at least %v with --once-redis-url: who waits for a call must not be late for its answer", minSharedTTL))
	}
	if c.OnceRedisURL != "" && c.storeSecretFile == "" {
		errs = append(errs, errors.New("--store-secret-file: is required with --once-redis-url, whose Redis must not be able to read what it keeps"))
	}
	return errs
}

func defaultBaseURL(projectID string) string {
	if strings.HasPrefix(projectID, "project-live-") {
		return "https://api.stytch.com"
	}
	return "https://test.stytch.com"
}

// webAddress is an absolute URL without credentials, query or fragment.
func webAddress(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("want an address such as https://test.stytch.com")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("http:// is for loopback only, since the secret goes with every request")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("want https://")
	}
	return u, nil
}

// loopback reports whether a host is this machine alone. That of an address for every interface is not.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Sandbox is what `recoverycodesd sandbox` runs by.
type Sandbox struct {
	Listen string
	Seed   []byte // as SandboxSeed of Serve
	TLS    bool

	// CertificateFile is written with the certificate to trust, when not empty.
	CertificateFile string
}

func (c *Sandbox) settings() []Setting {
	listen := address(&c.Listen, "listen", "127.0.0.1:8090", "Where the emulated Stytch is served.")
	listen.Env = "RECOVERYCODES_SANDBOX_LISTEN"
	seed := seedFile(&c.Seed, "seed", "A JSON file of organizations and members.")
	seed.Env = "RECOVERYCODES_SANDBOX_SEED"
	secure := boolean(&c.TLS, "tls", "Serve HTTPS, HTTP/2 included, with a certificate made at the start.")
	secure.Env = "RECOVERYCODES_SANDBOX_TLS"
	certificate := text(&c.CertificateFile, "certificate-file", "", "With --tls, a file to write that certificate to, in PEM, for clients to trust.")
	certificate.Env = "RECOVERYCODES_SANDBOX_CERTIFICATE_FILE"
	return []Setting{listen, seed, secure, certificate}
}

// SandboxSettings returns the settings of sandbox.
func SandboxSettings() []Setting { return new(Sandbox).settings() }

// ParseSandbox reads the settings of sandbox, like ParseServe.
func ParseSandbox(args []string, getenv func(string) string) (*Sandbox, error) {
	c := &Sandbox{}
	errs := parse(c.settings(), args, getenv)
	if c.CertificateFile != "" && !c.TLS {
		errs = append(errs, errors.New("--certificate-file: has no meaning without --tls"))
	}
	return c, errors.Join(errs...)
}
