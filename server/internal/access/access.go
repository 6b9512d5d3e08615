// Package access says who calls and what they may do.
//
// Two parties are told apart: the peer, who opened the connection, and the caller, who asks. The caller is named by the
// header of a sidecar that is trusted to speak for others; else by the JWT, bearer token or Basic password in the call;
// else by the peer's own certificate. A call in which two of these name different callers is refused. A policy, a file
// that is read again when it changes, gives callers their names and says which methods and organizations each may use,
// and how often. Nothing is allowed that is not listed.
//
// The package knows credentials, certificates and the policy. It knows no message beyond the organization that it
// names, no upstream, and no door: each door hands over what it has seen as Evidence.
package access

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
)

// ForwardedHeader is the header, or metadata key, in which a sidecar says for whom it speaks.
const ForwardedHeader = "x-forwarded-client-cert"

// Evidence is what a door has seen of a call before it reads any of its body.
type Evidence struct {
	// Certificate is the peer's own, verified against the configured authorities; nil when it has shown none.
	Certificate *x509.Certificate
	// Unix and Loopback say that the peer connected by a unix socket, or from a loopback address.
	Unix, Loopback bool
	// Authorization and ForwardedClientCert are all values of the headers authorization and
	// x-forwarded-client-cert, as they came.
	Authorization, ForwardedClientCert []string
}

// kind is what sort of proof an identity rests on. Identities of different kinds never match each other.
type kind string

const (
	spiffeID kind = "spiffe_id"     // the URI of a client certificate, of the peer's or as told by a sidecar
	dnsName  kind = "dns_san"       // the DNS name of the peer's certificate that has no URI
	secret   kind = "secret_sha256" // the hash of a bearer token or Basic password
	subject  kind = "jwt"           // issuer and subject of a JWT
)

// identity is what a credential proves, before the policy has a name for it.
type identity struct {
	kind   kind
	issuer string // of a JWT
	value  string // the URI, the DNS name, the hash in lower-case hex, the subject
}

// OfConnection is what a connection shows of its peer: the network and address that it comes from, and its TLS state,
// which may be nil.
func OfConnection(network string, from netip.Addr, state *tls.ConnectionState) Evidence {
	e := Evidence{Unix: network == "unix", Loopback: from.Unmap().IsLoopback()}
	// A chain is there only when it was verified.
	if state != nil && len(state.VerifiedChains) > 0 {
		e.Certificate = state.VerifiedChains[0][0]
	}
	return e
}
