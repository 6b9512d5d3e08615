package clienttest

import (
	"io"

	"recoverycodes.internal/client"
)

// WithSettings gives the service settings as flags of `recoverycodesd serve`, such as "--upstream-timeout=1s". The README
// lists them.
func WithSettings(flags ...string) Option {
	return func(s *settings) { s.server.Settings = append(s.server.Settings, flags...) }
}

// WithSeed has the emulated Stytch start from other organizations and members: the JSON of a seed file, which
// docs/sandbox.md describes. Members of faults are then in its first organization.
func WithSeed(text string) Option {
	return func(s *settings) { s.server.Seed = text }
}

// WithPolicy has the service ask who calls: the YAML of a policy, which docs/access.md describes. The Service's own client is
// a caller like others, and needs WithClientOptions(client.WithToken(…)) to be known.
func WithPolicy(text string) Option {
	return func(s *settings) { s.server.Policy = text }
}

// WithClientOptions are options of the Service's own client. Unless settings give the service a certificate, it has
// client.WithInsecure already.
func WithClientOptions(opts ...client.Option) Option {
	return func(s *settings) { s.client = append(s.client, opts...) }
}

// WithLog has the service write its log to w, line by line until it is closed; in a test, t.Output() is one. New then
// does not show it when the test fails.
func WithLog(w io.Writer) Option {
	return func(s *settings) { s.server.Log = w }
}

// WithAudit has the service write its audit log to w, one line of JSON for each call. Without it there is none.
func WithAudit(w io.Writer) Option {
	return func(s *settings) { s.server.Audit = w }
}

// tail keeps the end of what is written to it: a benchmark can write a lot.
type tail struct{ text []byte }

const tailSize = 64 << 10

// Write implements io.Writer.
func (t *tail) Write(line []byte) (int, error) {
	t.text = append(t.text, line...)
	if len(t.text) > 2*tailSize {
		t.text = append([]byte("…"), t.text[len(t.text)-tailSize:]...)
	}
	return len(line), nil
}
