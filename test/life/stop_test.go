package life

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"recoverycodes.internal/test/daemon"
)

// TestServesWhileItLeaves stops a server with a delay. From the first moment it says that it is going; until the delay is
// over it serves everything, on new connections too, and REST clients are asked to go elsewhere.
func TestServesWhileItLeaves(t *testing.T) {
	const delay = 2 * time.Second
	d := daemon.Start(t, behind(t, answering), "--drain-delay="+delay.String())
	conn := d.Dial(t)
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := watch.Recv(); err != nil || first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v %v", first, err)
	}
	start := time.Now()
	d.Signal(t, syscall.SIGTERM)
	if second, err := watch.Recv(); err != nil || second.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Fatalf("%v %v", second, err)
	}
	if status, _ := fetch(t, http.MethodGet, d.Admin+"/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("readyz says %d", status)
	}
	if status, _ := fetch(t, http.MethodGet, d.Admin+"/livez", ""); status != http.StatusOK {
		t.Errorf("livez says %d", status)
	}
	if _, metrics := fetch(t, http.MethodGet, d.Admin+"/metrics", ""); !strings.Contains(metrics, "\nrecoverycodes_ready 0\n") {
		t.Error("the metrics say that it is ready")
	}
	for _, method := range []string{"Get", "Recover", "Rotate"} {
		if err := invoke(t.Context(), d.Dial(t), method); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://"+d.HTTP+pathRecover, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("REST: %d, close %v", resp.StatusCode, resp.Close)
	}
	if took := time.Since(start); took > delay {
		t.Skipf("this machine is too slow to tell: %v", took)
	}
	if code := d.Wait(t); code != 0 || time.Since(start) < delay {
		t.Errorf("exit code %d after %v\n%s", code, time.Since(start), d.Log())
	}
}

// TestInterruptedWithoutDelay: SIGINT comes from a terminal.
func TestInterruptedWithoutDelay(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox", "--drain-delay=1h")
	d.Signal(t, syscall.SIGINT)
	if code := d.Wait(t); code != 0 || !strings.Contains(d.Log(), `"message":"stopped"`) {
		t.Errorf("exit code %d\n%s", code, d.Log())
	}
}

// TestSecondSignalEndsTheDelay ends at once, and not in peace.
func TestSecondSignalEndsTheDelay(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox", "--drain-delay=1h")
	d.Signal(t, syscall.SIGTERM)
	await(t, "the first signal", func() bool { return strings.Contains(d.Log(), "stopping") })
	d.Signal(t, syscall.SIGTERM)
	if code := d.Wait(t); code == 0 {
		t.Error("it ended in peace")
	}
}

// TestWhatIsNotSentIsRefused has a Recover under way when the server stops, whose body comes after that. It is
// refused with the promise that nothing was sent, and nothing was.
func TestWhatIsNotSentIsRefused(t *testing.T) {
	var effects atomic.Int32
	d := daemon.Start(t, behind(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			effects.Add(1)
		}
		answering(w, r)
	}))
	conn, err := net.Dial("tcp", d.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const head = "POST " + pathRecover + " HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
	if _, err := io.WriteString(conn, head+"Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	const goOn = "HTTP/1.1 100 Continue\r\n\r\n" // it waits for the body now
	if got := make([]byte, len(goOn)); readFull(conn, got) != nil || string(got) != goOn {
		t.Fatalf("%q", got)
	}
	d.Signal(t, syscall.SIGTERM)
	await(t, "the doors to close", func() bool {
		probe, err := net.Dial("tcp", d.HTTP)
		if err == nil {
			_ = probe.Close()
		}
		return err != nil
	})
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		ErrorType string `json:"error_type"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusServiceUnavailable ||
		answer.ErrorType != "not_sent" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %+v %v", resp.StatusCode, answer, err)
	}
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := effects.Load(); n != 0 {
		t.Errorf("%d effects after the stop", n)
	}
	if !strings.Contains(d.Log(), `"outcome":"not_sent"`) {
		t.Errorf("not recorded\n%s", d.Log())
	}
}

func readFull(r io.Reader, into []byte) error {
	_, err := io.ReadFull(r, into)
	return err
}
