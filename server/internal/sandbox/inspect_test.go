package sandbox_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"recoverycodes.internal/server/internal/sandbox"
)

func TestStateAndReset(t *testing.T) {
	now := newClock()
	p := start(t, sandbox.Options{Clock: now.Now})
	fresh := p.wholeState()
	want := sandbox.State{
		Members: map[string]sandbox.MemberState{sandbox.MemberID: {
			OrganizationID: sandbox.OrganizationID, RecoveryCodes: sandbox.RecoveryCodes(), RecoveryCodesRemaining: 10,
		}},
		RedirectTarget: sandbox.RedirectTarget{Requests: []sandbox.RedirectedRequest{}},
	}
	if diff := cmp.Diff(want, fresh); diff != "" {
		t.Errorf("state at the start (-want +got):\n%s", diff)
	}

	p.get(getPath)
	p.post(rotatePath, member())
	left := p.get(getPath).list("recovery_codes")
	session := p.post(recoverPath, member("recovery_code", left[4]))
	session.wantOK(t)
	for range 11 {
		p.post(recoverPath, member("recovery_code", "wrong"))
	}
	p.do(p.about("get", fault+"slow-0"))
	seen := p.state(sandbox.MemberID)
	wantMember := sandbox.MemberState{
		OrganizationID: sandbox.OrganizationID,
		Calls:          sandbox.Counts{Get: 2, Recover: 12, Rotate: 1},
		Effects:        sandbox.Counts{Recover: 1, Rotate: 1},
		RecoveryCodes:  append(left[:4:4], left[5:]...), RecoveryCodesRemaining: 9,
		FailedAttempts: 10, IsLocked: true,
	}
	if diff := cmp.Diff(wantMember, seen); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}

	r := p.request("POST", "/_sandbox/reset", "")
	r.Header = nil
	p.do(r).wantOK(t)
	if diff := cmp.Diff(want, p.wholeState()); diff != "" {
		t.Errorf("state after a reset (-want +got):\n%s", diff)
	}
	p.post(recoverPath, member("recovery_code", sandbox.RecoveryCodes()[0], "session_token", session.text("session_token"))).
		wantError(t, 404, "session_not_found")
}

func TestSandboxPathsAndMethods(t *testing.T) {
	p := start(t, sandbox.Options{})
	p.do(p.request("POST", "/_sandbox/state", "")).wantError(t, 405, "method_not_allowed")
	p.do(p.request("GET", "/_sandbox/reset", "")).wantError(t, 405, "method_not_allowed")
	p.do(p.request("GET", "/_sandbox/certificate", "")).wantError(t, 404, "route_not_found")
	p.do(p.request("GET", "/_sandbox/", "")).wantError(t, 404, "route_not_found")
}

func TestCertificate(t *testing.T) {
	s, err := sandbox.New(sandbox.Options{TLS: true, Hosts: []string{"sandbox.example", "192.0.2.7"}})
	if err != nil {
		t.Fatal(err)
	}
	p := serve(t, s)
	if served := p.overHTTP1(p.request("GET", "/_sandbox/certificate", "")); !bytes.Equal(served.body, s.CertificatePEM()) {
		t.Errorf("the certificate served is not the one returned: %.100s", served.body)
	}
	certificate := leaf(t, s.CertificatePEM())
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "sandbox.example", "192.0.2.7"} {
		if err := certificate.VerifyHostname(host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if certificate.VerifyHostname("other.example") == nil {
		t.Error("the certificate is valid for a host that was not named")
	}
	plain, err := sandbox.New(sandbox.Options{Hosts: []string{"sandbox.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if pem := plain.CertificatePEM(); pem != nil {
		t.Errorf("without TLS there is a certificate: %s", pem)
	}
}
