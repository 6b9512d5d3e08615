package parity

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
	"recoverycodes.internal/test/documents"
)

const service = "stytch.b2b.recoverycodes.v1.RecoveryCodesService"

func TestHealthAndReflection(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	conn := d.Dial(t)
	for _, name := range []string{"", service} {
		answer, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v %v", name, answer, err)
		}
	}
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service},
	}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil || len(answer.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Errorf("reflection: %v %v", answer, err)
	}
	for path, want := range map[string]string{"/livez": "ok", "/readyz": "ok", "/metrics": "recoverycodes_calls_total"} {
		if text := fetch(t, "http://"+d.Admin+path); !strings.Contains(text, want) {
			t.Errorf("%s: %s", path, text)
		}
	}
}

func fetch(t *testing.T, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v %v", address, resp.Status, err)
	}
	return string(text)
}

// TestStopWaitsForWhatWasSent sends SIGTERM while two Recovers from each door are at the upstream, one of each without its
// caller, and a health Watch, which never ends by itself, is open. Each answer still arrives, or, where the caller has
// gone, is still recorded.
func TestStopWaitsForWhatWasSent(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	d := inFrontOf(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		arrived <- struct{}{}
		<-release
		_, _ = w.Write(documents.Recover())
	}, "--drain-timeout=2s") // the Watch uses all of it up
	conn := d.Dial(t)
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	results := make(chan verdict, 2)
	request := requests["Recover"].request
	go func() {
		_, v := throughGRPC(t, d, request)
		results <- v
	}()
	<-arrived
	go func() {
		_, v := throughREST(t, d, request)
		results <- v
	}()
	<-arrived
	gone, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		_ = conn.Invoke(gone, "/"+service+"/Recover", request, &recoverycodesv1.RecoverResponse{})
		close(left)
	}()
	<-arrived
	leave()
	<-left
	hurried, hurry := context.WithCancel(t.Context())
	go func() {
		req, err := http.NewRequestWithContext(hurried, http.MethodPost, "http://"+d.HTTP+"/v1/b2b/recovery_codes/recover",
			strings.NewReader(`{"organization_id":"o","member_id":"m","recovery_code":"c"}`))
		if err == nil {
			_, err = http.DefaultClient.Do(req)
		}
		results <- verdict{message: fmt.Sprint(err)}
	}()
	<-arrived
	hurry()
	if v := <-results; !strings.Contains(v.message, context.Canceled.Error()) {
		t.Fatalf("%+v", v)
	}

	d.Signal(t, stopSignal)
	for update, err := watch.Recv(); ; update, err = watch.Recv() {
		if err != nil {
			t.Fatal(err)
		}
		if update.GetStatus() == healthpb.HealthCheckResponse_NOT_SERVING {
			break
		}
	}
	if resp, err := http.Get("http://" + d.Admin + "/readyz"); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz while stopping: %v %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	close(release)
	for range 2 {
		if v := <-results; v.code != codes.OK || v.http != 0 {
			t.Errorf("%+v", v)
		}
	}
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.Log())
	}
	if n := strings.Count(d.Log(), `"outcome":"done"`); n != 4 {
		t.Errorf("%d calls recorded as done, want 4\n%s", n, d.Log())
	}
}

// TestStopDeliversWhatWasSent has an upstream that takes longer than the drain. Connections are not cut before the calls
// that were sent have had their time: one that the upstream answers is delivered, and of one that it never answers the
// caller hears, and the log says, that the outcome is unknown.
func TestStopDeliversWhatWasSent(t *testing.T) {
	for door, through := range doors {
		for _, answers := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, answered %v", door, answers), func(t *testing.T) {
				t.Parallel()
				arrived, release := make(chan struct{}), make(chan struct{})
				d := inFrontOf(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.ReadAll(r.Body)
					close(arrived)
					if !answers {
						<-release
						return
					}
					time.Sleep(time.Second) // beyond the drain
					_, _ = w.Write(documents.Rotate())
				}, "--drain-timeout=100ms", "--upstream-timeout=3s", "--upstream-header-timeout=3s")
				t.Cleanup(func() { close(release) })
				result := make(chan verdict, 1)
				go func() {
					_, v := through(t, d, requests["Rotate"].request)
					result <- v
				}()
				<-arrived
				d.Signal(t, stopSignal)
				want, outcome := done, "done"
				if !answers {
					want, outcome = unknown, "unknown"
				}
				(&step{want: want}).compare(t, <-result, door == "REST")
				if code := d.Wait(t); code != 0 {
					t.Errorf("exit code %d", code)
				}
				if !strings.Contains(d.Log(), `"outcome":"`+outcome+`"`) || !strings.HasSuffix(strings.TrimSpace(d.Log()), `"message":"stopped"}`) {
					t.Errorf("not recorded\n%s", d.Log())
				}
			})
		}
	}
}

