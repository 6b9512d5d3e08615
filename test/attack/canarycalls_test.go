package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// request is a call of either door.
type request struct {
	method, organization, member, code, telemetry string

	session, jwt, intermediate string // tokens; empty for none
	md                         []string
	anonymous                  bool // without the usual credential
}

// recoverOf is a Recover that the sandbox does, with a secret in each field that takes one without being refused for it.
func (c *cage) recoverOf(member string) request {
	return request{
		method: "Recover", organization: organization, member: member, code: code1,
		intermediate: c.secret("an intermediate session token", "sandbox-ist-"+newMark()),
	}
}

func (r request) message() (proto.Message, proto.Message) {
	optional := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	switch r.method {
	case "Get":
		return &recoverycodesv1.GetRequest{OrganizationId: r.organization, MemberId: r.member}, &recoverycodesv1.GetResponse{}
	case "Rotate":
		return &recoverycodesv1.RotateRequest{OrganizationId: r.organization, MemberId: r.member}, &recoverycodesv1.RotateResponse{}
	default:
		return &recoverycodesv1.RecoverRequest{
			OrganizationId: r.organization, MemberId: r.member, RecoveryCode: r.code, SessionToken: optional(r.session),
			SessionJwt: optional(r.jwt), IntermediateSessionToken: optional(r.intermediate), TelemetryId: optional(r.telemetry),
		}, &recoverycodesv1.RecoverResponse{}
	}
}

// credentials is the metadata of a request, with web's secret unless it has one of its own.
func (c *cage) credentials(r request) []string {
	if r.anonymous {
		return r.md
	}
	return append([]string{"authorization", "Bearer " + c.target.secret}, r.md...)
}

// grpc makes a call and keeps what came back, but for the answer of one that was made: its secrets must not be elsewhere.
func (c *cage) grpc(ctx context.Context, r request) (answer, error) {
	message, result := r.message()
	var header, trailer metadata.MD
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(ctx, c.credentials(r)...), 20*time.Second)
	defer cancel()
	err := c.conn.Invoke(ctx, "/"+service+"/"+r.method, message, result, grpc.Header(&header), grpc.Trailer(&trailer))
	c.heard(err, header, trailer)
	if err == nil {
		text, _ := protojson.Marshal(result) // what cannot be written has no secret that can be looked for
		c.answered("gRPC "+r.method, text)
	}
	return answer{ok: err == nil, status: status.Code(err).String(), reason: reasonOf(err)}, err
}

func (c *cage) heard(err error, header, trailer metadata.MD) {
	if err != nil {
		c.corpus.add("gRPC error", fmt.Sprint(err, status.Convert(err).Proto()))
		for _, detail := range status.Convert(err).Details() {
			c.corpus.add("gRPC error", fmt.Sprint(detail))
		}
	}
	for way, md := range map[string]metadata.MD{"gRPC header": header, "gRPC trailer": trailer} {
		for name, values := range md {
			c.corpus.add(way, name+": "+strings.Join(values, "\n"))
		}
	}
}

func (c *cage) restCall(ctx context.Context, r request) (answer, error) { return c.rest(ctx, r), nil }

func (c *cage) rest(ctx context.Context, r request) answer {
	verb, path, body := http.MethodPost, "/v1/b2b/recovery_codes/"+strings.ToLower(r.method), []byte(nil)
	message, _ := r.message()
	if r.method == "Get" {
		verb, path = http.MethodGet, "/v1/b2b/recovery_codes/"+url.PathEscape(r.organization)+"/"+url.PathEscape(r.member)
	} else {
		body, _ = protojson.MarshalOptions{UseProtoNames: true}.Marshal(message) // it is made of texts
	}
	return c.send(ctx, verb, path, string(body), append(c.credentials(r), "Content-Type", "application/json")...)
}

// send sends any request to the REST door and keeps what came back, as grpc does.
func (c *cage) send(ctx context.Context, verb, path, body string, headers ...string) answer {
	req, err := http.NewRequestWithContext(ctx, verb, c.url(path), strings.NewReader(body))
	if err != nil {
		return answer{status: err.Error()}
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return answer{status: err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body) // as far as it came
	for name, values := range resp.Header {
		c.corpus.add("REST header", name+": "+strings.Join(values, "\n"))
	}
	for name, values := range resp.Trailer {
		c.corpus.add("REST trailer", name+": "+strings.Join(values, "\n"))
	}
	if resp.StatusCode == http.StatusOK {
		c.answered("REST "+req.URL.Path, text)
		return answer{ok: true, status: "200"}
	}
	c.corpus.add("REST error", string(text))
	return answer{status: strconv.Itoa(resp.StatusCode)}
}

// answered remembers the secrets of an answer. Each kind of call gives some; more of the same would teach nothing.
func (c *cage) answered(who string, text []byte) {
	var found struct {
		Codes   []string `json:"recovery_codes"`
		Codes2  []string `json:"recoveryCodes"`
		Session string   `json:"session_token"`
		JWT     string   `json:"session_jwt"`
		S2      string   `json:"sessionToken"`
		J2      string   `json:"sessionJwt"`
	}
	if json.Unmarshal(bytes.ToValidUTF8(text, nil), &found) != nil {
		return
	}
	for _, code := range append(found.Codes, found.Codes2...) {
		c.secret("a code in an answer of "+who, code)
	}
	for _, token := range []string{found.Session, found.JWT, found.S2, found.J2} {
		if token != "" {
			c.secret("a token in an answer of "+who, token)
		}
	}
}

// kinds are the faults of the sandbox, as its page lists them.
var kinds = []string{
	"reset-before-effect", "reset-after-effect", "refused-stream-after-effect", "goaway-after-effect", "slow-1", "slow-5000",
	"status-400", "status-401", "status-403", "status-404", "status-405", "status-408", "status-408-after-effect", "status-418", "status-429",
	"status-499", "status-500", "status-500-after-effect", "status-503", "html-502", "html-502-after-effect", "truncated", "not-json", "huge",
	"redirect", "redirect-301", "redirect-308", "unknown-fields", "wrong-types", "bad-utf8", "deep", "rate-limited", "bad-credentials",
	"idle-blackhole", "no-such-kind",
}

// everyFault makes each call through each door at each fault, with a right code, and with and without an idempotency key.
func (c *cage) everyFault(t *testing.T) {
	t.Helper()
	work := make(chan func())
	var workers sync.WaitGroup
	for range 16 { // some of the faults take their time, and none much else
		workers.Go(func() {
			for call := range work {
				call()
			}
		})
	}
	for _, kind := range kinds {
		for _, method := range []string{"Get", "Recover", "Rotate"} {
			for door, call := range map[string]func(context.Context, request) (answer, error){"grpc": c.grpc, "rest": c.restCall} {
				for _, keyed := range []bool{false, true} {
					if keyed && method == "Get" {
						continue
					}
					r := c.recoverOf(fmt.Sprintf("member-test-fault-%s~%s-%s-%v", kind, method, door, keyed))
					r.method = method
					if keyed {
						r.md = []string{"idempotency-key", c.secret("an idempotency key", newKeyText())}
					}
					work <- func() {
						_, _ = call(t.Context(), r)
						if keyed {
							_, _ = call(t.Context(), r) // a replay
						}
					}
				}
			}
		}
	}
	close(work)
	workers.Wait()
}

func newKeyText() string { return strings.ReplaceAll(newMark(), " ", "") }
