package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

func TestSized(t *testing.T) {
	for _, size := range []int{1 << 10, 5 << 10, 16 << 10, 64 << 10} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			text, err := sized(size)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) != size {
				t.Errorf("the answer has %d bytes", len(text))
			}
			// Without DiscardUnknown: an answer that departs from the contract would make the server log.
			answer := &recoverycodesv1.GetResponse{}
			if err := protojson.Unmarshal(text, answer); err != nil {
				t.Fatal(err)
			}
			if answer.GetMemberId() != memberID || answer.GetOrganization().GetOrganizationId() != organizationID {
				t.Error("the answer is not about the member who is asked for")
			}
		})
	}
	if _, err := sized(100); err == nil {
		t.Error("an answer of 100 bytes was made")
	}
}

func TestRecoversDiffer(t *testing.T) {
	request := recoverRequest()
	seen := make(map[string]bool)
	for range 100 {
		key := request.vary(request.message)
		var got recoverycodesv1.RecoverRequest
		if err := proto.Unmarshal(request.message[5:], &got); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(got.GetMemberId(), memberID[:len(memberID)-4]) {
			t.Fatalf("the member is %q", got.GetMemberId())
		}
		if seen[key] || seen[got.GetMemberId()] {
			t.Fatal("a key or a member came twice")
		}
		seen[key], seen[got.GetMemberId()] = true, true
	}
}

// upstreamOf returns the address of an upstream that answers with 5 KB.
func upstreamOf(t *testing.T) (*upstream, string) {
	t.Helper()
	u, err := startUpstream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.end)
	body, err := sized(usualSize)
	if err != nil {
		t.Fatal(err)
	}
	u.serve(body)
	return u, strings.TrimPrefix(u.url, "http://")
}

func TestUpstreamSpeaksHTTP(t *testing.T) {
	u, _ := upstreamOf(t)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	for _, tt := range []struct {
		name string
		call func() (*http.Response, error)
		want []byte
	}{
		{"Get", func() (*http.Response, error) { return client.Get(u.url + path) }, u.answer.Load().body},
		{"Recover", func() (*http.Response, error) {
			return client.Post(u.url+"/v1/b2b/recovery_codes/recover", "application/json", strings.NewReader(`{"a":"b"}`))
		}, u.done.body},
		{"Get on the same connection", func() (*http.Response, error) { return client.Get(u.url + path) }, u.answer.Load().body},
	} {
		resp, err := tt.call()
		if err != nil {
			t.Fatal(tt.name, err)
		}
		var got bytes.Buffer
		_, err = got.ReadFrom(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !bytes.Equal(got.Bytes(), tt.want) {
			t.Errorf("%s: %d bytes, %v", tt.name, got.Len(), err)
		}
	}
	if n := u.dials.Load(); n != 1 {
		t.Errorf("%d connections were counted, want 1", n)
	}
}

// answering serves Get, or fails.
type answering struct {
	recoverycodesv1.UnimplementedRecoveryCodesServiceServer
	fail bool
}

func (a *answering) Get(context.Context, *recoverycodesv1.GetRequest) (*recoverycodesv1.GetResponse, error) {
	if a.fail {
		return nil, status.Error(codes.Unavailable, "no")
	}
	return &recoverycodesv1.GetResponse{MemberId: memberID}, nil
}

// loads are the two loads against servers that answer as told.
func loads(t *testing.T, fail bool) map[string]func(callers int) (load, error) {
	t.Helper()
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if fail {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), 5000)) // longer than net/http buffers: chunked
	})
	web := httptest.NewServer(handler)
	t.Cleanup(web.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	recoverycodesv1.RegisterRecoveryCodesServiceServer(server, &answering{fail: fail})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return map[string]func(int) (load, error){
		"HTTP": func(callers int) (load, error) {
			return newHTTPLoad(web.Listener.Addr().String(), callers)
		},
		"gRPC": func(callers int) (load, error) { return newGRPCLoad(listener.Addr().String(), getRequest(), callers) },
	}
}

