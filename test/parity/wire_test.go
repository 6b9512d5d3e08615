package parity

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, _ := v.([]byte)
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}
func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

var _ encoding.CodecV2 = rawCodec{}

// TestRequestsThatDoNotDecode sends what no protobuf library would: gRPC would answer these by itself, in the words of
// its library and without a line in the log.
func TestRequestsThatDoNotDecode(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	field := func(number protowire.Number, value string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), value)
	}
	claimName := field(8, string(field(1, string(append(field(1, "a\xff"), field(2, "")...)))))
	for name, test := range map[string]struct {
		method string
		wire   []byte
		want   verdict
	}{
		"no protobuf":         {"Get", []byte{0xff, 0xff, 0xff}, verdict{code: codes.InvalidArgument, domain: ours, reason: "MALFORMED_BODY"}},
		"organization_id":     {"Rotate", field(1, "a\xff"), invalid("organization_id")},
		"member_id":           {"Get", append(field(1, "fine"), field(2, "\xed\xa0\x80")...), invalid("member_id")},
		"recovery_code":       {"Recover", field(3, "\xc3("), invalid("recovery_code")},
		"the name of a claim": {"Recover", claimName, invalid("session_custom_claims.fields.key")},
		"ends in the middle":  {"Recover", field(3, "code")[:3], verdict{code: codes.InvalidArgument, domain: ours, reason: "MALFORMED_BODY"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := d.Dial(t).Invoke(t.Context(), "/"+service+"/"+test.method, test.wire, nil, grpc.ForceCodecV2(rawCodec{}))
			got := verdictOf(t, err)
			(&step{want: test.want}).compare(t, got, false)
			for _, word := range []string{"proto:", "unmarshal", "grpc:"} {
				if strings.Contains(got.raw, word) {
					t.Errorf("the text is a library's: %s", got.raw)
				}
			}
		})
	}
	if !d.AwaitLog(`"outcome":"refused"`, 6) {
		t.Errorf("not one line for each of 6 calls:\n%s", d.Log())
	}
	t.Run("a mark that is forged", func(t *testing.T) {
		err := d.Dial(t).Invoke(t.Context(), "/"+service+"/Get", field(19999, "FORGED"), nil, grpc.ForceCodecV2(rawCodec{}))
		if got := verdictOf(t, err); strings.Contains(got.raw, "FORGED") || len(got.fields) != 2 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a stream", func(t *testing.T) {
		stream, err := d.Dial(t).NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/grpc.health.v1.Health/Watch", grpc.ForceCodecV2(rawCodec{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg([]byte{0xff}); err != nil {
			t.Fatal(err)
		}
		_ = stream.CloseSend()
		if got := verdictOf(t, stream.RecvMsg(nil)); got.code != codes.InvalidArgument {
			t.Errorf("%+v", got)
		}
	})
}

// TestLimitsOfTheGRPCDoor goes beyond each limit that can be reached in a moment.
func TestLimitsOfTheGRPCDoor(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox", "--upstream-timeout=1s", "--upstream-header-timeout=1s")
	get := &recoverycodesv1.GetRequest{OrganizationId: organization, MemberId: member}
	t.Run("a message of 3 MB", func(t *testing.T) {
		err := d.Dial(t).Invoke(t.Context(), "/"+service+"/Recover", &recoverycodesv1.RecoverRequest{RecoveryCode: strings.Repeat("x", 3<<20)}, &recoverycodesv1.RecoverResponse{})
		if status.Code(err) != codes.ResourceExhausted {
			t.Error(err)
		}
	})
	t.Run("metadata of 20 KB", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("x", 20<<10))
		if err := d.Dial(t).Invoke(ctx, "/"+service+"/Get", get, &recoverycodesv1.GetResponse{}); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("a request that never arrives", func(t *testing.T) {
		stream, err := d.Dial(t).NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, "/"+service+"/Get")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err == nil {
			err = stream.RecvMsg(&recoverycodesv1.GetResponse{})
			if err == nil {
				t.Error("answered")
			}
		}
	})
}

