package sandbox_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"recoverycodes.internal/server/internal/sandbox"
)

const fault = "member-test-fault-"

// TestFaults holds each fault that answers at once to what it puts on the wire
// and to its effect, for every operation and protocol.
func TestFaults(t *testing.T) {
	type check = func(t *testing.T, s seen, operation string)
	is := func(status int, mediaType, part string) check {
		return func(t *testing.T, s seen, _ string) {
			if s.status != status || s.header.Get("Content-Type") != mediaType || !bytes.Contains(s.body, []byte(part)) {
				t.Errorf("got %d %q %.300q, want %d %q with %q", s.status, s.header.Get("Content-Type"), s.body, status, mediaType, part)
			}
		}
	}
	stytch := func(status int, kind string) check {
		return is(status, "application/json", fmt.Sprintf(`"error_type":%q`, kind))
	}
	redirects := func(status int) check {
		return func(t *testing.T, s seen, _ string) {
			if s.status != status || len(s.body) > 0 || s.header.Get("Location") == "" {
				t.Errorf("got %d to %q with %d bytes, want %d", s.status, s.header.Get("Location"), len(s.body), status)
			}
		}
	}
	plain, encrypted := start(t, sandbox.Options{}), start(t, sandbox.Options{TLS: true})
	const both = "" // the exchange ends with an answer, whatever the protocol
	for _, c := range []struct {
		kind         string
		http1, http2 string // how the exchange ends
		effect       bool
		check        check
	}{
		{"reset-before-effect", "TCP reset", "INTERNAL_ERROR", false, nil},
		{"reset-after-effect", "TCP reset", "INTERNAL_ERROR", true, nil},
		{"refused-stream-after-effect", "closed", "REFUSED_STREAM", true, nil},
		{"goaway-after-effect", "closed", "GOAWAY 0 NO_ERROR", true, nil},
		{"slow-1", both, both, true, usable},
		{"status-400", both, both, false, stytch(400, "bad_request")},
		{"status-418", both, both, false, stytch(418, "bad_request")},
		{"status-500", both, both, false, stytch(500, "internal_server_error")},
		{"status-503-after-effect", both, both, true, stytch(503, "server_unavailable")},
		{"html-502", both, both, false, is(502, "text/html; charset=utf-8", "<h1>502 Bad Gateway</h1>")},
		{"html-502-after-effect", both, both, true, is(502, "text/html; charset=utf-8", "<h1>502 Bad Gateway</h1>")},
		{"truncated", "cut short", "cut short", true, is(200, "application/json", `{"member":{`)},
		{"not-json", both, both, true, notJSON},
		{"huge", both, both, true, huge},
		{"redirect", both, both, false, redirects(307)},
		{"redirect-308", both, both, false, redirects(308)},
		{"unknown-fields", both, both, true, unknownFields},
		{"wrong-types", both, both, true, wrongTypes},
		{"bad-utf8", both, both, true, badUTF8},
		{"deep", both, both, true, deep},
		{"rate-limited", both, both, false, stytch(429, "too_many_requests")},
		{"bad-credentials", both, both, false, stytch(401, "unauthorized_credentials")},
		{"idle-blackhole", both, both, true, usable},
	} {
		for _, over := range []struct {
			protocol string
			send     func(*peer, *http.Request) seen
			peer     *peer
			ended    string
		}{
			{"http1", (*peer).overHTTP1, plain, c.http1},
			{"http1-tls", (*peer).overHTTP1, encrypted, c.http1},
			{"http2", (*peer).overHTTP2, encrypted, c.http2},
		} {
			for _, operation := range []string{"get", "recover", "rotate"} {
				t.Run(c.kind+"/"+over.protocol+"/"+operation, func(t *testing.T) {
					p := over.peer.in(t)
					id := fault + c.kind + "~" + operation + "-" + over.protocol
					s := over.send(p, p.about(operation, id))
					if want := cmp.Or(over.ended, "answer"); s.ended != want {
						t.Fatalf("the exchange ended with %q, want %q", s.ended, want)
					}
					if c.check != nil {
						c.check(t, s, operation)
					}
					wantCall(t, p.state(id), operation, c.effect)
				})
			}
		}
	}
}

