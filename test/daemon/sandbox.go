package daemon

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Sandbox is an emulated Stytch in a process of its own.
type Sandbox struct {
	// URL is its address, and Env what a server behind which it stands has to be told.
	URL string
	Env []string

	client *http.Client
}

// State is what the sandbox tells of one member.
type State struct {
	Calls    Counts `json:"calls"`
	Effects  Counts `json:"effects"`
	IsLocked bool   `json:"is_locked"`
}

// Counts are numbers by operation.
type Counts struct {
	Get     int `json:"get"`
	Recover int `json:"recover"`
	Rotate  int `json:"rotate"`
}

// StartSandbox runs `recoverycodesd sandbox` on a free port of loopback until the test ends, with HTTP/1.1 in plain text or,
// with secure, HTTP/2 over TLS. More arguments may follow.
func StartSandbox(t testing.TB, secure bool, args ...string) *Sandbox {
	t.Helper()
	s := &Sandbox{client: &http.Client{Transport: &http.Transport{}}}
	args = append([]string{"sandbox", "--listen=127.0.0.1:0"}, args...)
	certificate := filepath.Join(t.TempDir(), "certificate.pem")
	if secure {
		args = append(args, "--tls", "--certificate-file="+certificate)
	}
	command := exec.Command(Binary(t), args...)
	command.Env = []string{}
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for s.URL == "" {
		if !lines.Scan() {
			t.Fatal("the sandbox does not say where it is")
		}
		_, s.URL, _ = strings.Cut(lines.Text(), "answers at ")
	}
	s.Env = []string{
		"STYTCH_PROJECT_ID=project-test-00000000-0000-4000-8000-000000000000", "STYTCH_SECRET=secret-test-sandbox",
		"STYTCH_BASE_URL=" + s.URL,
	}
	if secure {
		s.Env = append(s.Env, "STYTCH_CA_FILE="+certificate)
		pem, err := os.ReadFile(certificate)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		s.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	}
	return s
}

// Member returns what the sandbox has seen and done about a member.
func (s *Sandbox) Member(t testing.TB, id string) State {
	t.Helper()
	return s.Members(t)[id]
}

// Members returns what the sandbox has seen and done about all members that it knows. A fault member that no call has
// named is none of them.
func (s *Sandbox) Members(t testing.TB) map[string]State {
	t.Helper()
	var all struct {
		Members map[string]State `json:"members"`
	}
	s.read(t, &all)
	return all.Members
}

// Redirected returns how many bytes and connections arrived where the sandbox's redirects point.
func (s *Sandbox) Redirected(t testing.TB) (connections int, bytes int64) {
	t.Helper()
	var all struct {
		Target struct {
			Connections int   `json:"connections"`
			Bytes       int64 `json:"bytes"`
		} `json:"redirect_target"`
	}
	s.read(t, &all)
	return all.Target.Connections, all.Target.Bytes
}

func (s *Sandbox) read(t testing.TB, into any) {
	t.Helper()
	resp, err := s.client.Get(s.URL + "/_sandbox/state")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the sandbox's state: %s, %v", resp.Status, err)
	}
}
