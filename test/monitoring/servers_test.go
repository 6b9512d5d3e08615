package monitoring

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"recoverycodes.internal/test/daemon"
)

const (
	organization = "example-org"
	member       = "member-test-32fc5024-9c09-4da3-bd2e-c9ce4da9375f"
	code         = "mill-7pon-d2ru"
)

// servers are what Prometheus finds: servers that are in all the troubles there are rules for, but that of a defect.
type servers struct {
	open, strict, small, unrecorded *daemon.Daemon

	policy string // the path of strict's
	rounds int
}

// start starts the servers. None of them has been called when it returns.
func start(t *testing.T) *servers {
	t.Helper()
	s := &servers{policy: filepath.Join(t.TempDir(), "policy.yaml")}
	s.open = daemon.Start(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + closedPort, "OTEL_BSP_SCHEDULE_DELAY=100"},
		"--sandbox", "--idempotency-max-keys=1")

	certificate, key, secret := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key"), filepath.Join(t.TempDir(), "store")
	writeCertificate(t, certificate, key)
	write(t, secret, strings.Repeat("store-secret-", 4))
	write(t, s.policy, fmt.Sprintf("callers:\n  - name: web\n    match: { secret_sha256: %x }\n    methods: [Get, Recover, Rotate]\n"+
		"    organizations: \"*\"\n", sha256.Sum256([]byte(bearer))))
	s.strict = daemon.Start(t, nil, "--sandbox", "--policy="+s.policy, "--reload-interval=50ms",
		"--tls-certificate-file="+certificate, "--tls-key-file="+key,
		"--once-redis-url=redis://"+closedPort+"/0", "--store-secret-file="+secret, "--attempts-fail-closed")

	s.small = daemon.Start(t, nil, "--sandbox", "--audit-file=/dev/full", "--upstream-max-in-flight=1",
		"--upstream-breaker-failures=2", "--attempts-caller-failures=1", "--attempts-caller-share=1")
	s.unrecorded = daemon.Start(t, nil, "--sandbox", "--audit-file=/dev/full", "--audit-fail-closed")
	return s
}

func (s *servers) all() map[string]*daemon.Daemon {
	return map[string]*daemon.Daemon{"open": s.open, "strict": s.strict, "small": s.small, "unrecorded": s.unrecorded}
}

// bearer is the secret of the one caller that strict knows.
const bearer = "a-caller-secret-0123456789-0123456789"