// TestASlowRequestHoldsNobodyUp stops while a REST request drips in: gRPC takes no new call meanwhile, and the process ends
// within its time.
func TestASlowRequestHoldsNobodyUp(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox", "--drain-timeout=3s")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", d.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "POST /v1/b2b/recovery_codes/rotate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	client := d.Dial(t)
	get := func() error {
		return client.Invoke(t.Context(), "/"+service+"/Get", &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member}, &recoverycodesv1.GetResponse{})
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	d.Signal(t, stopSignal)
	for !strings.Contains(d.Log(), "stopping") {
		time.Sleep(time.Millisecond)
	}
	for get() == nil {
		if time.Since(start) > 2*time.Second {
			t.Fatal("gRPC still takes calls")
		}
	}
	if code := d.Wait(t); code != 0 || time.Since(start) > 15*time.Second {
		t.Errorf("exit code %d after %v", code, time.Since(start))
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	d := inFrontOf(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		close(arrived)
		<-release
	})
	conn := d.Dial(t)
	go func() {
		_ = conn.Invoke(context.WithoutCancel(t.Context()), "/"+service+"/Rotate", requests["Rotate"].request, &recoverycodesv1.RotateResponse{})
	}()
	<-arrived
	d.Signal(t, stopSignal)
	for !strings.Contains(d.Log(), "stopping") {
		time.Sleep(time.Millisecond)
	}
	// The default action comes back a moment after the first signal has been seen, so it is repeated until it takes.
	ended := make(chan int, 1)
	go func() { ended <- d.Wait(t) }()
	for {
		select {
		case code := <-ended:
			if code == 0 {
				t.Error("ended in peace")
			}
			return
		case <-time.After(5 * time.Millisecond):
			d.Interrupt()
		}
	}
}

func TestWrongSettings(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		env  []string
		code int
		says []string
	}{
		"no command":   {nil, nil, 2, []string{"--help"}},
		"no such":      {[]string{"serv"}, nil, 2, []string{`"serv"`}},
		"no upstream":  {[]string{"serve"}, nil, 2, []string{"STYTCH_PROJECT_ID", "STYTCH_SECRET", "--insecure-allow-any-caller"}},
		"all at once":  {[]string{"serve", "--sandbox", "--grpc-listen=x", "--nonsense", "stray"}, []string{"RECOVERYCODES_LOG_LEVEL=loud"}, 2, []string{"--grpc-listen", "-nonsense", "RECOVERYCODES_LOG_LEVEL", "argument 4"}},
		"address used": {[]string{"serve", "--sandbox", "--insecure-allow-any-caller", "--grpc-listen=203.0.113.1:1", "--http-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}, nil, 1, []string{"--grpc-listen"}},
		"plain http":   {[]string{"serve"}, []string{"STYTCH_BASE_URL=http://stytch.example", "STYTCH_SECRET=hush-hush"}, 2, []string{"STYTCH_BASE_URL"}},
		"help":         {[]string{"serve", "--help"}, nil, 0, []string{"--grpc-listen", "STYTCH_SECRET_FILE"}},
		"version":      {[]string{"version"}, nil, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.Command(daemon.Binary(t), test.args...)
			command.Env = append([]string{"NOTHING="}, test.env...)
			text, _ := command.CombinedOutput()
			if code := command.ProcessState.ExitCode(); code != test.code {
				t.Errorf("exit code %d", code)
			}
			for _, want := range test.says {
				if !strings.Contains(string(text), want) {
					t.Errorf("does not say %q:\n%s", want, text)
				}
			}
			if strings.Contains(string(text), "hush-hush") {
				t.Error("a secret is printed")
			}
		})
	}
}

// TestBothDoorsPassTheSameInterceptors counts calls through each door in the metrics of the chain.
func TestBothDoorsPassTheSameInterceptors(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	request := &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member}
	for _, through := range []func(*testing.T, *daemon.Daemon, proto.Message) (proto.Message, verdict){throughGRPC, throughREST} {
		if _, v := through(t, d, request); v.code != codes.OK || v.http != 0 {
			t.Errorf("%+v", v)
		}
	}
	metrics := fetch(t, "http://"+d.Admin+"/metrics")
	for _, series := range []string{
		`recoverycodes_calls_total{caller="anyone",code="OK",door="grpc",method="Get"} 1`,
		`recoverycodes_calls_total{caller="anyone",code="OK",door="rest",method="Get"} 1`,
		`recoverycodes_outcomes_total{method="Get",outcome="done"} 2`,
	} {
		if !strings.Contains(metrics, series) {
			t.Errorf("no %s", series)
		}
	}
}

// TestUnknownOutcomeForbidsRetries looks at the trailer and the details that a gRPC caller gets.
func TestUnknownOutcomeForbidsRetries(t *testing.T) {
	d := inFrontOf(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	trailer := trailerOf(t, d, "Recover")
	if got := trailer("grpc-retry-pushback-ms"); len(got) != 1 || got[0] != "-1" {
		t.Errorf("pushback %q", got)
	}
	if got := trailerOf(t, d, "Get")("grpc-retry-pushback-ms"); len(got) != 0 {
		t.Errorf("Get: pushback %q", got)
	}
}

func trailerOf(t *testing.T, d *daemon.Daemon, method string) func(string) []string {
	t.Helper()
	var md metadata.MD
	_, answer := rpc(requests[method].request)
	_ = d.Dial(t).Invoke(t.Context(), "/"+service+"/"+method, requests[method].request, answer, grpc.Trailer(&md))
	return md.Get
}
