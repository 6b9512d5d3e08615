package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"

	"recoverycodes.internal/server/internal/apierror"
	"recoverycodes.internal/server/internal/call"
)

// raw is an answer that is written as it is.
type raw []byte

// body is a request body that can say to which visit it belongs, because a decoder is handed nothing else.
type body struct {
	io.ReadCloser
	visit *visit
}

// writer remembers whether a write has failed. What an HTTP/2 connection was to write on a stream that has ended meanwhile
// it may still be reading, so that memory is not to be used again.
type writer struct {
	http.ResponseWriter

	failed bool
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.failed = w.failed || err != nil
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// codec is the gateway library's marshaler: requests through the strict decoder, answers as raw bytes. It never turns
// a message into JSON, since no message of ours holds an answer that could be read.
type codec struct{}

var errCodec = errors.New("gateway: not a value of the REST door")

func (codec) ContentType(any) string { return "application/json" }

func (codec) Marshal(v any) ([]byte, error) {
	answer, ok := v.(raw)
	if !ok {
		return nil, errCodec
	}
	return answer, nil
}

func (codec) Unmarshal([]byte, any) error { return errCodec }

func (codec) NewEncoder(io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(any) error { return errCodec })
}

// NewDecoder leaves the reason of a refusal with the visit: the generated code keeps only a text of the error.
func (codec) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		b, ok := r.(*body)
		msg, isMessage := v.(proto.Message)
		if !ok || !isMessage {
			return errCodec
		}
		if b.visit.refusal = decode(b, msg); b.visit.refusal != nil {
			return b.visit.refusal
		}
		return nil
	})
}

// fail answers with Stytch's five fields and remembers what was answered.
func (v *visit) fail(w http.ResponseWriter, e *apierror.Error) {
	if e.RequestID == "" {
		e.RequestID = v.record.RequestID
	}
	v.failure = e
	status := e.HTTP
	if status == 0 {
		status = runtime.HTTPStatusFromCode(e.Code)
	}
	v.status = status
	message := e.Message
	if e.Help != "" {
		message += ". " + e.Help // gRPC carries it as a detail; the five fields have no other place for it
	}
	text, err := json.Marshal(struct {
		StatusCode   int    `json:"status_code"`
		RequestID    string `json:"request_id"`
		ErrorType    string `json:"error_type"`
		ErrorMessage string `json:"error_message"`
		ErrorURL     string `json:"error_url"`
	}{status, e.RequestID, e.PublicType(), message, e.PublicURL()})
	if err != nil { // strings and an int always marshal
		text = nil
	}
	h := w.Header()
	if v.record.Replayed {
		h.Set(call.ReplayedKey, "true")
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	if status == http.StatusUnauthorized && e.Domain == "" { // this server's own refusal; Stytch's is about a person
		h["Www-Authenticate"] = []string{`Bearer realm="recoverycodes"`, `Basic realm="recoverycodes"`}
	}
	w.WriteHeader(status)
	_, _ = w.Write(text) // a caller that went away is told nothing
}
