package attack

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	"recoverycodes.internal/test/daemon"
)

// newMark returns a secret that is found again: nobody else has it, and what is escaped is escaped in it.
func newMark() string { return rand.Text() + "\"<&/+%'>" + rand.Text() }

// cage is a server whose every secret is known, and everything that has left it.
type cage struct {
	*target
	corpus *corpus
	issuer *issuer
	redis  *daemon.Redis
	stdout string
	conn   *grpc.ClientConn

	collectorFails atomic.Bool

	mu      sync.Mutex
	secrets map[string]string // by name
}

// secret remembers a secret, which must not leave, and returns it.
func (c *cage) secret(name, text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if had := c.secrets[name]; had != "" && had != text {
		name += " " + strconv.Itoa(len(c.secrets))
	}
	c.secrets[name] = text
	return text
}

// What the sandbox is behind: constants of its page, secrets nevertheless.
const sandboxSecret = "secret-test-sandbox"

var sandboxCodes = []string{
	code1, "mill-7pon-d2ru", "h4ze-lnut-9tre", "copp-er3k-ettl", "wren-5nes-t8ed", "6bra-mble-path", "tide-p0ol-crab", "flin-t2an-dste",
	"oatc-akes-4tea", "lant-ern9-glow",
}

// newCage starts a build of the server with everything on that writes: debug lines, metrics, the audit log, and whatever
// Go's libraries write when they are told to by the environment. Its stores are in a Redis with a password.
func newCage(t *testing.T, binary string, secureUpstream bool) *cage {
	t.Helper()
	c := &cage{corpus: newCorpus(), secrets: make(map[string]string), issuer: newIssuer(t)}
	x := &target{dir: t.TempDir(), trust: newAuthority(t), secret: c.secret("a caller's secret", newSecret())}
	c.target = x
	c.key("the doors' key", x.trust.write(t, x.dir))
	for i, code := range sandboxCodes {
		c.secret("a code of the sandbox "+strconv.Itoa(i), code)
	}

	keysToken := c.secret("the token for the keys of JWTs", newMark())
	x.write(t, "keys-token", keysToken+"\n")
	x.write(t, "policy.yaml", policy(x.secret, fmt.Sprintf("jwt_issuers:\n  - { issuer: %q, audience: %s, jwks_url: %q, token_file: %q }\n",
		issuerName, audience, c.issuer.url, x.path("keys-token")))+fmt.Sprintf(`  - name: pod
    match: { jwt: { issuer: %q, subject: %q } }
    methods: [Get, Recover, Rotate]
    organizations: [%s]
  - name: mesh
    match: { spiffe_id: %s }
    methods: [Get, Recover]
    organizations: ["*"]
    rate: { per_second: 1, burst: 5 }
`, issuerName, subject, organization, meshID))
	x.adminToken = c.secret("the admin door's token", newMark())
	x.write(t, "admin-token", x.adminToken+"\n")
	x.write(t, "stytch-secret", c.secret("the Stytch secret", sandboxSecret))
	x.write(t, "store-secret", c.secret("the secret of the store", newMark())+"\n"+c.secret("the earlier secret of the store", newMark())+"\n")
	password := c.secret("the password of Redis", rand.Text()+rand.Text())
	c.redis = daemon.StartRedis(t, "--requirepass", password)

	upstream := daemon.StartSandbox(t, secureUpstream)
	env := slices.DeleteFunc(slices.Clone(upstream.Env), func(e string) bool { return strings.HasPrefix(e, "STYTCH_SECRET=") })
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		spans, _ := io.ReadAll(r.Body) // texts stand in protobuf as they are
		c.corpus.add("spans", string(spans))
		if c.collectorFails.Load() {
			http.Error(w, "no", http.StatusBadRequest)
		}
	}))
	t.Cleanup(collector.Close)
	env = append(env, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_BSP_SCHEDULE_DELAY=50",
		"OTEL_EXPORTER_OTLP_HEADERS=x-collector-key="+c.secret("the collector's key", rand.Text()+rand.Text()))
	env = append(env, "STYTCH_SECRET_FILE="+x.path("stytch-secret"),
		"RECOVERYCODES_ONCE_REDIS_URL="+strings.Replace(c.redis.URL(), "unix://", "unix://:"+password+"@", 1),
		"GODEBUG=http2debug=2", "GRPC_GO_LOG_SEVERITY_LEVEL=info", "GRPC_GO_LOG_VERBOSITY_LEVEL=99", "GOTRACEBACK=system")
	c.stdout = x.path("stdout")
	stdout, err := os.Create(c.stdout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdout.Close() })
	x.Daemon = daemon.StartBuild(t, binary, stdout, env,
		"--policy="+x.path("policy.yaml"), "--audit-file="+x.path("audit"), "--reload-interval=50ms", "--log-level=debug",
		"--upstream-timeout=1500ms", "--upstream-header-timeout=1500ms", "--upstream-breaker-failures=0", "--attempts-caller-share=100",
		"--store-secret-file="+x.path("store-secret"), "--admin-token-file="+x.path("admin-token"),
		"--tls-certificate-file="+x.path("tls.crt"), "--tls-key-file="+x.path("tls.key"), "--tls-client-ca-file="+x.path("ca.crt"))
	transport := &http.Transport{TLSClientConfig: x.trust.client(), ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	x.client = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	c.conn = x.dial(t)
	return c
}

