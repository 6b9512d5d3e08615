package life

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
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

// TestCallersMakeNoSeries has callers invent methods, paths, ids, credentials and traces, twice. What they invent the second
// time adds nothing to the metrics, nor is any of it in them.
func TestCallersMakeNoSeries(t *testing.T) {
	d := daemon.Start(t, behind(t, answering))
	conn := d.Dial(t)
	attack := func(n int) {
		invented := fmt.Sprintf("invented%d", n)
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+invented, "x-request-id", invented,
			"idempotency-key", invented, "user-agent", invented, "traceparent", fmt.Sprintf("00-%032x-00f067aa0ba902b7-01", n+1))
		for _, method := range []string{
			"/" + invented + "/Get", "/stytch.b2b.recoverycodes.v1.RecoveryCodesService/" + invented, "/grpc.health.v1.Health/" + invented,
			"/stytch." + invented + "/Get",
		} {
			if err := conn.Invoke(ctx, method, nothing(), nothing()); err == nil {
				t.Errorf("%s was answered", method)
			}
		}
		if err := invoke(ctx, conn, "Recover"); err != nil {
			t.Error(err)
		}
		for _, request := range [][2]string{
			{http.MethodGet, "/" + invented}, {strings.ToUpper(invented), pathGet}, {http.MethodGet, "/v1/b2b/recovery_codes/" + invented + "/" + invented},
			{http.MethodPost, pathRecover + "/" + invented}, {http.MethodPut, pathRotate + "?" + invented},
		} {
			fetch(t, request[0], d.HTTP+request[1], invented, "Authorization", invented, "X-Request-Id", invented, "Traceparent", invented)
		}
	}
	attack(0)
	before := seriesOf(t, d)
	if len(before) < 30 {
		t.Fatalf("only %d series", len(before))
	}
	for n := range 20 {
		attack(n + 1)
	}
	for name := range seriesOf(t, d) {
		if !before[name] || strings.Contains(strings.ToLower(name), "invented") {
			t.Errorf("callers have made %s", name)
		}
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
