package sandbox

import (
	"net/http"
	"strconv"
)

// reply is an HTTP answer that has been decided on and not yet sent. Faults
// change it or deliver it otherwise.
type reply struct {
	status      int
	contentType string
	body        []byte
}

// answerReply makes the reply for an answer of the API. Answers consist of
// values that JSON has; one that does not is a mistake in this package.
func answerReply(answer any) reply {
	body, err := encode(answer)
	if err != nil {
		panic(err)
	}
	return reply{http.StatusOK, "application/json", body}
}

// outcome makes the reply for what a call came to.
func outcome(answer document, fail *failure) reply {
	if fail != nil {
		return fail.reply()
	}
	return answerReply(answer)
}

func (r reply) header() http.Header {
	return http.Header{
		"Content-Type":   {r.contentType},
		"Content-Length": {strconv.Itoa(len(r.body))},
	}
}

func (r reply) write(w http.ResponseWriter) { r.writeFirst(w, len(r.body)) }

// writeFirst announces the whole body and writes only the first n bytes of it.
func (r reply) writeFirst(w http.ResponseWriter, n int) {
	for name, values := range r.header() {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body[:n]) // the client may be gone; that changes nothing here
}
