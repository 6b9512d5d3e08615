package model

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// The sandbox's seed: where fault members are, and the first of the codes that each of them has.
const (
	organization = "organization-test-07971b06-ac8b-4cdb-9c15-63b17e653931"
	code         = "sand-b0xc-ode1"
)

// atOnce is how many groups are played at once.
const atOnce = 16

// repeatEverything is the worst service config: all codes but OK, by number, and as often as gRPC allows.
const repeatEverything = `{"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.005s",
	"maxBackoff": "0.005s", "backoffMultiplier": 1, "retryableStatusCodes": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]}}]}`

// play makes the calls of the plan and returns when every caller has been told something or has gone away.
func (p plan) play(ctx context.Context, f *fleet) {
	var playing errgroup.Group
	playing.SetLimit(atOnce)
	for _, g := range p {
		playing.Go(func() error {
			g.play(ctx, f)
			return nil
		})
	}
	_ = playing.Wait() // none returns an error
}

func (g *group) play(ctx context.Context, f *fleet) {
	var (
		mu      sync.Mutex
		callers sync.WaitGroup
	)
	for _, c := range g.callers {
		callers.Go(func() {
			for _, t := range c.tries {
				time.Sleep(t.pause)
				told := f.try(ctx, g, &c, &t)
				mu.Lock()
				g.history = append(g.history, told)
				mu.Unlock()
				if told.verdict == done || told.verdict == refused || g.key == "" && c.op != get && told.verdict != notSent {
					return
				}
			}
		})
	}
	callers.Wait()
}

// try makes one call.
func (f *fleet) try(ctx context.Context, g *group, c *caller, t *try) told {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if t.patience > 0 && t.deadline {
		ctx, cancel = context.WithTimeout(ctx, t.patience)
		defer cancel()
	} else if t.patience > 0 {
		defer time.AfterFunc(t.patience, cancel).Stop()
	}
	s, deaths, begun := f.at(t.server), f.deaths.Load(), time.Now()
	var told told
	switch c.door {
	case rest:
		told = s.askREST(ctx, f.rest, c.op, g.member, g.key)
	case repeating:
		var seen attempts
		told = askGRPC(context.WithValue(ctx, attemptsKey{}, &seen), f.repeating, c.op, g.member, g.key)
		told.attempts, told.begunAgain = seen.n, seen.begunAgain
	default:
		told = askGRPC(ctx, s.plain, c.op, g.member, g.key)
	}
	told.op, told.hurried, told.begun, told.ended = c.op, t.patience > 0, begun, time.Now()
	told.rest = c.door == rest
	// Each death counts twice, when it begins and when it is over. Who is on the way to a dead server has one, too.
	told.deaths = int((f.deaths.Load()+1)/2 - deaths/2)
	if s.dead.Load() {
		told.deaths = max(told.deaths, 1)
	}
	return told
}

// answer is what the answers of the three operations have of interest here.
type answer struct {
	SessionToken  string   `json:"session_token"`
	RecoveryCodes []string `json:"recovery_codes"`
}

func askGRPC(ctx context.Context, client recoverycodesv1.RecoveryCodesServiceClient, op operation, member, key string) told {
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", key)
	}
	var (
		header, trailer metadata.MD
		a               answer
		err             error
	)
	options := []grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer)}
	switch op {
	case get:
		var resp *recoverycodesv1.GetResponse
		resp, err = client.Get(ctx, &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member}, options...)
		a.RecoveryCodes = resp.GetRecoveryCodes()
	case recovery:
		var resp *recoverycodesv1.RecoverResponse
		resp, err = client.Recover(ctx, &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: member, RecoveryCode: code}, options...)
		a.SessionToken = resp.GetSessionToken()
	case rotate:
		var resp *recoverycodesv1.RotateResponse
		resp, err = client.Rotate(ctx, &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: member}, options...)
		a.RecoveryCodes = resp.GetRecoveryCodes()
	}
	t := told{answer: a, replayed: len(header.Get("idempotency-replayed"))+len(trailer.Get("idempotency-replayed")) > 0}
	if err == nil {
		t.verdict = done
		return t
	}
	t.text, t.header = err.Error(), header.Len() > 0
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			t.reason = info.GetReason()
		}
	}
	t.verdict = verdictOf(t.reason)
	return t
}

func (s *server) askREST(ctx context.Context, client *http.Client, op operation, member, key string) told {
	verb, path := http.MethodPost, strings.ToLower(string(op))
	body := map[string]string{"organization_id": organization, "member_id": member}
	switch op {
	case get:
		verb, path = http.MethodGet, organization+"/"+member
	case recovery:
		body["recovery_code"] = code
	case rotate: // takes no more than the ids
	}
	text, err := json.Marshal(body)
	if err != nil {
		return told{verdict: unexpected, text: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, verb, "http://"+s.daemon.HTTP+"/v1/b2b/recovery_codes/"+path, bytes.NewReader(text))
	if err != nil {
		return told{verdict: unexpected, text: err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := client.Do(req)
	if err != nil {
		return told{verdict: gone, text: err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	var told struct {
		answer
		ErrorType string `json:"error_type"`
	}
	err = json.NewDecoder(resp.Body).Decode(&told)
	return restTold(resp, told.answer, told.ErrorType, err)
}

func restTold(resp *http.Response, a answer, errorType string, err error) told {
	t := told{answer: a, replayed: resp.Header.Get("Idempotency-Replayed") == "true", reason: strings.ToUpper(errorType)}
	switch {
	case err != nil: // the caller went away while the answer came, or it is no JSON
		t.verdict, t.text = gone, fmt.Sprint(resp.Status, err)
	case resp.StatusCode == http.StatusOK:
		t.verdict = done
	default:
		t.verdict, t.text = verdictOf(t.reason), resp.Status
	}
	return t
}

// record is what the sandbox has done about a member.
type record struct {
	Effects daemon.Counts `json:"effects"`
	Codes   []string      `json:"recovery_codes"`
}

// settled reads the records when nothing is on its way to the sandbox any more: a server that was killed may have left
// requests behind.
func settled(ctx context.Context, sandbox *daemon.Sandbox) (map[string]record, error) {
	before, err := records(ctx, sandbox)
	for err == nil {
		time.Sleep(200 * time.Millisecond)
		var after map[string]record
		if after, err = records(ctx, sandbox); err == nil && cmp.Equal(before, after) {
			return after, nil
		}
		before = after
	}
	return nil, err
}

// records reads what the sandbox has done about every member.
func records(ctx context.Context, sandbox *daemon.Sandbox) (map[string]record, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, sandbox.URL+"/_sandbox/state", nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var all struct {
		Members map[string]record `json:"members"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return nil, err
	}
	if len(all.Members) == 0 {
		return nil, errors.New("the sandbox tells of no members")
	}
	return all.Members, nil
}
