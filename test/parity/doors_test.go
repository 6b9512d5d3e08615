package parity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// rpc is the name of the RPC that takes a request, and an empty answer of it.
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

func throughGRPC(t *testing.T, d *daemon.Daemon, request proto.Message) (proto.Message, verdict) {
	t.Helper()
	method, answer := rpc(request)
	var header, trailer metadata.MD
	err := d.Dial(t).Invoke(t.Context(), "/stytch.b2b.recoverycodes.v1.RecoveryCodesService/"+method, request, answer,
		grpc.Header(&header), grpc.Trailer(&trailer))
	v := verdictOf(t, err)
	v.raw += fmt.Sprint(map[string][]string(header), map[string][]string(trailer))
	v.details.never = slices.Equal(trailer.Get("grpc-retry-pushback-ms"), []string{"-1"})
	v.details.header = err != nil && header.Len() > 0
	return answer, v
}

func verdictOf(t *testing.T, err error) verdict {
	t.Helper()
	if err == nil {
		return verdict{}
	}
	st := status.Convert(err)
	v := verdict{code: st.Code(), message: st.Message(), raw: st.Message()}
	var requestID string
	for _, detail := range st.Details() {
		v.raw += fmt.Sprint(detail)
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			v.domain, v.reason = detail.GetDomain(), detail.GetReason()
			v.details.status = detail.GetMetadata()["http_status"]
			for _, key := range []string{"request_id", "error_type", "error_url"} {
				if detail.GetMetadata()[key] == "" {
					t.Errorf("no %s in ErrorInfo", key)
				}
			}
		case *errdetails.RequestInfo:
			requestID = detail.GetRequestId()
		case *errdetails.RetryInfo:
			v.details.retry = detail.GetRetryDelay().AsDuration() > 0
		case *errdetails.Help:
			v.details.help = len(detail.GetLinks()) == 1 && detail.GetLinks()[0].GetDescription() != ""
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				v.fields = append(v.fields, violation.GetField())
			}
		}
	}
	if requestID == "" {
		t.Error("no RequestInfo")
	}
	page.holds(t, v)
	return v
}

func throughREST(t *testing.T, d *daemon.Daemon, request proto.Message) (proto.Message, verdict) {
	t.Helper()
	method, answer := rpc(request)
	resp, text := send(t, d, method, request)
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	if resp.Header.Get("X-Request-Id") == "" || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", resp.Header)
	}
	raw := fmt.Sprint(resp.Header) + string(text)
	if resp.StatusCode == http.StatusOK {
		// What is spoilt on purpose does not read as the message; such tests look at the bytes.
		_ = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, answer)
		return answer, verdict{raw: raw}
	}
	v := verdictOfREST(t, resp, text)
	v.raw = raw
	return nil, v
}

func verdictOfREST(t *testing.T, resp *http.Response, text []byte) verdict {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, field := range []string{"request_id", "error_type", "error_message", "error_url"} {
		if s, _ := body[field].(string); s == "" {
			t.Errorf("no %s in %s", field, text)
		}
	}
	if len(body) != 5 || body["status_code"] != float64(resp.StatusCode) {
		t.Errorf("status %d, body %s", resp.StatusCode, text)
	}
	errorType, _ := body["error_type"].(string)
	message, _ := body["error_message"].(string)
	v := verdict{
		http: resp.StatusCode, reason: strings.ToUpper(errorType), message: message,
		details: details{retry: resp.Header.Get("Retry-After") != ""},
	}
	page.holds(t, v)
	return v
}

func send(t *testing.T, d *daemon.Daemon, method string, request proto.Message) (*http.Response, []byte) {
	t.Helper()
	return sendWith(t, d, method, request, nil)
}

// sendWith is send with more headers.
func sendWith(t *testing.T, d *daemon.Daemon, method string, request proto.Message, headers map[string]string) (*http.Response, []byte) {
	t.Helper()
	address := "http://" + d.HTTP + "/v1/b2b/recovery_codes/"
	verb, body := http.MethodPost, []byte(nil)
	if get, ok := request.(*recoverycodesv1.GetRequest); ok {
		verb = http.MethodGet
		address += url.PathEscape(get.GetOrganizationId()) + "/" + url.PathEscape(get.GetMemberId())
	} else {
		address += strings.ToLower(method)
		var err error
		if body, err = (protojson.MarshalOptions{UseProtoNames: true}).Marshal(request); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), verb, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, text
}