// wantCall checks that exactly one call was counted, and its effect.
func wantCall(t *testing.T, state sandbox.MemberState, operation string, effect bool) {
	t.Helper()
	var calls, effects sandbox.Counts
	codes := sandbox.RecoveryCodes()
	switch operation {
	case "get":
		calls.Get = 1
	case "recover":
		calls.Recover = 1
		if effect {
			effects.Recover = 1
			codes = codes[1:]
		}
	case "rotate":
		calls.Rotate = 1
		if effect {
			effects.Rotate = 1
			codes = state.RecoveryCodes
			if len(codes) != 10 || codes[0] == sandbox.RecoveryCodes()[0] {
				t.Errorf("codes after a rotation: %d", len(codes))
			}
		}
	}
	want := sandbox.MemberState{OrganizationID: sandbox.OrganizationID, Calls: calls, Effects: effects,
		RecoveryCodes: codes, RecoveryCodesRemaining: len(codes)}
	if diff := gocmp.Diff(want, state); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

// usable holds an answer to what a caller must be able to take from it.
func usable(t *testing.T, s seen, operation string) {
	t.Helper()
	a := answer{status: s.status, header: s.header, body: s.body}
	a.wantOK(t)
	decoder := json.NewDecoder(bytes.NewReader(s.body))
	decoder.UseNumber()
	if err := decoder.Decode(&a.object); err != nil {
		t.Fatalf("the answer is not a JSON object: %v", err)
	}
	if operation == "recover" {
		if len(a.text("session_token")) != 44 || strings.Count(a.text("session_jwt"), ".") != 2 || a.text("member_session", "member_session_id") == "" {
			t.Errorf("the answer has lost its session: %.300s", s.body)
		}
	} else if len(a.list("recovery_codes")) != 10 {
		t.Errorf("the answer has lost its codes: %.300s", s.body)
	}
	if a.at("status_code") != json.Number("200") || a.text("member_id") == "" || a.text("request_id") == "" {
		t.Errorf("the answer has lost its ids: %.300s", s.body)
	}
}

func notJSON(t *testing.T, s seen, _ string) {
	if s.status != 200 || s.header.Get("Content-Type") != "application/json" || len(s.body) == 0 || json.Valid(s.body) {
		t.Errorf("got %d %q %q", s.status, s.header.Get("Content-Type"), s.body)
	}
}

func huge(t *testing.T, s seen, operation string) {
	before, padding, _ := bytes.Cut(s.body, []byte(`"padding":"`))
	_, after, _ := bytes.Cut(padding, []byte(`"`))
	if size := len(padding) - len(after); size <= 8<<20 {
		t.Errorf("the answer has %d bytes of padding, want more than 8 MB", size)
	}
	s.body = slices.Concat(before, []byte(`"padding":"`), []byte(`"`), after) // decoding it all takes seconds
	usable(t, s, operation)
}

func unknownFields(t *testing.T, s seen, operation string) {
	usable(t, s, operation)
	want := map[string]int{"get": 5, "rotate": 5, "recover": 8}[operation]
	if got := bytes.Count(s.body, []byte(`"sandbox_object":`)); got != want {
		t.Errorf("%d objects have members that nobody knows, want %d", got, want)
	}
}

func wrongTypes(t *testing.T, s seen, operation string) {
	usable(t, s, operation)
	parts := []string{`"name":7`, `"email_address_verified":"yes"`, `"created_at":"the day before yesterday"`, `"roles":{`, `"organization_name":null`}
	if operation == "recover" {
		parts = append(parts, `"recovery_codes_remaining":3000000000`, `"custom_claims":[]`)
	}
	for _, part := range parts {
		if !bytes.Contains(s.body, []byte(part)) {
			t.Errorf("the answer lacks %s", part)
		}
	}
}

func badUTF8(t *testing.T, s seen, operation string) {
	usable(t, s, operation)
	if utf8.Valid(s.body) || bytes.Contains(s.body, []byte("sandbox:")) {
		t.Errorf("the answer is valid UTF-8, or a mark was left in it: %.300q", s.body)
	}
	for _, lone := range []string{`\ud83d`, `\udc00`} {
		if !bytes.Contains(s.body, []byte(lone)) {
			t.Errorf("the answer lacks %s", lone)
		}
	}
}

func deep(t *testing.T, s seen, operation string) {
	usable(t, s, operation)
	for _, nested := range []string{strings.Repeat(`{"d":`, 2000), strings.Repeat("[", 2000)} {
		if !bytes.Contains(s.body, []byte(nested)) {
			t.Errorf("the answer does not nest %q", nested[:5])
		}
	}
}

func TestNoSuchFault(t *testing.T) {
	seed := sandbox.DefaultSeed()
	seed.Organizations = append(seed.Organizations, sandbox.Organization{ID: "second"})
	p := start(t, sandbox.Options{Seed: seed})
	for _, id := range []string{"", "nothing", "slow", "slow-", "slow-x", "slow--1", "slow-600001", "slow-10-after-effect", "status-399", "status-600",
		"status-200", "redirect-304", "redirect-307-after-effect", "TRUNCATED", "truncated-", "truncated ~", "html-503"} {
		p.do(p.about("get", strings.ReplaceAll(fault+id, " ", "%20"))).wantError(t, 404, "member_not_found")
	}
	p.get("/v1/b2b/recovery_codes/second/"+fault+"slow-1").wantError(t, 404, "member_not_found")
	if got := len(p.wholeState().Members); got != 1 {
		t.Errorf("%d members exist, want the seeded one alone", got)
	}
}

// TestFaultsOfErrors: what spoils a good answer leaves an error as it is.
func TestFaultsOfErrors(t *testing.T) {
	p := start(t, sandbox.Options{})
	for _, kind := range []string{"slow-1", "truncated", "not-json", "huge", "unknown-fields", "wrong-types", "bad-utf8", "deep", "idle-blackhole"} {
		id := fault + kind
		p.post(recoverPath, member("member_id", id, "recovery_code", "wrong")).wantError(t, 401, "unable_to_authenticate_recovery_code")
		p.http.CloseIdleConnections() // the last one may be swallowing
		if state := p.state(id); state.Effects != (sandbox.Counts{}) || state.FailedAttempts != 1 {
			t.Errorf("%s: state is %+v", kind, state)
		}
	}
}

func TestFaultMembersAreApart(t *testing.T) {
	p := start(t, sandbox.Options{})
	p.post(rotatePath, member("member_id", fault+"slow-0~a")).wantOK(t)
	if state := p.state(fault + "slow-0~b"); state.Calls != (sandbox.Counts{}) {
		t.Errorf("a member that was never named has the state %+v", state)
	}
	a := p.do(p.about("get", fault+"slow-0~b"))
	if diff := gocmp.Diff(sandbox.RecoveryCodes(), a.list("recovery_codes")); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
}

// TestSlowHasItsEffectAtOnce: a client that gives up has changed the state.
func TestSlowHasItsEffectAtOnce(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		p := start(t, sandbox.Options{TLS: encrypted})
		const id = fault + "slow-600000"
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() {
			response, err := p.http.Do(p.about("rotate", id).WithContext(ctx))
			if err == nil {
				err = response.Body.Close()
			}
			gaveUp <- err
		}()
		waitFor(t, "the effect", func() bool { return p.state(id).Effects.Rotate == 1 })
		cancel()
		if err := <-gaveUp; err == nil {
			t.Error("the answer did not wait")
		}
	} // and Serve must end although the handlers have nine minutes to go
}

