package attack

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
)

// everyRefusal makes the calls that are refused on the way, by whatever is there to refuse them, with secrets in them.
func (c *cage) everyRefusal(t *testing.T) {
	t.Helper()
	for _, r := range slices.Concat(c.credentialRefusals(t), c.requestRefusals()) {
		_, _ = c.grpc(t.Context(), r)
		_, _ = c.restCall(t.Context(), r)
	}
	c.restRefusals(t)
	c.grpcRefusals(t)
	c.limits(t)
}

// credentialRefusals present every kind of credential, good ones too, and things that are none.
func (c *cage) credentialRefusals(t *testing.T) (all []request) {
	t.Helper()
	basic := func(user, password string) string {
		return "Basic " + c.secret("a Basic credential", base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	}
	header := map[string]any{"alg": "RS256", "kid": "one"}
	jwt := func(header, claims map[string]any) string {
		text := c.secret("a JWT", token(t, header, claims, rs256(t, c.issuer.key)))
		c.secret("the signature of a JWT", text[strings.LastIndexByte(text, '.')+1:])
		return "Bearer " + text
	}
	wrong := func() string { return c.secret("a secret of nobody", newSecret()) }
	for _, authorization := range [][]string{
		{basic(projectID, c.target.secret)}, {jwt(header, claims(nil))},
		{"Bearer " + wrong()}, {basic(projectID, wrong())}, {basic("project-test-other", c.target.secret)}, {basic(wrong(), wrong())},
		{jwt(header, claims(map[string]any{"exp": 1}))}, {jwt(map[string]any{"alg": "RS256", "kid": "two"}, claims(nil))},
		{jwt(header, claims(map[string]any{"sub": "nobody"}))}, {jwt(header, claims(map[string]any{"iss": wrong()}))},
		{jwt(map[string]any{"alg": "RS256", "kid": wrong()}, claims(nil))}, {jwt(map[string]any{"alg": wrong()}, claims(nil))},
		{"Digest " + wrong()}, {wrong()}, {"Bearer " + c.secret("a token of other characters", newMark())}, {"Basic " + wrong()},
		{"Bearer " + c.target.secret, "Bearer " + wrong()}, {"Bearer " + strings.Repeat(wrong(), 150)}, {"bearer  " + wrong()},
	} {
		for _, method := range []string{"Get", "Recover"} {
			r := c.recoverOf(member)
			r.method, r.anonymous = method, true
			for _, value := range authorization {
				r.md = append(r.md, "authorization", value)
			}
			all = append(all, r)
		}
	}
	for _, name := range []string{"cookie", "x-api-key", "proxy-authorization", "grpc-metadata-authorization", "x-forwarded-client-cert", "x-request-ids", "traceparent", "baggage"} {
		r := c.recoverOf(member)
		r.anonymous, r.md = name != "x-request-ids", []string{name, c.secret("a credential where none is read", newMark())}
		all = append(all, r)
	}
	r := c.recoverOf(member)
	r.anonymous, r.organization, r.md = true, "example-org", []string{"authorization", jwt(header, claims(nil))}
	return append(all, r)
}

// requestRefusals are refused for what is in them, or by the sandbox.
func (c *cage) requestRefusals() (all []request) {
	add := func(change func(r *request)) {
		r := c.recoverOf(member)
		change(&r)
		all = append(all, r)
	}
	code := func() string { return c.secret("a recovery code", newMark()) }
	for range 6 { // beyond the budget of wrong codes
		add(func(r *request) { r.code = code() })
	}
	add(func(r *request) { r.member, r.code = "", code() })
	add(func(r *request) { r.organization, r.code = "a/b\n", code() })
	add(func(r *request) { r.code = strings.Repeat(code(), 30) })
	other := "member-test-fault-slow-1~refusals"
	add(func(r *request) { r.member, r.session = other, c.secret("a session token", newMark()) })
	add(func(r *request) { r.member, r.jwt = other, c.secret("a session JWT", newMark()) })
	add(func(r *request) {
		r.member, r.session, r.jwt = other, c.secret("a session token", newMark()), c.secret("a session JWT", newMark())
	})
	add(func(r *request) {
		r.member, r.intermediate = other, c.secret("an unknown intermediate token", newMark())
	})
	add(func(r *request) { r.session = strings.Repeat(c.secret("a session token", newMark()), 400) })
	add(func(r *request) { r.telemetry = strings.Repeat("x", 2000) })

	key := c.secret("an idempotency key", newMark())
	add(func(r *request) { r.member, r.md = other, []string{"idempotency-key", key} })
	add(func(r *request) { r.member, r.code, r.md = other, code(), []string{"idempotency-key", key} }) // with another request
	add(func(r *request) { r.md = []string{"idempotency-key", key, "idempotency-key", key + "2"} })
	add(func(r *request) { r.md = []string{"idempotency-key", strings.Repeat(key, 10)} })
	add(func(r *request) { r.md = []string{"idempotency-key", key + " " + key} })
	return all
}

// restRefusals are bodies and paths that only REST knows.
func (c *cage) restRefusals(t *testing.T) {
	t.Helper()
	code := func() string { return c.secret("a recovery code in a body", newMark()) }
	const path = "/v1/b2b/recovery_codes/recover"
	ids := fmt.Sprintf(`"organization_id":%q,"member_id":%q`, organization, member)
	quoted := func() string { return `"` + inJSON(code(), false) + `"` }
	for _, body := range []string{
		quoted(), `{` + quoted(), `{"recovery_code":` + quoted(), `{"recovery_code":` + strings.Trim(quoted(), `"`) + `}`,
		`{` + ids + `,"recovery_code":[` + quoted() + `]}`, `{` + ids + `,"recovery_code":{"x":` + quoted() + `}}`,
		`{` + ids + `,"recovery_code":` + quoted() + `,"recovery_code":` + quoted() + `}`, `{` + ids + `,"recoveryCode":` + quoted() + `}`,
		`{` + ids + `,"recovery_code":` + quoted() + `} ` + quoted(), `{` + ids + `,"session_duration_minutes":` + quoted() + `}`,
		`{` + ids + `,"recovery_code":"` + code() + "\xff" + `"}`, `{` + ids + `,"recovery_code":"\ud800` + quoted()[1:] + `}`,
		`{` + ids + `,"session_custom_claims":` + quoted() + `}`, `{` + ids + `,"recovery_code":` + quoted() + `,"session_custom_claims":{"iss":` + quoted() + `}}`,
		`{` + ids + `,"recovery_code":` + quoted() + `,"session_custom_claims":{"a":9007199254740993}}`,
		strings.Repeat(code(), (2<<20)/50), "recovery_code=" + code(), "\x1f\x8b" + code(),
	} {
		for _, media := range []string{"application/json", "application/x-www-form-urlencoded", "text/plain; x=" + c.target.secret, ";;"} {
			c.send(t.Context(), http.MethodPost, path, body, "Authorization", "Bearer "+c.target.secret, "Content-Type", media)
		}
	}
	body := `{` + ids + `,"recovery_code":` + quoted() + `}`
	for _, verb := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch} {
		c.send(t.Context(), verb, path+"?recovery_code="+code(), body, "Authorization", "Bearer "+c.target.secret)
	}
	for _, elsewhere := range []string{"/", "/nowhere?token=" + code(), path + "/" + "x", "/debug/pprof/goroutine?debug=2", "/metrics"} {
		c.send(t.Context(), http.MethodPost, elsewhere, body, "Authorization", "Bearer "+c.target.secret, "Content-Encoding", "gzip")
		c.send(t.Context(), http.MethodPost, elsewhere, body)
	}
}