// key remembers a private key, as it stands in its file and as a number.
func (c *cage) key(name string, file []byte) {
	block, _ := pem.Decode(file)
	for i, line := range strings.Split(strings.TrimSpace(string(file)), "\n") {
		if !strings.HasPrefix(line, "-----") && len(line) >= 2*partLength {
			c.secret(fmt.Sprintf("%s, line %d", name, i), line)
		}
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if key, ok := key.(*ecdsa.PrivateKey); ok {
			if number, err := key.Bytes(); err == nil {
				c.secret(name+", its number", string(number))
				c.secret(name+", its number in decimal", new(big.Int).SetBytes(number).String())
			}
		}
	}
}

// collect adds what leaves by itself, and not as the answer to a call.
func (c *cage) collect(t *testing.T) {
	t.Helper()
	c.corpus.add("log", c.Log())
	c.corpus.add("audit", c.read(t, "audit"))
	if text, err := os.ReadFile(c.stdout); err == nil {
		c.corpus.add("stdout", string(text))
	}
	for _, token := range []string{c.adminToken, c.secret("a wrong token for the admin door", newMark())} {
		for _, path := range adminPaths {
			way := "admin door"
			if strings.HasPrefix(path, "/docs") {
				way = "API reference" // whose examples name members
			}
			c.corpus.add(way, strings.TrimPrefix(c.askAdmin(t, http.MethodGet, path, token, ""), path)) // which it begins with
		}
		c.corpus.add("admin door", c.askAdmin(t, http.MethodPut, "/log-level", token, `{"level":"no"}`))
	}
	withTraces := c.askAdmin(t, http.MethodGet, "/metrics", c.adminToken, "", "Accept", "application/openmetrics-text")
	if !strings.Contains(withTraces, "# {") {
		t.Error("the metrics lead to no traces")
	}
	c.corpus.add("metrics with exemplars", withTraces)
}

// nobody holds that operators are not told of whom calls are about: no id stands in a line of the log, a span or a series.
// The audit log is for that.
func (c *cage) nobody(t *testing.T) {
	t.Helper()
	ids := map[string]string{"the organization": organization, "its slug": "example-org", "the member": member, "the others": "member-test-fault-"}
	for found := range c.corpus.search(ids) {
		if slices.Contains([]string{"log", "spans", "admin door", "metrics with exemplars", "stdout"}, found.way) {
			t.Errorf("%s is named by the %s (%s)", found.secret, found.way, found.form)
		}
	}
}

