package life

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"recoverycodes.internal/test/daemon"
)

// TestServesWhileItLeaves stops a server with a delay. From the first moment it says that it is going; until the delay is
// over it serves everything, on new connections too, and REST clients are asked to go elsewhere.
func TestServesWhileItLeaves(t *testing.T) {
	for delay := 2 * time.Second; ; delay *= 4 { // on a machine that is busy with other things it takes longer to tell
		took := leaves(t, delay)
		if took < delay || t.Failed() {
			return
		}
		if delay > 30*time.Second {
			t.Fatalf("looking at it took %v, the delay is %v", took, delay)
		}
	}
}

// leaves stops a server with a delay, looks at it, and returns how long that took. What took longer than the delay says
// nothing.
func leaves(t *testing.T, delay time.Duration) (took time.Duration) {
	t.Helper()
	d := daemon.Start(t, behind(t, answering), "--drain-delay="+delay.String())
	conn := d.Dial(t)
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := watch.Recv(); err != nil || first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v %v", first, err)
	}
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	start := time.Now()
	d.Signal(t, syscall.SIGTERM)
	if second, err := watch.Recv(); err != nil || second.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		say("health says %v %v", second, err)
	}
	for path, want := range map[string]string{"/readyz": "503", "/livez": "200", "/metrics": "\nrecoverycodes_ready 0\n"} {
		status, text, err := try(t.Context(), http.MethodGet, d.Admin+path, "")
		if !strings.Contains(fmt.Sprint(status, text), want) {
			say("%s: %d %v", path, status, err)
		}
	}
	for _, method := range []string{"Get", "Recover", "Rotate"} {
		if err := invoke(t.Context(), d.Dial(t), method); err != nil {
			say("%s: %v", method, err)
		}
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://"+d.HTTP+pathRecover, "application/json", strings.NewReader(body))
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	if err != nil || resp.StatusCode != http.StatusOK || !resp.Close {
		say("REST: %+v %v", resp, err)
	}
	if took = time.Since(start); took > delay {
		return took
	}
	if code := d.Wait(t); code != 0 || time.Since(start) < delay {
		say("exit code %d after %v\n%s", code, time.Since(start), d.Log())
	}
	for _, text := range wrong {
		t.Error(text)
	}
	return took
}

// TestInterruptedWithoutDelay: SIGINT comes from a terminal.
func TestInterruptedWithoutDelay(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox", "--drain-delay=1h")
	d.Signal(t, syscall.SIGINT)
	if code := d.Wait(t); code != 0 || !strings.Contains(d.Log(), `"message":"stopped"`) {
		t.Errorf("exit code %d\n%s", code, d.Log())
	}
}

// TestHangup has a terminal close, which tells of it twice, while a call is under way.
func TestHangup(t *testing.T) {
	// Where this test runs under nohup, processes that it starts would ignore the signal too.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	arrived, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	d := daemon.Start(t, behind(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-held
		answering(w, r)
	}), "--drain-delay=0s")
	defer release()
	answered := make(chan error, 1)
	go func() {
		resp, err := http.Post("http://"+d.HTTP+pathRecover, "application/json", strings.NewReader(body))
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = errors.New(resp.Status)
			}
		}
		answered <- err
	}()
	<-arrived
	d.Signal(t, syscall.SIGHUP)
	await(t, "the first signal", func() bool { return strings.Contains(d.Log(), "stopping") })
	d.Signal(t, syscall.SIGHUP)
	release()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.Log())
	}
}

// TestNohup: a server that is meant to outlive its terminal does.
func TestNohup(t *testing.T) {
	nohup := filepath.Join(t.TempDir(), "nohup")
	if err := os.WriteFile(nohup, []byte("#!/bin/sh\ntrap '' HUP\nexec "+daemon.Binary(t)+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := daemon.StartBuild(t, nohup, nil, nil, "--sandbox", "--drain-delay=0s")
	d.Signal(t, syscall.SIGHUP)
	time.Sleep(500 * time.Millisecond) // a signal that is taken is taken at once
	if strings.Contains(d.Log(), "stopping") {
		t.Error("it stops")
	}
	d.Signal(t, syscall.SIGTERM)
	if code := d.Wait(t); code != 0 {
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

// TestWhatHasNotArrivedIsRefused is the same for gRPC: calls that have begun, and whose requests come after the stop. A Get, which has
// no effect, is answered.
func TestWhatHasNotArrivedIsRefused(t *testing.T) {
	var effects atomic.Int32
	d := daemon.Start(t, behind(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			effects.Add(1)
		}
		answering(w, r)
	}))
	conn := d.Dial(t)
	calls := make(map[string]grpc.ClientStream)
	for _, method := range []string{"Get", "Recover", "Rotate"} {
		call, err := conn.NewStream(t.Context(), &grpc.StreamDesc{}, fullName(method))
		if err != nil {
			t.Fatal(err)
		}
		calls[method] = call
	}
	if err := invoke(t.Context(), conn, "Get"); err != nil { // which the server has seen after those
		t.Fatal(err)
	}
	d.Signal(t, syscall.SIGTERM)
	await(t, "the door to close", func() bool {
		probe, err := net.Dial("tcp", d.GRPC)
		if err == nil {
			_ = probe.Close()
		}
		return err != nil
	})
	for method, call := range calls {
		request, answer := messages(method)
		err := errors.Join(call.SendMsg(request), call.CloseSend())
		if err == nil {
			err = call.RecvMsg(answer)
		}
		if method == "Get" {
			if err != nil {
				t.Errorf("Get: %v", err)
			}
			continue
		}
		reason := ""
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok {
				reason = info.GetReason()
			}
		}
		if status.Code(err) != codes.Unavailable || reason != "NOT_SENT" {
			t.Errorf("%s: %v, reason %q", method, err, reason)
		}
	}
	if code := d.Wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := effects.Load(); n != 0 {
		t.Errorf("%d effects after the stop", n)
	}
}

func readFull(r io.Reader, into []byte) error {
	_, err := io.ReadFull(r, into)
	return err
}