// wire is a codec that sends bytes as they are.
type wire struct{}

func (wire) Name() string { return "proto" }
func (wire) Marshal(v any) (mem.BufferSlice, error) {
	b, _ := v.([]byte)
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}
func (wire) Unmarshal(mem.BufferSlice, any) error { return nil }

var _ encoding.CodecV2 = wire{}

// grpcRefusals are messages that no library makes, methods that there are not, and calls that are given up.
func (c *cage) grpcRefusals(t *testing.T) {
	t.Helper()
	code := func() string { return c.secret("a recovery code in a message", newMark()) }
	field := func(number protowire.Number, value string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), value)
	}
	for _, message := range [][]byte{
		[]byte(code()), field(3, code()+"\xff"), field(3, code())[:20], append(field(3, code()), 0xff), field(19999, code()),
		field(3, strings.Repeat(code(), 3000)), field(3, strings.Repeat(code(), 30_000)), field(8, code()),
	} {
		for _, method := range []string{
			service + "/Recover", service + "/Rotate", service + "/Nothing", "a.b/C", "grpc.health.v1.Health/Check",
			"grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
		} {
			var header, trailer metadata.MD
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+c.target.secret), 5*time.Second)
			err := c.conn.Invoke(ctx, "/"+method, message, nil, grpc.ForceCodecV2(wire{}), grpc.Header(&header), grpc.Trailer(&trailer))
			cancel()
			c.heard(err, header, trailer)
		}
	}
	for _, patience := range []time.Duration{time.Nanosecond, 10 * time.Millisecond, 200 * time.Millisecond} {
		for _, call := range []func(context.Context, request) (answer, error){c.grpc, c.restCall} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			_, _ = call(ctx, c.recoverOf("member-test-fault-slow-1000~given-up"))
			cancel()
		}
	}
}