// kept adds all that is in Redis.
func (c *cage) kept(t *testing.T) {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Network: "unix", Addr: strings.TrimPrefix(c.redis.URL(), "unix://"), Password: c.secrets["the password of Redis"], Protocol: 2, DisableIdentity: true,
	})
	defer func() { _ = client.Close() }()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatalf("%d keys in Redis: %v", len(keys), err)
	}
	for _, key := range keys {
		value, err := client.Dump(t.Context(), key).Result()
		if err != nil && !errors.Is(err, redis.Nil) { // it may have expired
			t.Fatal(err)
		}
		c.corpus.add("Redis", key+value)
	}
}

// dump has the runtime write what every goroutine is doing, with calls under way that hold secrets, and end the process.
func (c *cage) dump(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calls sync.WaitGroup // which end with the process
	defer calls.Wait()
	for range 3 {
		calls.Go(func() { _, _ = c.grpc(ctx, c.recoverOf("member-test-fault-slow-1200~dump")) })
		calls.Go(func() { c.rest(ctx, c.recoverOf("member-test-fault-slow-1200~dump")) })
	}
	eventually(t, 20*time.Second, "calls are under way", func() bool { return c.metric(t, "go_goroutines") > 10 })
	time.Sleep(300 * time.Millisecond) // for them to have been sent; nothing depends on it
	c.Signal(t, syscall.SIGQUIT)
	if code := c.Wait(t); code != 2 || !strings.Contains(c.Log(), "goroutine ") {
		t.Errorf("exit code %d, and no goroutines in what was written", code)
	}
	c.corpus.add("goroutine dump", c.Log())
}

// mishaps has every file that is read again replaced by something wrong with secrets in it, and Redis by one that refuses
// and then by none.
func (c *cage) mishaps(t *testing.T) {
	t.Helper()
	policyNow, key := c.read(t, "policy.yaml"), c.read(t, "tls.key")
	failures := func(what string) float64 { return c.metric(t, `recoverycodes_reload_failures_total{what="`+what+`"}`) }
	for _, garbage := range []string{
		strings.Replace(policyNow, hash(c.target.secret), c.target.secret, 1),
		strings.Replace(policyNow, "name: web", "name: "+c.target.secret, 1),
		strings.Replace(policyNow, "methods:", c.target.secret+":", 1),
		policyNow + c.target.secret,
		key,
	} {
		before := failures("policy")
		c.write(t, "policy.yaml", garbage)
		eventually(t, 20*time.Second, "the policy is refused", func() bool { return failures("policy") > before })
	}
	c.write(t, "policy.yaml", policyNow)
	for _, garbage := range []string{c.secret("what stands for a key", newMark()), strings.ToLower(key), c.read(t, "tls.crt") + key[:len(key)/2]} {
		before := failures("tls")
		c.write(t, "tls.key", garbage)
		eventually(t, 20*time.Second, "the key is refused", func() bool { return failures("tls") > before })
	}
	c.write(t, "tls.key", key)
	c.issuer.down.Store(true)
	c.collectorFails.Store(true)

	c.write(t, "stytch-secret", c.secret("a wrong Stytch secret", newMark()))
	eventually(t, 20*time.Second, "the secret is in use", func() bool {
		got, _ := c.grpc(t.Context(), request{method: "Get", organization: organization, member: member})
		return got.reason == "UPSTREAM_CREDENTIALS"
	})
	for _, door := range []func(context.Context, request) (answer, error){c.grpc, c.restCall} {
		_, _ = door(t.Context(), c.recoverOf(member))
	}
	c.write(t, "stytch-secret", sandboxSecret)
	keyed := c.recoverOf(member)
	keyed.md = append(keyed.md, "idempotency-key", c.secret("an idempotency key", rand.Text()+rand.Text()))
	c.redis.Freeze(t)
	_, _ = c.grpc(t.Context(), keyed)
	c.redis.Thaw(t)
	c.redis.Stop()
	_, _ = c.grpc(t.Context(), keyed)
	_, _ = c.restCall(t.Context(), keyed)
}

