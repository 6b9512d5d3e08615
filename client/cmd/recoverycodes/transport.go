package main

import (
	"fmt"
	"strings"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/target"
)

// inFlags names flags in errors of the client, which names its options.
var inFlags = strings.NewReplacer(
	"client: ", "",
	"WithCAFile", "--ca-file",
	"WithCertificateFiles", "--client-certificate, --client-key",
	"WithTokenFile", "--token-file",
	"WithToken", "$RECOVERYCODES_TOKEN",
	"WithMeshEncryption", "--mesh",
)

// clientOptions turns the flags into how to connect. Plaintext is chosen, or follows from a server on this machine; it is
// never tried because TLS failed.
func (flags *cli) clientOptions(getenv func(string) string) ([]client.Option, error) {
	if flags.Timeout <= 0 {
		return nil, &usageError{fmt.Sprintf("--timeout: %v is not positive", flags.Timeout)}
	}
	if strings.HasPrefix(flags.Server, "http://") || strings.HasPrefix(flags.Server, "https://") {
		return nil, &usageError{"--server: wants host:port, and no URL"} // to gRPC it would be the name of a host
	}
	if (flags.ClientCertificate == "") != (flags.ClientKey == "") {
		return nil, &usageError{"--client-certificate and --client-key go together"}
	}
	opts := []client.Option{
		client.WithTimeout(flags.Timeout),
		client.WithUserAgent("recoverycodes"),
	}
	if flags.TokenFile != "" {
		opts = append(opts, client.WithTokenFile(flags.TokenFile))
	} else if token := getenv("RECOVERYCODES_TOKEN"); token != "" {
		opts = append(opts, client.WithToken(token))
	}

	files := flags.CAFile != "" || flags.ClientCertificate != ""
	plaintext := flags.Mesh || target.Local(flags.Server) && !files
	if flags.Plaintext != nil {
		plaintext = *flags.Plaintext
	}
	switch {
	case plaintext && files:
		return nil, &usageError{"--plaintext and --mesh exclude --ca-file and --client-certificate"}
	case flags.Mesh && !plaintext:
		return nil, &usageError{"--mesh and --no-plaintext exclude each other"}
	case flags.Mesh:
		return append(opts, client.WithMeshEncryption()), nil
	case plaintext:
		return append(opts, client.WithInsecure()), nil
	}
	if flags.CAFile != "" {
		opts = append(opts, client.WithCAFile(flags.CAFile))
	}
	if flags.ClientCertificate != "" {
		opts = append(opts, client.WithCertificateFiles(flags.ClientCertificate, flags.ClientKey))
	}
	return opts, nil
}
