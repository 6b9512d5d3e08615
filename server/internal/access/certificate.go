package access

import (
	"crypto/x509"
	"errors"
	"strings"
)

// certificateIdentity is what a client's certificate proves, which the door has verified: its URI, which must be a
// SPIFFE id, or if it has none, its only DNS name. A certificate with several of what counts proves nothing, because
// which of them was meant is anybody's guess.
func certificateIdentity(cert *x509.Certificate) (identity, error) {
	switch {
	case len(cert.URIs) == 1:
		uri := cert.URIs[0].String()
		if !validSPIFFEID(uri) {
			return identity{}, errors.New("certificate: the URI is not a SPIFFE id")
		}
		return identity{kind: spiffeID, value: uri}, nil
	case len(cert.URIs) > 1:
		return identity{}, errors.New("certificate: ambiguous: more than one URI")
	case len(cert.DNSNames) == 1:
		name := strings.ToLower(cert.DNSNames[0])
		if !validDNSName(name) {
			return identity{}, errors.New("certificate: the DNS name is not a host's name")
		}
		return identity{kind: dnsName, value: name}, nil
	case len(cert.DNSNames) > 1:
		return identity{}, errors.New("certificate: ambiguous: more than one DNS name and no URI")
	default:
		return identity{}, errors.New("certificate: neither a URI nor a DNS name")
	}
}

const (
	maxSPIFFEID    = 2048 // limits of the SPIFFE standard
	maxTrustDomain = 255
	maxDNSName     = 253
)

// validSPIFFEID says whether id is spiffe://trust-domain/path exactly as the SPIFFE standard spells the id of a
// workload: no port, query, fragment, escape, empty or dotted segment, and so only one spelling of each id.
func validSPIFFEID(id string) bool {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	if !ok || len(id) > maxSPIFFEID {
		return false
	}
	domain, path, ok := strings.Cut(rest, "/")
	if !ok || domain == "" || len(domain) > maxTrustDomain || strings.Trim(domain, lowerAlphanumeric+".-_") != "" {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." ||
			strings.Trim(segment, lowerAlphanumeric+upperAlpha+".-_") != "" {
			return false
		}
	}
	return true
}

// validDNSName says whether name, in lower case, is one host's: a wildcard is many.
func validDNSName(name string) bool {
	if len(name) > maxDNSName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, lowerAlphanumeric+"-_") != "" {
			return false
		}
	}
	return true
}

const (
	lowerAlphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"
	upperAlpha        = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
