package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Access is who may call, how it is proved, and what is recorded of it.
type Access struct {
	Policy         string // the path of the policy; empty for none
	AllowAnyCaller bool

	TLSCertificate, TLSKey, TLSClientCA string // paths; all empty for plaintext
	TLSMinVersion                       uint16

	AttemptsPerMember    int
	AttemptsWindow       time.Duration
	AttemptsFailures     int
	AttemptsFailureShare int // per cent
	AttemptsFailClosed   bool

	AuditFile       string // a path, "-" for standard output, empty for none
	AuditFailClosed bool

	ReloadInterval time.Duration
}

func (c *Access) settings() []Setting {
	return []Setting{
		text(&c.Policy, "policy", "", "The file that says who may call and what they may do; see docs/access.md. It is read again when it changes."),
		boolean(&c.AllowAnyCaller, "insecure-allow-any-caller",
			"Serve whoever reaches the ports, without a policy. With --sandbox on loopback that is so anyway."),
		text(&c.TLSCertificate, "tls-certificate-file", "", "A PEM file of the doors' certificate chain; without one they serve plaintext. Read again when it changes."),
		text(&c.TLSKey, "tls-key-file", "", "The PEM file of that certificate's key."),
		text(&c.TLSClientCA, "tls-client-ca-file", "", "A PEM file of the authorities whose client certificates are accepted as proof of identity."),
		tlsVersion(&c.TLSMinVersion, "tls-min-version", "1.3", "The lowest version of TLS that the doors speak"),
		number(&c.AttemptsPerMember, 1, "attempts-per-member", "4",
			"Wrong codes for one member within the window, by either of its handles; a further Recover is refused before anything is sent. "+
				"Stytch locks a member after 10."),
		duration(&c.AttemptsWindow, "attempts-window", "10m", "The window within which wrong codes count."),
		number(&c.AttemptsFailures, 1, "attempts-caller-failures", "20",
			"Wrong codes of one caller within the window from which its share of them counts; also how many of its Recovers may be under way at once."),
		number(&c.AttemptsFailureShare, 1, "attempts-caller-share", "50",
			"The share of wrong codes among a caller's, in per cent, above which its Recovers are refused; 100 is never."),
		boolean(&c.AttemptsFailClosed, "attempts-fail-closed",
			"Refuse Recover, before anything is sent, while the shared store cannot be asked, instead of counting wrong codes in this process alone."),
		text(&c.AuditFile, "audit-file", "-", "Where one line for each call is written: a path, - for standard output, or off."),
		boolean(&c.AuditFailClosed, "audit-fail-closed", "Refuse calls, before anything is sent, while audit lines cannot be written."),
		duration(&c.ReloadInterval, "reload-interval", "5s", "How often the policy, the certificates and the secret's file are looked at."),
	}
}

func tlsVersion(into *uint16, flagName, def, doc string) Setting {
	var name string
	s := oneOf(&name, flagName, def, doc, "1.2", "1.3")
	one := s.set
	s.set = func(t string) error {
		if err := one(t); err != nil {
			return err
		}
		*into = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[name]
		return nil
	}
	return s
}

// callers checks the settings of Access that depend on each other.
func (c *Serve) callers() (errs []error) {
	switch {
	case (c.TLSCertificate == "") != (c.TLSKey == ""):
		errs = append(errs, errors.New("--tls-certificate-file: and --tls-key-file are given together or not at all"))
	case c.TLSClientCA != "" && c.TLSCertificate == "":
		errs = append(errs, errors.New("--tls-client-ca-file: has no meaning without --tls-certificate-file"))
	}
	if c.AttemptsPerMember > 100 {
		errs = append(errs, errors.New("--attempts-per-member: want at most 100"))
	}
	if c.AttemptsFailureShare > 100 {
		errs = append(errs, errors.New("--attempts-caller-share: want at most 100 per cent"))
	}
	if c.AttemptsWindow > 0 && c.AttemptsWindow < time.Second {
		errs = append(errs, errors.New("--attempts-window: want at least 1s"))
	}
	if c.AuditFile == "off" {
		c.AuditFile = ""
	}
	if c.AuditFailClosed && c.AuditFile == "" {
		errs = append(errs, errors.New("--audit-file: must not be off with --audit-fail-closed"))
	}
	switch {
	case c.Policy != "" && c.AllowAnyCaller:
		errs = append(errs, errors.New("--insecure-allow-any-caller: contradicts --policy"))
	case c.Policy != "" || c.AllowAnyCaller:
	case !c.Sandbox:
		errs = append(errs, errors.New("--policy: is required to serve a real project, whose credential can take over accounts "+
			"(or --insecure-allow-any-caller)"))
	default:
		for _, l := range []struct{ setting, address string }{{"--grpc-listen", c.GRPCListen}, {"--http-listen", c.HTTPListen}} {
			if l.address != "" && !reachedFromHere(l.address) {
				errs = append(errs, fmt.Errorf("%s: without --policy the sandbox is served on loopback only (or with --insecure-allow-any-caller)", l.setting))
			}
		}
	}
	return errs
}

// reachedFromHere reports whether only this machine reaches an address of a door.
func reachedFromHere(address string) bool {
	if strings.HasPrefix(address, unixPrefix) {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopback(host)
}
