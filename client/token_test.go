package client_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/credentials/local"
	"google.golang.org/grpc/metadata"

	"recoverycodes.internal/client"
	"recoverycodes.internal/client/internal/servicetest"
)

// authorizations starts a service that tells what each call had for authorization.
func authorizations(t *testing.T, opts ...grpc.ServerOption) (addr string, seen <-chan string) {
	t.Helper()
	told := make(chan string, 1)
	svc := reporting(func(ctx context.Context) {
		md, _ := metadata.FromIncomingContext(ctx)
		told <- strings.Join(md.Get("authorization"), ",")
	})
	return servicetest.Start(t, svc, opts...).Addr, told
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTokenOverTLS(t *testing.T) {
	authority := servicetest.NewAuthority(t)
	roots := filepath.Join(t.TempDir(), "ca.pem")
	authority.WriteRoots(roots)
	issued := authority.Issue("service")
	addr, seen := authorizations(t, grpc.Creds(credentials.NewServerTLSFromCert(&issued)))
	c := newClient(t, addr, client.WithCAFile(roots), client.WithToken("token-one"))
	for method, call := range rpcs {
		if err := call(t.Context(), c); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if got := <-seen; got != "Bearer token-one" {
			t.Errorf("%s came with authorization %q, want the token", method, got)
		}
	}
}

func TestTokenOverPlaintext(t *testing.T) {
	addr, seen := authorizations(t)
	tests := []struct {
		name   string
		target string
		option client.Option
		sent   bool
	}{
		{"to loopback", addr, client.WithInsecure(), true},
		{"to loopback by a resolver", "dns:///" + addr, client.WithInsecure(), true},
		{"elsewhere", "manual:///service", client.WithInsecure(), false},
		{"to a name", "service:50051", client.WithInsecure(), false},
		{"to a name by a resolver", "dns:///service:50051", client.WithInsecure(), false},
		{"to an address", "10.0.0.1:50051", client.WithInsecure(), false},
		{"elsewhere through a mesh", "manual:///service", client.WithMeshEncryption(), true},
		{"by gRPC's own option", addr, client.WithTransportCredentials(insecure.NewCredentials()), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := client.New(tt.target, tt.option, client.WithToken("token-one"),
				client.WithDialOptions(grpc.WithResolvers(pushing("", addr))))
			if err != nil {
				if tt.sent || strings.Contains(err.Error(), "token-one") {
					t.Error(err)
				}
				return
			}
			defer func() { _ = c.Close() }()
			if !tt.sent {
				t.Fatal("New succeeded")
			}
			if err := rpcs["Recover"](t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got := <-seen; got != "Bearer token-one" {
				t.Errorf("authorization = %q, want the token", got)
			}
		})
	}
}

// Transport credentials of another kind need not encrypt. Those of package local do not, over TCP.
func TestTokenIsKeptFromCredentialsThatDoNotEncrypt(t *testing.T) {
	svc := reporting(func(context.Context) {})
	addr := servicetest.Start(t, svc, grpc.Creds(local.NewCredentials())).Addr
	unencrypted := client.WithTransportCredentials(local.NewCredentials())
	if err := rpcs["Get"](t.Context(), newClient(t, addr, unencrypted)); err != nil {
		t.Fatalf("without a token: %v", err)
	}
	err := rpcs["Recover"](t.Context(), newClient(t, addr, unencrypted, client.WithToken("token-one")))
	var failed *client.Error
	if !errors.As(err, &failed) || failed.Code != codes.Unavailable || failed.Outcome != client.NotSent {
		t.Errorf("Recover ended with %v, want UNAVAILABLE and not sent", err)
	}
	if got := svc.Runs("Recover"); got != 0 {
		t.Errorf("the handler ran %d times, want 0", got)
	}
}

func TestTokenFile(t *testing.T) {
	addr, seen := authorizations(t)
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, "token-one\n")
	c := newClient(t, addr, client.WithInsecure(), client.WithTokenFile(file))
	expect := func(want string) {
		t.Helper()
		if err := rpcs["Rotate"](t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != "Bearer "+want {
			t.Errorf("authorization = %q, want %q", got, want)
		}
	}
	expect("token-one")
	writeFile(t, file, " token.number-two\r\n")
	expect("token.number-two")
	writeFile(t, file, "")
	expect("token.number-two")
	writeFile(t, file, "two words")
	expect("token.number-two")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	expect("token.number-two")
	writeFile(t, file, "token-3")
	expect("token-3")
}

// A mounted secret of Kubernetes is a link to a file behind a link to a directory, and the second is swapped.
func TestTokenFileOfKubernetes(t *testing.T) {
	addr, seen := authorizations(t)
	dir := t.TempDir()
	at := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
	version := func(name, token string) {
		t.Helper()
		if err := errors.Join(os.Mkdir(at(name), 0o700), os.WriteFile(at(name, "token"), []byte(token), 0o600),
			os.Symlink(name, at("..next")), os.Rename(at("..next"), at("..data"))); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", "token-1")
	if err := os.Symlink(filepath.Join("..data", "token"), at("token")); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, addr, client.WithInsecure(), client.WithTokenFile(at("token")))
	for _, want := range []string{"token-1", "token-2", "token-3"} {
		if want != "token-1" {
			version(".."+want, want)
		}
		if err := rpcs["Get"](t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != "Bearer "+want {
			t.Errorf("authorization = %q, want %q", got, want)
		}
	}
}

func TestTokensThatNewRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": " \n", "good": "token-one", "two-lines": "token-one\ntoken-two"} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	file := func(name string) client.Option { return client.WithTokenFile(filepath.Join(dir, name)) }
	tests := []struct {
		name string
		opts []client.Option
		want string // what the error names
	}{
		{"empty", []client.Option{client.WithToken("")}, "WithToken:"},
		{"with a line end", []client.Option{client.WithToken("token-one\n")}, "WithToken:"},
		{"with a space", []client.Option{client.WithToken("token one")}, "WithToken:"},
		{"with another header", []client.Option{client.WithToken("token-one\r\nx-role: admin")}, "WithToken:"},
		{"beyond ASCII", []client.Option{client.WithToken("token-onë")}, "WithToken:"},
		{"two", []client.Option{client.WithToken("token-one"), client.WithToken("token-one")}, "already"},
		{"two of two kinds", []client.Option{client.WithToken("token-one"), file("good")}, "already"},
		{"no such file", []client.Option{file("none")}, filepath.Join(dir, "none")},
		{"an empty file", []client.Option{file("empty")}, filepath.Join(dir, "empty")},
		{"a file of two lines", []client.Option{file("two-lines")}, filepath.Join(dir, "two-lines")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := client.New("127.0.0.1:1", append(tt.opts, client.WithInsecure())...)
			if err == nil {
				_ = c.Close()
				t.Fatal("New succeeded")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not name %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "token-on") {
				t.Errorf("error %q tells the token", err)
			}
		})
	}
}
