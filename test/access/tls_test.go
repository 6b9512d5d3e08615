package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/test/daemon"
)

// byCertificate is a policy of one caller, who has a certificate.
const byCertificate = "callers:\n  - name: one\n    match: { spiffe_id: spiffe://example.org/one }\n" +
	"    methods: [Get, Rotate]\n    organizations: \"*\"\n"

// serialOf returns the serial number of the certificate that a door shows to new connections.
func serialOf(t *testing.T, address string) *big.Int {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber
}

func serial(t *testing.T, i issued) *big.Int { return i.pair(t).Leaf.SerialNumber }

// TestCertificatesAreReplaced gives a server that is called without pause another certificate of another authority, and
// another authority of its clients, and halves of such pairs on the way. No call fails; connections that are open stay;
// new ones see what is new.
func TestCertificatesAreReplaced(t *testing.T) {
	before, after := newAuthority(t, "servers before"), newAuthority(t, "servers after")
	clientsBefore, clientsAfter := newAuthority(t, "clients before"), newAuthority(t, "clients after")
	first, second := before.server(t), after.server(t)
	files, args := serve(t, first, clientsBefore)
	sandbox := daemon.StartSandbox(t, false)
	d := daemon.Start(t, sandbox.Env, append(args, "--policy="+file(t, "policy.yaml", byCertificate), soon)...)
	old := clientsBefore.uri(t, spiffe("one"))
	p := connectWith(t, d, trusting(before.pool(), old))
	stop := p.callWithoutPause(t)
	shown := func(want issued) {
		t.Helper()
		for _, address := range []string{d.GRPC, d.HTTP} {
			await(t, "the other certificate", func() bool { return serialOf(t, address).Cmp(serial(t, want)) == 0 })
		}
	}

	shown(first)
	put(t, files.path("tls.crt"), second.certificate) // whose key has not come
	notReloaded(t, d, "tls", 1)
	shown(first)
	put(t, files.path("tls.key"), second.key)
	shown(second)
	put(t, files.path("ca.crt"), "GARBAGE")
	notReloaded(t, d, "tls", 2)
	put(t, files.path("ca.crt"), clientsAfter.pem)
	get := request("Get", slug, member, "")
	await(t, "the other clients' authority", func() bool {
		return connectWith(t, d, trusting(after.pool(), clientsAfter.uri(t, spiffe("one")))).byREST(t, get, nil).reason == ""
	})
	for door, call := range doors {
		call(connectWith(t, d, trusting(after.pool(), clientsAfter.uri(t, spiffe("one")))), t, get, nil).is(t, "")
		// A client that is told which authorities count keeps its certificate to itself; one that shows it all the same has
		// no connection.
		call(connectWith(t, d, trusting(after.pool(), old)), t, get, nil).is(t, "CALLER_UNKNOWN")
		insisting := trusting(after.pool())
		insisting.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &old, nil }
		if got := call(connectWith(t, d, insisting), t, get, nil); !strings.HasPrefix(got.reason, "none: ") {
			t.Errorf("%s: a certificate of the authority before: %+v", door, got)
		}
		if got := call(connectWith(t, d, trusting(before.pool(), old)), t, get, nil); !strings.HasPrefix(got.reason, "none: ") {
			t.Errorf("%s: a server's certificate that is still that of before: %+v", door, got)
		}
	}
	if calls := stop(); sandbox.Member(t, member).Calls.Get < calls {
		t.Errorf("%d calls made, %d arrived", calls, sandbox.Member(t, member).Calls.Get)
	}
	ends := strconv.FormatFloat(float64(second.pair(t).Leaf.NotAfter.Unix()), 'g', -1, 64)
	if !strings.Contains(fetch(t, d, "/metrics"), "recoverycodes_certificate_expiry_timestamp_seconds "+ends+"\n") {
		t.Error("the metric does not tell when the certificate in use ends")
	}
	if strings.Contains(d.Log(), "GARBAGE") || strings.Contains(d.Log(), "PRIVATE KEY") {
		t.Errorf("the log:\n%s", d.Log())
	}
}

// callWithoutPause makes one call after the other by each door, on the peer's connections, until stop is called, which
// returns how many there were. None may fail.
func (p *peer) callWithoutPause(t *testing.T) (stop func() int) {
	var (
		calls   atomic.Int32
		ended   = make(chan struct{})
		workers sync.WaitGroup
	)
	for door, call := range doors {
		workers.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				if got := call(p, t, request("Get", slug, member, ""), nil); got.reason != "" {
					t.Errorf("%s, call %d: %+v", door, calls.Load(), got)
					return
				}
				calls.Add(1)
			}
		})
	}
	return func() int {
		close(ended)
		workers.Wait()
		return int(calls.Load())
	}
}