// trouble makes calls that end in every way there is, and the rest of what can go wrong, once more each time.
func (s *servers) trouble(t *testing.T) {
	t.Helper()
	s.rounds++
	fault := func(kind string) string { return fmt.Sprintf("member-test-fault-%s~%d", kind, s.rounds) }
	open := func(method, member string, header ...string) int {
		return rest(t, s.open, "http", method, member, code, 30*time.Second, header...)
	}
	for range 20 {
		open("Get", member)
	}
	open("Rotate", fault("slow-0"), "Idempotency-Key", "the-one-key-0001")
	open("Rotate", fault("slow-0"), "Idempotency-Key", "the-one-key-0001")
	open("Rotate", fault("slow-0"), "Idempotency-Key", "one-key-too-many")
	if err := s.open.Dial(t).Invoke(t.Context(), "/stytch.b2b.recoverycodes.v1.RecoveryCodesService/Get", nothing(), nothing()); err == nil {
		t.Error("a Get of nobody was answered")
	}
	for _, call := range [][2]string{
		{"Recover", fault("slow-1")}, {"Recover", fault("reset-after-effect")}, {"Rotate", fault("reset-after-effect")},
		{"Recover", fault("not-json")}, {"Get", fault("wrong-types")}, {"Get", fault("status-503")}, {"Get", fault("status-504")},
		{"Get", fault("bad-credentials")},
	} {
		open(call[0], call[1])
	}
	for range 12 {
		open("Get", fault("rate-limited"))
		rest(t, s.open, "http", "Recover", fault("slow-2"), "a wrong code", 30*time.Second)
	}

	// The policy is wrong, and Redis is away.
	rest(t, s.strict, "https", "Recover", member, code, 30*time.Second, "Authorization", "Bearer "+bearer)
	rest(t, s.strict, "https", "Rotate", member, code, 30*time.Second, "Authorization", "Bearer "+bearer, "Idempotency-Key", "a-key-0001")
	write(t, s.policy, fmt.Sprintf("callers: %d", s.rounds))

	// There is place for one call, for 258 audit lines, and for two failures.
	await(t, "the breaker to let a call through", func() bool {
		return strings.Contains(metrics(t, s.small), "\nrecoverycodes_upstream_breaker{state=\"open\"} 0\n")
	})
	slow := make(chan int, 1)
	go func() {
		slow <- rest(t, s.small, "http", "Get", fault("slow-3000"), "", 30*time.Second)
	}()
	await(t, "a call to be under way", func() bool {
		return strings.Contains(metrics(t, s.small), "\nrecoverycodes_upstream_calls_in_flight 1\n")
	})
	if status := rest(t, s.small, "http", "Get", member, "", 30*time.Second); status != http.StatusServiceUnavailable {
		t.Errorf("one call too many: %d", status)
	}
	<-slow
	rest(t, s.small, "http", "Recover", fault("slow-4"), "a wrong code", 30*time.Second)
	rest(t, s.small, "http", "Recover", fault("slow-4"), "a wrong code", 30*time.Second)
	for range 300 {
		rest(t, s.small, "http", "Get", fault("status-500"), "", 30*time.Second)
	}
	s.noFileDescriptors(t)

	await(t, "a call that is refused because it cannot be recorded", func() bool {
		rest(t, s.unrecorded, "http", "Get", member, "", 30*time.Second)
		return strings.Contains(metrics(t, s.unrecorded), `limit="audit"`)
	})
}

// noFileDescriptors takes them away from a server while somebody connects.
func (s *servers) noFileDescriptors(t *testing.T) {
	t.Helper()
	const failed = "recoverycodes_accept_failures_total"
	var limit unix.Rlimit
	if err := unix.Prlimit(s.small.PID(), unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(s.small.Log(), "connections cannot be accepted")
	if err := unix.Prlimit(s.small.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: limit.Max}, nil); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.small.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if lines == 0 {
		await(t, "a connection that cannot be accepted", func() bool { return strings.Contains(s.small.Log(), "connections cannot be accepted") })
	}
	if err := unix.Prlimit(s.small.PID(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	await(t, failed, func() bool { return strings.Contains(metrics(t, s.small), failed+"{") })
}

// rest makes a call and returns its HTTP status, 0 when there was none in time.
func rest(t *testing.T, d *daemon.Daemon, scheme, method, member, code string, limit time.Duration, header ...string) int {
	t.Helper()
	path, verb, body := "/v1/b2b/recovery_codes/"+organization+"/"+member, http.MethodGet, ""
	if method != "Get" {
		path, verb = "/v1/b2b/recovery_codes/"+strings.ToLower(method), http.MethodPost
		body = fmt.Sprintf(`{"organization_id":%q,"member_id":%q`, organization, member)
		if method == "Recover" {
			body += fmt.Sprintf(`,"recovery_code":%q`, code)
		}
		body += "}"
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, verb, scheme+"://"+d.HTTP+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	status, _ := send(req)
	return status
}

func send(req *http.Request) (status int, text string) {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(all)
}

// fetch gets what an address has, which must be there.
func fetch(t *testing.T, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	status, text := send(req)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", address, status, text)
	}
	return text
}

func metrics(t *testing.T, d *daemon.Daemon) string {
	t.Helper()
	return fetch(t, d.Admin+"/metrics")
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeCertificate writes one that ends in an hour.
func writeCertificate(t *testing.T, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs})))
}

// closedPort is an address of loopback where nobody listens. A port that was free a moment ago could be given to another
// test meanwhile; this one is given to nobody.
const closedPort = "127.0.0.1:1"

// await polls until the condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