func TestLoads(t *testing.T) {
	for name, open := range loads(t, false) {
		t.Run(name, func(t *testing.T) {
			l, err := open(20)
			if err != nil {
				t.Fatal(err)
			}
			defer l.close()
			for range 2 { // a load can be used again
				if n, err := l.saturate(50 * time.Millisecond); err != nil || n < 20 {
					t.Fatalf("saturated: %d answers, %v", n, err)
				}
				times, err := l.pace(1000, 50*time.Millisecond)
				if err != nil || len(times) != 50 {
					t.Fatalf("paced: %d answers, want 50; %v", len(times), err)
				}
			}
			wait, err := l.begin()
			if err == nil {
				err = wait()
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestLoadsNoticeFailures(t *testing.T) {
	for name, open := range loads(t, true) {
		t.Run(name, func(t *testing.T) {
			l, err := open(2)
			if err != nil {
				t.Fatal(err)
			}
			defer l.close()
			if _, err := l.saturate(50 * time.Millisecond); err == nil {
				t.Error("failures were counted as answers")
			}
		})
	}
}

// TestPaceCountsFromTheIntendedStart holds a server up: the calls that should have been made meanwhile are late.
func TestPaceCountsFromTheIntendedStart(t *testing.T) {
	u, address := upstreamOf(t)
	l, err := newHTTPLoad(address, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	hold := make(chan struct{})
	u.hold.Store(&hold)
	time.AfterFunc(100*time.Millisecond, func() {
		u.hold.Store(nil)
		close(hold)
	})
	times, err := l.pace(1000, 80*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	late := 0
	for _, d := range times {
		if d > 10*time.Millisecond {
			late++
		}
	}
	if len(times) != 80 || late < 60 {
		t.Errorf("%d of %d calls were late, want nearly all: one caller was held for longer than all were due", late, len(times))
	}
}

func TestCPUTime(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Skip(err)
	}
	start := time.Now()
	for time.Since(start) < 30*time.Millisecond {
		_ = bytes.Repeat([]byte("x"), 1000)
	}
	after, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if spent := after - before; spent < time.Millisecond || spent > time.Second {
		t.Errorf("30 ms of work are %v", spent)
	}
}

func TestReadStolen(t *testing.T) {
	const stat = "cpu  1 2 3 4 5 6 7 800 9 10\ncpu0 1 2 3 4 5 6 7 100 9 10\ncpu1 1 2 3 4 5 6 7 20 9 10\ncpu10 1 2 3 4 5 6 7 3 9 10\nintr 1 2 3 4 5 6 7 8 9\n"
	for _, tt := range []struct {
		cores []int
		want  time.Duration
	}{{[]int{0, 1}, 1200 * time.Millisecond}, {[]int{1, 10}, 230 * time.Millisecond}} {
		if got, err := readStolen(stat, tt.cores...); err != nil || got != tt.want {
			t.Errorf("of %v %v was stolen, want %v; %v", tt.cores, got, tt.want, err)
		}
	}
	for name, stat := range map[string]string{"no such core": "cpu0 1 2 3 4 5 6 7 8 9 10\n", "an old kernel": "cpu2 1 2 3 4\n", "no number": "cpu2 1 2 3 4 5 6 7 x\n"} {
		if got, err := readStolen(stat, 2); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestDisturbedRounds(t *testing.T) {
	for name, tt := range map[string]struct {
		rate             int
		stolen           []float64 // of one round after the other
		spare            time.Duration
		want             float64
		again, disturbed int
	}{
		"steady":            {1000, []float64{0.05}, time.Hour, 0.05, 0, 0},
		"disturbed":         {1000, []float64{0.2, 0.06, 0.01}, time.Hour, 0.01, 2, 0},
		"no time to spare":  {1000, []float64{0.2}, 0, 0.2, 0, 1},
		"no time any more":  {1000, []float64{0.2, 0.3}, 1, 0.3, 1, 1},
		"costs, no latency": {0, []float64{0.2}, time.Hour, 0.2, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{spare: tt.spare}
			rounds := 0
			s, err := b.undisturbed(t.Context(), &row{rate: tt.rate, measure: func(*bench, *row) (sample, error) {
				time.Sleep(time.Millisecond)
				rounds++
				return sample{Stolen: tt.stolen[rounds-1], P50: float64(rounds)}, nil
			}})
			if s.P50 != float64(rounds) || s.FirstP50 != 1 {
				t.Errorf("p50 %v, of the first attempt %v", s.P50, s.FirstP50)
			}
			if err != nil || s.Stolen != tt.want || rounds != len(tt.stolen) || b.again != tt.again || b.disturbed != tt.disturbed {
				t.Errorf("%d rounds, %v, %v; %d again, %d disturbed", rounds, s, err, b.again, b.disturbed)
			}
		})
	}
}

func TestSpread(t *testing.T) {
	of := func(values ...float64) spread {
		var r rowResult
		for _, v := range values {
			r.Rounds = append(r.Rounds, sample{CPU: v})
		}
		return r.spread(cpu)
	}
	for _, tt := range []struct {
		name string
		got  spread
		want spread
	}{
		{"odd", of(3, 1, 2), spread{2, 1, 3}},
		{"even", of(4, 1, 2, 3), spread{2.5, 1, 4}},
		{"none", of(), spread{}},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestFigures(t *testing.T) {
	cost := func(table, row string, s sample) tableResult {
		return tableResult{Name: table, Rows: []rowResult{{Name: row, Rounds: []sample{s}}}}
	}
	r := &results{Tables: []tableResult{
		cost(tableServers, oursGRPC, sample{CPU: 50, Allocations: 201}),
		cost(tableServers, reverseProxy, sample{CPU: 50}),
		cost(tableServers, facadeGRPC, sample{CPU: 100}),
		cost(tablePaced, direct, sample{P50: 100, FirstP50: 100}),
		cost(tablePaced, oursGRPC, sample{P50: 220, FirstP50: 300}),
		cost(tablePaced, reverseProxy, sample{P50: 200, FirstP50: 200}),
	}}
	verdicts := make(map[string]string)
	for _, f := range figures(r, 26e6) {
		verdicts[f.Name] = f.Verdict
		if f.Name == "the same, had no round been measured again" && (f.Measured == nil || *f.Measured != 2) {
			t.Errorf("%s: %+v, want 2", f.Name, f)
		}
	}
	for name, want := range map[string]string{
		"ours gRPC ÷ ReverseProxy, CPU per request":                       "held",
		"ours REST ÷ ReverseProxy, CPU per request":                       "not measured",
		"straightforward façade ÷ ours, gRPC":                             "NOT HELD",
		"allocations per gRPC call, whole chain":                          "NOT HELD",
		"p50 added to a direct call at 1,000/s, ours gRPC ÷ ReverseProxy": "held",
		"stripped binary": "held",
	} {
		if verdicts[name] != want {
			t.Errorf("%s: %q, want %q", name, verdicts[name], want)
		}
	}
	if _, err := json.Marshal(figures(r, 26e6)); err != nil {
		t.Error(err)
	}
}

func TestReadLinks(t *testing.T) {
	out := bytes.NewBufferString("goos: linux\nBenchmarkLink/identify \t 100\t 300 ns/op\t 96 B/op\t 4 allocs/op\n" +
		"BenchmarkLink/identify \t 100\t 500 ns/op\t 96 B/op\t 4 allocs/op\nBenchmarkLink/observe \t 9\t 7.5 ns/op\t 0 B/op\t 0 allocs/op\nPASS\n")
	want := []link{{"identify", 400, 96, 4}, {"observe", 7.5, 0, 0}}
	got := readLinks(out)
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUpdatePage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + markBegin + "old\n" + markEnd + "after\n")
	if err := updatePage(file, "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if want := "before\n" + markBegin + "new\n" + markEnd + "after\n"; err != nil || string(got) != want {
		t.Errorf("the page is %q, %v", got, err)
	}
	write("no marks")
	if updatePage(file, "new\n") == nil {
		t.Error("a page without marks was accepted")
	}
}
