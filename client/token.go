package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
)

// WithToken sends a bearer token with every call, by which the service knows its caller.
//
// A token is sent over TLS only. New refuses one with WithInsecure, unless the target is on this machine, and
// takes one with WithMeshEncryption.
func WithToken(token string) Option {
	return withToken("WithToken", func() (func() string, error) {
		token, err := parseToken([][]byte{[]byte(token)})
		return func() string { return token }, err
	})
}

// WithTokenFile is WithToken for a token in a file, such as the service-account token that Kubernetes projects into a pod
// and replaces before it expires. The file is looked at for each call, and read when it has changed, or after
// a minute. While it is missing or holds no token, the last token is sent. White space around the token does not count.
func WithTokenFile(path string) Option {
	return withToken("WithTokenFile", func() (func() string, error) {
		file, err := readFiles(func(contents [][]byte) (string, error) {
			return parseToken([][]byte{bytes.TrimSpace(contents[0])})
		}, path)
		return file.get, err
	})
}

func withToken(option string, read func() (func() string, error)) Option {
	return func(s *settings) error {
		if s.token != nil {
			return fmt.Errorf("%s: there is a token already", option)
		}
		token, err := read()
		if err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
		s.token = token
		return nil
	}
}

// bearerSyntax is what HTTP allows as a bearer token. A JWT is one, too.
var bearerSyntax = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

func parseToken(contents [][]byte) (string, error) {
	if !bearerSyntax.Match(contents[0]) {
		return "", errors.New("the token is empty or has characters that a bearer token must not have")
	}
	return string(contents[0]), nil
}

// bearer are the credentials of a call that has a token.
type bearer struct {
	token     func() string
	plaintext bool // the connection need not be encrypted: it does not leave this machine, or a mesh encrypts it
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token()}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. gRPC holds every connection to it, by what its
// transport credentials say of themselves.
func (b bearer) RequireTransportSecurity() bool { return !b.plaintext }
