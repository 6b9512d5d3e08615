package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStoreSecrets(t *testing.T) {
	first, second := secret+strings.Repeat("1", 32), secret+strings.Repeat("2", 32)
	redis := "--once-redis-url=redis://localhost:6379"

	c := serve(t, realProject, redis, "--store-secret-file", file(t, first+"\r\n\n"+second+"\n"))
	if got := c.StoreSecrets; len(got) != 2 || string(got[0]) != first || string(got[1]) != second {
		t.Errorf("%d secrets, which are not those of the file in its order", len(got))
	}
	if c.OnceRedisURL != "redis://localhost:6379" {
		t.Errorf("the URL is %q", c.OnceRedisURL)
	}
	// The file alone is fine: it stands for what is in memory too.
	if c := serve(t, realProject, "--store-secret-file", file(t, first)); len(c.StoreSecrets) != 1 {
		t.Errorf("%d secrets", len(c.StoreSecrets))
	}

	blames(t, refused(t, realProject, redis), "--store-secret-file: is required")
	blames(t, refused(t, realProject, redis, "--idempotency-ttl=59s", "--store-secret-file", file(t, first)), "--idempotency-ttl: want at least")
	for name, content := range map[string]string{
		"is empty":       "\n",
		"at least 32":    secret,
		"line 3":         first + "\n\n" + secret,
		"line 2: stands": first + "\n" + first,
	} {
		blames(t, refused(t, realProject, redis, "--store-secret-file", file(t, content)), "--store-secret-file: ")
		if lines := refused(t, realProject, redis, "--store-secret-file", file(t, content)); !strings.Contains(lines[0], name) {
			t.Errorf("%q, want it to say %q", lines[0], name)
		}
	}
	blames(t, refused(t, realProject, redis, "--store-secret-file", "/none"), "--store-secret-file: no such file")
}
