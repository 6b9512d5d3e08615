package pages

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// maxTry bounds what the reference sends: a REST body at its limit, as a JSON text.
const maxTry = 5 << 20

// attempt is a call of the REST door as the reference asks for it. What the browser sends along is not a part of it: the
// admin door's credential must not become a caller's.
type attempt struct {
	Method         string `json:"method"`
	Path           string `json:"path"`
	Body           string `json:"body"`
	Authorization  string `json:"authorization"`
	IdempotencyKey string `json:"idempotency_key"`
}

// outcome is the REST door's answer, whole and as text. It is told with a status of its own, so that a browser neither
// asks for credentials nor takes a refusal for a defect of the page.
type outcome struct {
	Status       int               `json:"status"`
	Header       map[string]string `json:"header"`
	Body         string            `json:"body"`
	Milliseconds float64           `json:"milliseconds"`
}

// try makes one call of the REST door.
func (p *Pages) try(w http.ResponseWriter, r *http.Request) {
	// A page of another site can send a form, but not JSON without being asked first.
	if r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "want application/json", http.StatusUnsupportedMediaType)
		return
	}
	var a attempt
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTry))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a); err != nil || !strings.HasPrefix(a.Path, "/v1/") {
		http.Error(w, "not a call of the REST door", http.StatusBadRequest)
		return
	}
	call, err := http.NewRequestWithContext(r.Context(), a.Method, a.Path, strings.NewReader(a.Body))
	if err != nil {
		http.Error(w, "not a call of the REST door", http.StatusBadRequest)
		return
	}
	call.RemoteAddr = r.RemoteAddr
	if a.Body != "" {
		call.Header.Set("Content-Type", "application/json")
	}
	if a.Authorization != "" {
		call.Header.Set("Authorization", a.Authorization)
	}
	if a.IdempotencyKey != "" {
		call.Header.Set("Idempotency-Key", a.IdempotencyKey)
	}
	kept, start := &keeper{header: make(http.Header)}, time.Now()
	p.options.Try.ServeHTTP(kept, call)
	out := outcome{
		Status: kept.status, Header: make(map[string]string), Body: kept.body.String(),
		Milliseconds: float64(time.Since(start).Microseconds()) / 1000,
	}
	for name, values := range kept.header {
		out.Header[name] = strings.Join(values, ", ")
	}
	answer, err := json.Marshal(out)
	if err != nil {
		http.Error(w, "the answer cannot be shown", http.StatusInternalServerError)
		return
	}
	send(w, "application/json", answer)
}

// keeper is a response that is kept instead of sent.
type keeper struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (k *keeper) Header() http.Header { return k.header }

// WriteHeader implements http.ResponseWriter.
func (k *keeper) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

// Write implements http.ResponseWriter.
func (k *keeper) Write(content []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(content)
}
