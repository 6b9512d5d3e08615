package main

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"recoverycodes.internal/client/internal/servicetest"
)

func TestTransport(t *testing.T) {
	authority := servicetest.NewAuthority(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	authority.WriteRoots(at("ca.pem"))
	authority.Write("caller", at("tls.crt"), at("tls.key"))
	secured := func(clients tls.ClientAuthType) string {
		return servicetest.Start(t, answering(), grpc.Creds(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{authority.Issue("service")}, ClientCAs: authority.Roots(), ClientAuth: clients, MinVersion: tls.VersionTLS13,
		}))).Addr
	}
	plain, secure, mutual := servicetest.Start(t, answering()).Addr, secured(tls.NoClientCert), secured(tls.RequireAndVerifyClientCert)

	tests := []struct {
		name string
		env  map[string]string
		args []string
		want exitCode
	}{
		{"plaintext is the default on loopback", nil, []string{"--server", plain}, exitDone},
		{"TLS on request", nil, []string{"--server", plain, "--no-plaintext"}, exitNotSent},
		{"plaintext does not reach a TLS server", nil, []string{"--server", secure}, exitNotSent},
		{"an unknown issuer is refused", nil, []string{"--server", secure, "--no-plaintext"}, exitNotSent},
		{"given roots mean TLS", nil, []string{"--server", secure, "--ca-file", at("ca.pem")}, exitDone},
		{"roots from the environment", map[string]string{"RECOVERYCODES_CA_FILE": at("ca.pem")}, []string{"--server", secure}, exitDone},
		{"a certificate is asked for", nil, []string{"--server", mutual, "--ca-file", at("ca.pem")}, exitNotSent},
		{"and shown", nil, []string{
			"--server", mutual, "--ca-file", at("ca.pem"), "--client-certificate", at("tls.crt"), "--client-key", at("tls.key"),
		}, exitDone},
		{"and shown from the environment", map[string]string{
			"RECOVERYCODES_CA_FILE": at("ca.pem"), "RECOVERYCODES_CLIENT_CERTIFICATE": at("tls.crt"), "RECOVERYCODES_CLIENT_KEY": at("tls.key"),
		}, []string{"--server", mutual}, exitDone},
		{"a certificate means TLS", nil, []string{
			"--server", plain, "--client-certificate", at("tls.crt"), "--client-key", at("tls.key"),
		}, exitNotSent},
		{"a mesh is plaintext", nil, []string{"--server", plain, "--mesh"}, exitDone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := invocation{env: tt.env}.run(t, append(tt.args, "health")...)
			if got.code != tt.want {
				t.Errorf("exit code %d, want %d: %s", got.code, tt.want, got.stderr)
			}
		})
	}
}

func TestToken(t *testing.T) {
	seen := make(chan string, 1)
	addr := servicetest.Start(t, servicetest.Answering(func(ctx context.Context) error {
		md, _ := metadata.FromIncomingContext(ctx)
		seen <- strings.Join(md.Get("authorization"), ",")
		return nil
	})).Addr
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("of-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const elsewhere = "service.invalid:50051"
	tests := []struct {
		name string
		env  map[string]string
		args []string
		want string // what the service is sent
		code exitCode
	}{
		{"none", nil, []string{"--server", addr}, "", exitDone},
		{"file", nil, []string{"--server", addr, "--token-file", file}, "Bearer of-a-file", exitDone},
		{"file by the environment", map[string]string{"RECOVERYCODES_TOKEN_FILE": file}, []string{"--server", addr}, "Bearer of-a-file", exitDone},
		{"environment", map[string]string{"RECOVERYCODES_TOKEN": "of-the-environment"}, []string{"--server", addr}, "Bearer of-the-environment", exitDone},
		{"the file wins", map[string]string{"RECOVERYCODES_TOKEN": "of-the-environment"},
			[]string{"--server", addr, "--token-file", file}, "Bearer of-a-file", exitDone},
		{"not in plaintext elsewhere", map[string]string{"RECOVERYCODES_TOKEN": "of-the-environment"},
			[]string{"--server", elsewhere, "--plaintext"}, "", exitUsage},
		{"not with a line end", map[string]string{"RECOVERYCODES_TOKEN": "of-the-environment\n"}, []string{"--server", addr}, "", exitUsage},
		{"elsewhere through a mesh, where nobody is", map[string]string{"RECOVERYCODES_TOKEN": "of-the-environment"},
			[]string{"--server", elsewhere, "--mesh", "--timeout", "2s"}, "", exitNotSent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := invocation{env: tt.env}.run(t, append(tt.args, "get", "o", "m")...)
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d: %s", got.code, tt.code, got.stderr)
			}
			if strings.Contains(got.stderr, "of-the-environment") {
				t.Errorf("the message tells the token: %s", got.stderr)
			}
			if tt.code == exitDone {
				if sent := <-seen; sent != tt.want {
					t.Errorf("the service was sent %q, want %q", sent, tt.want)
				}
			}
		})
	}
}
