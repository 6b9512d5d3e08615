package main

import (
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"

	"recoverycodes.internal/client"
)

// clientOptions turns the flags into how to connect. Plaintext is chosen, or follows from a server on loopback; it is
// never tried because TLS failed.
func (flags *cli) clientOptions() ([]client.Option, error) {
	if flags.Timeout <= 0 {
		return nil, &usageError{fmt.Sprintf("--timeout: %v is not positive", flags.Timeout)}
	}
	opts := []client.Option{
		client.WithTimeout(flags.Timeout),
		client.WithUserAgent("recoverycodes"),
	}
	plaintext := loopback(flags.Server) && flags.CAFile == ""
	if flags.Plaintext != nil {
		plaintext = *flags.Plaintext
	}
	switch {
	case plaintext && flags.CAFile != "":
		return nil, &usageError{"--plaintext and --ca-file exclude each other"}
	case plaintext:
		return append(opts, client.WithInsecure()), nil
	case flags.CAFile != "":
		roots, err := readRoots(flags.CAFile)
		if err != nil {
			return nil, &usageError{fmt.Sprintf("--ca-file: %v", err)}
		}
		return append(opts, client.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, ""))), nil
	default:
		return opts, nil
	}
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // the file is the user's choice
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no PEM certificate in it", file)
	}
	return roots, nil
}

// loopback says whether target surely stays on this machine: a loopback address or localhost, in the forms of a gRPC
// target that need no foreign name server.
func loopback(target string) bool {
	for _, scheme := range []string{"dns:///", "dns:", "passthrough:///"} {
		if rest, ok := strings.CutPrefix(target, scheme); ok {
			target = rest
			break
		}
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