// TestRawHTTP sends what no HTTP library would.
func TestRawHTTP(t *testing.T) {
	d := daemon.Start(t, nil, "--sandbox")
	const post = "POST /v1/b2b/recovery_codes/rotate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	body := fmt.Sprintf(`{"organization_id":%q,"member_id":%q}`, organization, member)
	for name, test := range map[string]struct {
		request   string
		half      bool // the client says that it has no more to send
		status    int
		errorType string // empty: Go's HTTP server answers by itself, since it cannot read the request
	}{
		"a body that is longer than said":  {post + "Content-Length: 10\r\n\r\n" + body, false, 400, "malformed_body"},
		"a body that is shorter than said": {post + "Content-Length: 4000\r\n\r\n" + body, true, 400, "malformed_body"},
		"chunked":                          {post + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body), false, 200, ""},
		"a chunk that is none":             {post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", false, 400, "malformed_body"},
		"length and chunks":                {post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, 400, ""},
		"no body":                          {post + "\r\n", false, 400, "invalid_request"},
		"gzip":                             {post + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", false, 415, "unsupported_type"},
		"NUL in the path":                  {"GET /v1/b2b/recovery_codes/a%00b/m HTTP/1.1\r\nHost: x\r\n\r\n", false, 400, "invalid_request"},
		"CR and LF in the path":            {"GET /v1/b2b/recovery_codes/a%0d%0ab/m HTTP/1.1\r\nHost: x\r\n\r\n", false, 400, "invalid_request"},
		"dots in the path":                 {"GET /v1/b2b/recovery_codes/../m HTTP/1.1\r\nHost: x\r\n\r\n", false, 400, "invalid_request"},
		"escaped dots in the path":         {"GET /v1/b2b/recovery_codes/%2e%2e/m HTTP/1.1\r\nHost: x\r\n\r\n", false, 400, "invalid_request"},
		"an escaped slash in the path":     {"GET /v1/b2b/recovery_codes/a%2Fb/m HTTP/1.1\r\nHost: x\r\n\r\n", false, 400, "invalid_request"},
		"10 kB in the path":                {"GET /v1/b2b/recovery_codes/" + strings.Repeat("a", 10<<10) + "/m HTTP/1.1\r\nHost: x\r\n\r\n", false, 400, "invalid_request"},
		"an empty segment":                 {"GET /v1/b2b/recovery_codes//m HTTP/1.1\r\nHost: x\r\n\r\n", false, 400, "invalid_request"},
		"invalid UTF-8 in the path":        {"GET /v1/b2b/recovery_codes/a%ff/m HTTP/1.1\r\nHost: x\r\n\r\n", false, 400, "invalid_request"},
		"headers beyond the limit":         {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", false, 431, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, text := exchange(t, d.HTTP, test.request, test.half)
			if status != test.status {
				t.Errorf("status %d: %s", status, text)
			}
			if test.errorType == "" {
				return
			}
			var got struct {
				ErrorType    string `json:"error_type"`
				ErrorMessage string `json:"error_message"`
			}
			if err := json.Unmarshal([]byte(text), &got); err != nil || got.ErrorType != test.errorType {
				t.Errorf("%v: %s", err, text)
			}
			if strings.Contains(name, "path") && !strings.Contains(got.ErrorMessage, "organization_id: ") {
				t.Errorf("does not name the field: %s", got.ErrorMessage)
			}
		})
	}
}

// TestADrippingBodyIsCutOff sends a body that never ends: the door answers within its own limit.
func TestADrippingBodyIsCutOff(t *testing.T) {
	t.Parallel()
	d := daemon.Start(t, nil, "--sandbox")
	start := time.Now()
	status, text := exchange(t, d.HTTP, "POST /v1/b2b/recovery_codes/rotate HTTP/1.1\r\nHost: x\r\n"+
		"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", false)
	if took := time.Since(start); status != 400 || !strings.Contains(text, "malformed_body") || took > 25*time.Second {
		t.Errorf("after %v: status %d, %s", took, status, text)
	}
}

// exchange writes a request as it stands and reads the answer.
func exchange(t *testing.T, address, request string, half bool) (int, string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(conn, request)
		if tcp, ok := conn.(*net.TCPConn); ok && half {
			_ = tcp.CloseWrite()
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