// TestNoTLSNoStart: settings of TLS that are wrong end the start and are named. No door is ever plaintext instead.
func TestNoTLSNoStart(t *testing.T) {
	a := newAuthority(t, "servers")
	good, other := a.server(t), a.server(t)
	expired := a.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	for name, c := range map[string]struct {
		change func(files served)
		args   []string
		says   []string
	}{
		"no such certificate":       {func(f served) { _ = os.Remove(f.path("tls.crt")) }, nil, []string{"--tls-certificate-file", "tls.crt"}},
		"no such key":               {func(f served) { _ = os.Remove(f.path("tls.key")) }, nil, []string{"--tls-key-file", "tls.key"}},
		"the key of another":        {func(f served) { put(t, f.path("tls.key"), other.key) }, nil, []string{"--tls-key-file", "does not fit"}},
		"a certificate that is not": {func(f served) { put(t, f.path("tls.crt"), "GARBAGE") }, nil, []string{"--tls-certificate-file"}},
		"a certificate that has expired": {func(f served) {
			put(t, f.path("tls.crt"), expired.certificate)
			put(t, f.path("tls.key"), expired.key)
		}, nil, []string{"--tls-certificate-file", "expired"}},
		"a clients' authority that is none": {func(f served) { put(t, f.path("ca.crt"), good.certificate) }, nil,
			[]string{"--tls-client-ca-file", "authority"}},
		"a version that there is not": {func(served) {}, []string{"--tls-min-version=1.1"}, []string{"--tls-min-version"}},
		"a certificate without a key": {func(served) {}, []string{"--tls-key-file="}, []string{"--tls-certificate-file", "--tls-key-file"}},
		"an authority without a certificate": {func(served) {}, []string{"--tls-certificate-file=", "--tls-key-file="},
			[]string{"--tls-client-ca-file"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, args := serve(t, good, a)
			c.change(files)
			code, output := daemon.Fail(t, nil, append(append(args, "--sandbox"), c.args...)...)
			if code != 2 || strings.Contains(output, `"message":"serving"`) {
				t.Errorf("exit code %d: %s", code, output)
			}
			for _, word := range c.says {
				if !strings.Contains(output, word) {
					t.Errorf("it does not say %q: %s", word, output)
				}
			}
			if strings.Contains(output, "PRIVATE KEY") || strings.Contains(output, "GARBAGE") {
				t.Errorf("it shows what is in a file: %s", output)
			}
		})
	}
}

// TestPlaintextAtATLSDoor gets no answer of this server, reaches nothing, and is not mistaken for a call.
func TestPlaintextAtATLSDoor(t *testing.T) {
	_, args := serve(t, newAuthority(t, "servers").server(t), nil)
	sandbox := daemon.StartSandbox(t, false)
	audit := file(t, "audit.log", "")
	d := daemon.Start(t, sandbox.Env, append(args, "--insecure-allow-any-caller", "--audit-file="+audit)...)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := connect(t, d).grpc.Invoke(ctx, service+"Get", request("Get", slug, member, ""), &recoverycodesv1.GetResponse{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("gRPC: %v", err)
	}
	for _, address := range []string{d.HTTP, d.GRPC} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		_, _ = fmt.Fprintf(conn, "GET %s%s/%s HTTP/1.1\r\nHost: x\r\n\r\n", restPath, slug, member)
		text, err := io.ReadAll(conn)
		_ = conn.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is held open", address)
		}
		for _, word := range []string{"200 OK", "X-Request-Id", "recovery_codes", "status_code"} {
			if strings.Contains(string(text), word) {
				t.Errorf("%s: %s", address, text)
			}
		}
	}
	if n := sandbox.Member(t, member).Calls; n != (daemon.Counts{}) {
		t.Errorf("the upstream was called: %+v", n)
	}
	connectWith(t, d, &tls.Config{InsecureSkipVerify: true}).byREST(t, request("Get", slug, member, ""), nil).is(t, "")
	d.Interrupt()
	d.Wait(t)
	if lines := linesOf(t, audit); len(lines) != 1 || lines[0].Code != "OK" {
		t.Errorf("audit lines %+v", lines)
	}
}

// TestVersionsOfTLS: the doors speak 1.3 alone, and 1.2 when they are told to.
func TestVersionsOfTLS(t *testing.T) {
	servers := newAuthority(t, "servers")
	for setting, speaks12 := range map[string]bool{"--tls-min-version=1.3": false, "--tls-min-version=1.2": true} {
		_, args := serve(t, servers.server(t), nil)
		d := daemon.Start(t, nil, append(args, "--sandbox", setting)...)
		for _, address := range []string{d.GRPC, d.HTTP} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				config := trusting(servers.pool())
				config.MaxVersion, config.NextProtos = version, []string{"h2"}
				conn, err := tls.Dial("tcp", address, config)
				if want := version == tls.VersionTLS13 || speaks12; (err == nil) != want {
					t.Errorf("%s, version %x: %v", setting, version, err)
				}
				if err == nil {
					_ = conn.Close()
				}
			}
		}
		resp, err := http.Get("http://" + d.Admin + "/readyz")
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("the admin door: %v, %v", resp, err)
		} else {
			_ = resp.Body.Close()
		}
	}
}
