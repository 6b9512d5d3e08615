package attack

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// target is a server under attack. Its one caller of whom nothing more is said is "web", who may do everything.
type target struct {
	*daemon.Daemon
	dir    string
	secret string // of web
	// adminToken is what the admin door wants, empty for nothing.
	adminToken string
	trust      *authority
	client     *http.Client
}

// policy is the start of a policy whose first caller is web; more callers may follow.
func policy(secret, before string) string {
	return before + fmt.Sprintf(`callers:
  - name: web
    match: { secret_sha256: "%s" }
    methods: [Get, Recover, Rotate]
    organizations: ["*"]
`, hash(secret))
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func newSecret() string { return "rcs_" + rand.Text() + rand.Text() }

// options are how a target differs from the usual one, which is a sandbox behind plaintext doors.
type options struct {
	before, callers string // of the policy: what comes before the callers, and more of them
	tls             bool   // the doors speak TLS and accept the certificates of the target's authority
	args            []string
}

func start(t *testing.T, o options) *target {
	t.Helper()
	x := &target{dir: t.TempDir(), secret: newSecret()}
	x.write(t, "policy.yaml", policy(x.secret, o.before)+o.callers)
	args := []string{
		"--sandbox", "--policy=" + x.path("policy.yaml"), "--audit-file=" + x.path("audit"), "--reload-interval=50ms",
		"--upstream-timeout=2s", "--upstream-header-timeout=2s", "--log-level=debug",
	}
	transport := &http.Transport{ForceAttemptHTTP2: true}
	if o.tls {
		x.trust = newAuthority(t)
		x.trust.write(t, x.dir)
		args = append(args, "--tls-certificate-file="+x.path("tls.crt"), "--tls-key-file="+x.path("tls.key"), "--tls-client-ca-file="+x.path("ca.crt"))
		transport.TLSClientConfig = x.trust.client()
	}
	x.client = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	x.Daemon = daemon.Start(t, nil, append(args, o.args...)...)
	return x
}

func (x *target) path(name string) string { return filepath.Join(x.dir, name) }

func (x *target) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(x.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (x *target) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(x.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// url is where REST is.
func (x *target) url(path string) string {
	scheme := "http"
	if x.trust != nil {
		scheme = "https"
	}
	return scheme + "://" + x.HTTP + path
}

// dial opens a connection to the gRPC door, without retries.
func (x *target) dial(t testing.TB, showing ...tls.Certificate) *grpc.ClientConn {
	t.Helper()
	secure := insecure.NewCredentials()
	if x.trust != nil {
		config := x.trust.client()
		config.Certificates = showing
		secure = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(x.GRPC, grpc.WithTransportCredentials(secure), grpc.WithDisableServiceConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// answer is what a caller learns, in the words of both doors. Reason is empty for a success, and for an answer that this
// service did not give.
type answer struct {
	ok     bool
	status string // of gRPC, or of HTTP
	reason string
}

// getGRPC calls Get with metadata, given as names and values in turn.
func getGRPC(ctx context.Context, conn grpc.ClientConnInterface, md ...string) answer {
	return callGRPC(ctx, conn, &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member}, md...)
}

func callGRPC(ctx context.Context, conn grpc.ClientConnInterface, request *recoverycodesv1.GetRequest, md ...string) answer {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, md...), 20*time.Second)
	defer cancel()
	_, err := recoverycodesv1.NewRecoveryCodesServiceClient(conn).Get(ctx, request)
	return answer{ok: err == nil, status: status.Code(err).String(), reason: reasonOf(err)}
}

func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

const pathOfMember = "/v1/b2b/recovery_codes/" + organization + "/" + member

// getREST calls Get with headers, given as names and values in turn.
func (x *target) getREST(t testing.TB, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.url(pathOfMember), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return x.do(t, req)
}

func (x *target) do(t testing.TB, req *http.Request) answer {
	t.Helper()
	resp, err := x.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		ErrorType string `json:"error_type"`
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = json.NewDecoder(bytes.NewReader(text)).Decode(&body) // a library's own answer is a text
	return answer{ok: resp.StatusCode == http.StatusOK, status: strconv.Itoa(resp.StatusCode), reason: strings.ToUpper(body.ErrorType)}
}

// serves fails the test unless web is served through both doors, by new connections.
func (x *target) serves(t testing.TB) {
	t.Helper()
	bearer := "Bearer " + x.secret
	start := time.Now()
	if got := getGRPC(t.Context(), x.dial(t), "authorization", bearer); !got.ok {
		t.Errorf("gRPC does not serve others: %+v", got)
	}
	x.client.CloseIdleConnections()
	if got := x.getREST(t, "Authorization", bearer); !got.ok {
		t.Errorf("REST does not serve others: %+v", got)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("others are served after %v", took)
	}
}

// askAdmin asks the admin door for something, with headers as names and values in turn, and returns all that it says.
func (x *target) askAdmin(t testing.TB, verb, path, token, body string, headers ...string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), verb, "http://"+x.Admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %v\n%s", path, resp.Header, text)
}

// metric returns the value of a series, 0 when there is none.
func (x *target) metric(t testing.TB, series string) float64 {
	t.Helper()
	text := x.askAdmin(t, http.MethodGet, "/metrics", x.adminToken, "")
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	value, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// eventually waits for something to become true, and fails the test when it does not.
func eventually(t testing.TB, within time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", within, what)
		}
	}
}