// TestClientsRepeat: a client that believes what it is told about an exchange
// that was "never begun" sends it again, and so the faults are worth having.
func TestClientsRepeat(t *testing.T) {
	p := start(t, sandbox.Options{TLS: true})
	for _, kind := range []string{"refused-stream-after-effect", "goaway-after-effect"} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if response, err := p.http.Do(p.about("rotate", fault+kind).WithContext(ctx)); err == nil {
				_ = response.Body.Close()
			}
		}()
		waitFor(t, "a rotation that nobody asked for", func() bool { return p.state(fault+kind).Effects.Rotate > 1 })
		cancel()
		<-ended
	}
}

func TestBlackhole(t *testing.T) {
	const silence = 100 * time.Millisecond
	t.Run("HTTP/1.1", func(t *testing.T) {
		for _, encrypted := range []bool{false, true} {
			p := start(t, sandbox.Options{TLS: encrypted})
			conn := p.dial("http/1.1")
			r := p.about("get", fault+"idle-blackhole")
			if err := r.Write(conn); err != nil {
				t.Fatal(err)
			}
			reader := newReader(conn)
			s := readHTTP1(t, reader, r)
			usable(t, s, "get")
			if s.header.Get("Connection") != "" {
				t.Errorf("the answer gives the connection away: %v", s.header)
			}
			if err := p.about("rotate", fault+"idle-blackhole").Write(conn); err != nil {
				t.Fatal(err)
			}
			wantSilence(t, conn, silence, func() error { _, err := reader.ReadByte(); return err })
			wantCall(t, p.state(fault+"idle-blackhole"), "get", false)
		}
	})
	t.Run("HTTP/2", func(t *testing.T) {
		p := start(t, sandbox.Options{TLS: true})
		c := p.h2()
		c.send(1, p.about("get", fault+"idle-blackhole"))
		usable(t, c.receive(1), "get")
		c.send(3, p.about("rotate", fault+"idle-blackhole"))
		c.must(c.framer.WritePing(false, [8]byte{1}))
		wantSilence(t, c.conn, silence, func() error { _, err := c.framer.ReadFrame(); return err })
		wantCall(t, p.state(fault+"idle-blackhole"), "get", false)
	})
}

// TestWithoutServe serves the Handler by a server that the sandbox does not
// know, whose HTTP/2 lets nobody have the connection.
func TestWithoutServe(t *testing.T) {
	p := foreign(t)
	for kind, want := range map[string]string{
		"reset-after-effect": "INTERNAL_ERROR", "refused-stream-after-effect": "INTERNAL_ERROR", "goaway-after-effect": "INTERNAL_ERROR",
		"idle-blackhole": "answer", "redirect": "answer",
	} {
		if s := p.overHTTP2(p.about("rotate", fault+kind)); s.ended != want {
			t.Errorf("%s ended with %q, want %q", kind, s.ended, want)
		}
		wantCall(t, p.state(fault+kind), "rotate", kind != "redirect")
	}
}
