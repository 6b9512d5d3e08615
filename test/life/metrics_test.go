package life

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"recoverycodes.internal/test/daemon"
)

func nothing() *emptypb.Empty { return &emptypb.Empty{} }

// seriesOf returns the names and labels of the server's own series.
func seriesOf(t *testing.T, d *daemon.Daemon) map[string]bool {
	t.Helper()
	_, text := fetch(t, http.MethodGet, d.Admin+"/metrics", "")
	out := make(map[string]bool)
	for line := range strings.Lines(text) {
		if at := strings.LastIndexByte(line, ' '); strings.HasPrefix(line, "recoverycodes_") {
			out[line[:at]] = true
		}
	}
	return out
}

// TestCallersMakeNoSeries has callers invent methods, paths, ids, credentials and traces, twice, where anybody may call and
// where the policy knows one caller. What they invent the second time adds nothing to the metrics, nor is any of it in
// them: a caller's name is the policy's, or none.
func TestCallersMakeNoSeries(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	text := fmt.Sprintf("callers: [{name: login, match: {secret_sha256: %x}, methods: [Get, Recover], organizations: ['*']}]", sha256.Sum256([]byte(secret)))
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		env    []string // over that of a server that serves anybody
		answer codes.Code
		series string
	}{
		"anybody":  {nil, codes.OK, `{caller="anyone",code="OK",door="grpc",method="Recover"}`},
		"a policy": {[]string{"RECOVERYCODES_INSECURE_ALLOW_ANY_CALLER=false", "RECOVERYCODES_POLICY=" + policy}, codes.Unauthenticated, `{caller="login",code="OK",door="grpc",method="Get"}`},
	} {
		t.Run(name, func(t *testing.T) {
			d := daemon.Start(t, append(behind(t, answering), test.env...))
			if err := invoke(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secret), d.Dial(t), "Get"); err != nil {
				t.Fatal(err)
			}
			invent(t, d, 0, test.answer)
			before := seriesOf(t, d)
			if len(before) < 30 || !before["recoverycodes_calls_total"+test.series] {
				t.Fatalf("only %d series, or none of %s", len(before), test.series)
			}
			for n := range 20 {
				invent(t, d, n+1, test.answer)
			}
			for name := range seriesOf(t, d) {
				if !before[name] || strings.Contains(strings.ToLower(name), "invented") {
					t.Errorf("callers have made %s", name)
				}
			}
		})
	}
}

// invent makes calls in which everything is invented that a caller can invent. The one that could be made has an answer to be
// expected.
func invent(t *testing.T, d *daemon.Daemon, n int, answer codes.Code) {
	t.Helper()
	conn := d.Dial(t)
	invented := fmt.Sprintf("invented%d", n)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+invented, "x-request-id", invented,
		"idempotency-key", invented, "user-agent", invented, "traceparent", fmt.Sprintf("00-%032x-00f067aa0ba902b7-01", n+1),
		"x-forwarded-client-cert", "URI=spiffe://example.org/"+invented)
	for _, method := range []string{
		"/" + invented + "/Get", "/stytch.b2b.recoverycodes.v1.RecoveryCodesService/" + invented, "/grpc.health.v1.Health/" + invented,
		"/stytch." + invented + "/Get",
	} {
		if err := conn.Invoke(ctx, method, nothing(), nothing()); err == nil {
			t.Errorf("%s was answered", method)
		}
	}
	if err := invoke(ctx, conn, "Recover"); status.Code(err) != answer {
		t.Errorf("%v, want %v", err, answer)
	}
	for _, request := range [][2]string{
		{http.MethodGet, "/" + invented}, {strings.ToUpper(invented), pathGet}, {http.MethodGet, "/v1/b2b/recovery_codes/" + invented + "/" + invented},
		{http.MethodPost, pathRecover + "/" + invented}, {http.MethodPut, pathRotate + "?" + invented},
	} {
		fetch(t, request[0], d.HTTP+request[1], invented, "Authorization", invented, "X-Request-Id", invented, "Traceparent", invented)
	}
}

// TestMetricsOfWhatRuns looks for what dashboards and alerts are made of.
func TestMetricsOfWhatRuns(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	d := daemon.Start(t, behind(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		answering(w, r)
	}), "--upstream-max-in-flight=1")
	ended := make(chan error, 1)
	go func() { ended <- invoke(t.Context(), d.Dial(t), "Rotate") }()
	<-arrived
	if status, _ := fetch(t, http.MethodPost, d.HTTP+pathRotate, strings.Replace(body, `,"recovery_code":"`+code+`"`, "", 1)); status != http.StatusServiceUnavailable {
		t.Errorf("a call too many: %d", status)
	}
	during := seriesWith(t, d)
	close(release)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"recoverycodes_calls_in_flight": "1", "recoverycodes_upstream_calls_in_flight": "1", "recoverycodes_ready": "1",
		`recoverycodes_limit_refusals_total{limit="in_flight",method="Rotate"}`: "1",
		`recoverycodes_upstream_breaker{state="closed"}`:                        "1",
		"recoverycodes_upstream_credentials_refused_total":                      "0",
	} {
		if during[name] != want {
			t.Errorf("%s is %q, want %s", name, during[name], want)
		}
	}
	built := false
	after := seriesWith(t, d)
	for name, value := range after {
		built = built || strings.HasPrefix(name, "recoverycodes_build_info{") && strings.Contains(name, `goversion="go1.`) && value == "1"
	}
	if !built || after["recoverycodes_calls_in_flight"] != "0" || after["recoverycodes_upstream_calls_in_flight"] != "0" ||
		after[`recoverycodes_upstream_duration_seconds_count{method="Rotate",status="200"}`] != "1" {
		t.Errorf("afterwards: %v", after)
	}
}

func seriesWith(t *testing.T, d *daemon.Daemon) map[string]string {
	t.Helper()
	_, text := fetch(t, http.MethodGet, d.Admin+"/metrics", "")
	out := make(map[string]string)
	for line := range strings.Lines(text) {
		if at := strings.LastIndexByte(line, ' '); at > 0 {
			out[line[:at]] = strings.TrimSpace(line[at:])
		}
	}
	return out
}