// everyOutcome holds the calls that were made to have come to whatever a call can come to.
func (c *cage) everyOutcome(t *testing.T) {
	t.Helper()
	for method, outcomes := range map[string][]string{
		"Recover": {"done", "refused", "not_sent", "unknown", "answer_lost"}, "Rotate": {"done", "refused", "unknown", "answer_lost"},
		"Get": {"done", "refused", "upstream_failure"},
	} {
		for _, outcome := range outcomes {
			if c.metric(t, fmt.Sprintf("recoverycodes_outcomes_total{method=%q,outcome=%q}", method, outcome)) == 0 {
				t.Errorf("no %s was %s: the test does not do what it should", method, outcome)
			}
		}
		if method != "Get" && c.metric(t, fmt.Sprintf("recoverycodes_replays_total{method=%q}", method)) == 0 {
			t.Errorf("no %s was answered again", method)
		}
	}
}

// TestNoSecretLeaves sends marked secrets on every path there is, and finds none of them in anything that has left the
// server but the answers of the calls that were made.
func TestNoSecretLeaves(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		binary func(testing.TB) string
		secure bool
	}{
		"as it is, in front of HTTP/1.1":  {daemon.Binary, false},
		"with panics, in front of HTTP/2": {planted, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCage(t, test.binary(t), test.secure)
			c.everyFault(t)
			c.everyRefusal(t)
			if test.secure {
				c.panics(t)
			}
			c.kept(t)
			c.mishaps(t)
			c.everyOutcome(t)
			c.collect(t)
			c.dump(t)
			for _, way := range []string{"log", "audit", "spans", "admin door", "API reference", "metrics with exemplars", "Redis", "goroutine dump", "gRPC error", "gRPC header", "gRPC trailer", "REST error", "REST header"} {
				if c.corpus.size(way) < 100 {
					t.Errorf("nothing has left by the %s: the test does not see it", way)
				}
			}
			for found := range c.corpus.search(c.secrets) {
				t.Errorf("%s has left by the %s (%s)", found.secret, found.way, found.form)
			}
			c.nobody(t)
			t.Logf("%d secrets were looked for", len(c.secrets))
		})
	}
}

// TestPlantedLeaksAreFound is the control: in a build that leaks on each way, in each form, each leak is found.
func TestPlantedLeaksAreFound(t *testing.T) {
	t.Parallel()
	c := newCage(t, planted(t), false)
	want := make(map[finding]bool)
	secrets := make(map[string]string)
	for way, plant := range map[string]string{
		"log": "log", "stdout": "stdout", "audit": "audit", "admin door": "metrics", "metrics with exemplars": "metrics", "spans": "metrics",
		"gRPC error": "error", "REST error": "error", "gRPC header": "header", "gRPC trailer": "trailer", "REST header": "rest-header",
	} {
		for form, encode := range encoded {
			name := way + ", " + form
			secrets[name] = newMark()
			want[finding{way, name, form}] = true
			r := c.recoverOf("member-test-fault-slow-1~plant-" + plant)
			r.telemetry = encode(secrets[name])
			call := c.grpc
			if strings.HasPrefix(way, "REST") {
				call = c.restCall
			}
			if plant == "rest-header" {
				r.md = append(r.md, "X-Plant", r.telemetry)
			}
			_, _ = call(t.Context(), r)
		}
	}
	c.collect(t)
	eventually(t, 20*time.Second, "the last spans", func() bool {
		return len(c.corpus.search(map[string]string{"the last": secrets["spans, "+formPlain]})) > 0
	})
	found := make(map[finding]bool)
	for leak := range c.corpus.search(secrets) {
		found[leak] = true
		leak.form = ""
		found[leak] = true
	}
	for leak := range want {
		// Where what leaves is written as JSON, it leaves in another form than it was given.
		written := leak
		if slices.Contains([]string{"audit", "admin door", "metrics with exemplars", "REST error"}, leak.way) {
			written.form = ""
		}
		if !found[written] {
			t.Errorf("%s has left by the %s (%s), and is not found", leak.secret, leak.way, leak.form)
		}
	}
	if n := len(want); n < 100 {
		t.Errorf("only %d leaks were planted", n)
	}
}
