package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

const (
	service  = "/stytch.b2b.recoverycodes.v1.RecoveryCodesService/"
	restPath = "/v1/b2b/recovery_codes/"
)

// peer has a connection to each door of a server, and shows its certificate there if it has one.
type peer struct {
	grpc *grpc.ClientConn
	http *http.Client
	base string // of REST URLs
}

// connect returns a peer of a server that serves plaintext.
func connect(t *testing.T, d *daemon.Daemon) *peer { return connectWith(t, d, nil) }

// connectWith returns a peer of a server that serves TLS, with what the peer shows and trusts. Nil is plaintext.
func connectWith(t *testing.T, d *daemon.Daemon, secure *tls.Config) *peer {
	t.Helper()
	p := &peer{base: "http://" + d.HTTP}
	transport := &http.Transport{}
	peerOf := insecure.NewCredentials()
	if secure != nil {
		p.base = "https://" + d.HTTP
		transport.TLSClientConfig, transport.ForceAttemptHTTP2 = secure.Clone(), true
		peerOf = credentials.NewTLS(secure.Clone())
	}
	if strings.HasPrefix(d.HTTP, "/") {
		p.base = "http://unix"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", d.HTTP)
		}
	}
	p.grpc, p.http = d.DialWith(t, peerOf), &http.Client{Transport: transport}
	t.Cleanup(p.http.CloseIdleConnections)
	return p
}

// headers are what a call shows beside its connection, name by name and in pairs.
type headers []string

func authorization(value string) headers { return headers{"authorization", value} }

func (h headers) and(more ...string) headers { return slices.Concat(h, more) }

// answer is what came back by one door.
type answer struct {
	code     codes.Code // by gRPC
	http     int        // by REST
	reason   string     // empty for a success; by REST the error type in upper case
	message  string
	domain   string        // by gRPC
	retry    time.Duration // RetryInfo or Retry-After
	replayed bool
	header   http.Header // by REST
	raw      string      // everything that came back
}

// is compares the answer with what the page of errors says of a reason.
func (a answer) is(t *testing.T, reason string) {
	t.Helper()
	want, ok := told[reason]
	if !ok {
		t.Fatalf("no reason of the table: %s", reason)
	}
	a.as(t, reason, want.code, want.http)
}

// as compares the answer with a reason, and the code and status that go with it.
func (a answer) as(t *testing.T, reason string, code codes.Code, status int) {
	t.Helper()
	if a.reason != reason || a.http == 0 && a.code != code || a.http != 0 && a.http != status {
		t.Errorf("got %s, %s, %d; want %s, %s, %d", a.reason, a.code, a.http, reason, code, status)
	}
}

// doors are the two ways to make a call.
var doors = map[string]func(*peer, *testing.T, proto.Message, headers) answer{"gRPC": (*peer).byGRPC, "REST": (*peer).byREST}

func rpc(request proto.Message) (string, proto.Message) {
	switch request.(type) {
	case *recoverycodesv1.GetRequest:
		return "Get", &recoverycodesv1.GetResponse{}
	case *recoverycodesv1.RecoverRequest:
		return "Recover", &recoverycodesv1.RecoverResponse{}
	default:
		return "Rotate", &recoverycodesv1.RotateResponse{}
	}
}

// request makes a request of a method, of a Recover with the given code.
func request(method, organization, member, code string) proto.Message {
	switch method {
	case "Get":
		return &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member}
	case "Recover":
		return &recoverycodesv1.RecoverRequest{OrganizationId: organization, MemberId: member, RecoveryCode: code}
	default:
		return &recoverycodesv1.RotateRequest{OrganizationId: organization, MemberId: member}
	}
}

func (p *peer) byGRPC(t *testing.T, request proto.Message, h headers) answer {
	t.Helper()
	method, response := rpc(request)
	return p.byRPC(t, method, request, response, h)
}

// byRPC makes a gRPC call with whatever message for its request.
func (p *peer) byRPC(t *testing.T, method string, request, response proto.Message, h headers) answer {
	t.Helper()
	var header, trailer metadata.MD
	err := p.grpc.Invoke(metadata.AppendToOutgoingContext(t.Context(), h...), service+method, request, response,
		grpc.Header(&header), grpc.Trailer(&trailer))
	st := status.Convert(err)
	a := answer{
		code: st.Code(), message: st.Message(), replayed: len(header.Get("idempotency-replayed")) == 1,
		raw: fmt.Sprint(st.Proto(), header, trailer, st.Details()),
	}
	for _, detail := range st.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			a.reason, a.domain = detail.GetReason(), detail.GetDomain()
		case *errdetails.RetryInfo:
			a.retry = detail.GetRetryDelay().AsDuration()
		}
	}
	if err != nil && a.reason == "" {
		a.reason = "none: " + st.Message()
	}
	return a
}

func (p *peer) byREST(t *testing.T, request proto.Message, h headers) answer {
	t.Helper()
	method, _ := rpc(request)
	verb, path, body := http.MethodPost, restPath+strings.ToLower(method), ""
	if get, ok := request.(*recoverycodesv1.GetRequest); ok {
		verb, path = http.MethodGet, restPath+url.PathEscape(get.GetOrganizationId())+"/"+url.PathEscape(get.GetMemberId())
	} else {
		text, err := (protojson.MarshalOptions{UseProtoNames: true}).Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		body = string(text)
	}
	return p.rest(t, verb, path, body, h)
}

// rest makes a REST request as it is given.
func (p *peer) rest(t *testing.T, verb, path, body string, h headers) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), verb, p.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(h); i += 2 {
		req.Header.Add(h[i], h[i+1])
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return answer{http: -1, reason: "none: " + err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, resp, text)
}

func answerOf(t *testing.T, resp *http.Response, text []byte) answer {
	t.Helper()
	a := answer{
		http: resp.StatusCode, header: resp.Header, raw: fmt.Sprint(resp.Header) + string(text),
		replayed: resp.Header.Get("Idempotency-Replayed") == "true",
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		a.retry = time.Duration(seconds) * time.Second
	}
	if resp.StatusCode == http.StatusOK {
		return a
	}
	var body struct {
		ErrorType    string `json:"error_type"`
		ErrorMessage string `json:"error_message"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	a.reason, a.message = strings.ToUpper(body.ErrorType), body.ErrorMessage
	return a
}

// fetch returns a page of the admin door.
func fetch(t *testing.T, d *daemon.Daemon, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + d.Admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return string(text)
}

// trusting is the TLS of a peer that trusts an authority and shows a certificate, unless it has none.
func trusting(roots *x509.CertPool, showing ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: roots, Certificates: showing, MinVersion: tls.VersionTLS12}
}