// limits has a caller who is known by its certificate call too often, and others not at all.
func (c *cage) limits(t *testing.T) {
	t.Helper()
	usual := c.conn
	defer func() { c.conn = usual }()
	for _, uri := range []string{meshID, nobodyID} {
		shown := c.trust.issue(uri)
		c.conn = c.dial(t, shown)
		shower := c.showing(t, []tls.Certificate{shown}...)
		for range 8 {
			r := c.recoverOf(member)
			r.anonymous, r.code = true, c.secret("a recovery code", newMark())
			_, _ = c.grpc(t.Context(), r)
			other := &cage{target: shower, corpus: c.corpus, secrets: c.secrets}
			_, _ = other.restCall(t.Context(), r)
		}
	}
}

// panics has the server panic in the chain, before and after a call was sent, and in the REST door.
func (c *cage) panics(t *testing.T) {
	t.Helper()
	before := c.metric(t, "recoverycodes_panics_total")
	for _, plant := range []string{"panic", "panic-sent", "panic-error", "rest-panic"} {
		for door, call := range map[string]func(context.Context, request) (answer, error){"gRPC": c.grpc, "REST": c.restCall} {
			if plant == "rest-panic" && door == "gRPC" {
				continue
			}
			r := c.recoverOf("member-test-fault-slow-1~plant-" + plant)
			r.session, r.jwt, r.telemetry = "", "", c.secret("a telemetry id in a panic", newMark())
			if plant != "rest-panic" {
				r.code = c.secret("a recovery code in a panic", newMark())
				r.session, r.jwt = c.secret("a session token in a panic", newMark()), c.secret("a session JWT in a panic", newMark())
			}
			got, _ := call(t.Context(), r)
			if want := map[string]string{"gRPC": "Internal Unknown", "REST": "500"}[door]; got.ok || !strings.Contains(want, got.status) {
				t.Errorf("%s by %s: %+v", plant, door, got)
			}
		}
	}
	if n := c.metric(t, "recoverycodes_panics_total") - before; n != 7 {
		t.Errorf("%v panics were counted, want 7", n)
	}
}
