package daemon

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server process that listens on a socket in a directory of its own.
type Redis struct {
	binary, dir string
	args        []string

	command *exec.Cmd
	log     *bytes.Buffer // to be read when the process has been reaped
	exited  chan struct{} // closed when the process has been reaped
}

// StartRedis runs redis-server until the test ends. It evicts nothing and writes nothing to disk, unless more arguments
// say otherwise. Without redis-server the test is skipped, but not in CI.
func StartRedis(tb testing.TB, args ...string) *Redis {
	tb.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("RECOVERYCODES_CI") != "" {
			tb.Fatal(err)
		}
		tb.Skip("no redis-server")
	}
	dir, err := os.MkdirTemp("", "redis") // a socket's path must be short, which that of tb.TempDir need not be
	if err != nil {
		tb.Fatal(err)
	}
	r := &Redis{binary: binary, dir: dir}
	r.args = append([]string{
		"--port", "0", "--unixsocket", r.socket(), "--dir", dir, "--daemonize", "no",
		"--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction",
		"--rdbcompression", "no", // so that what is in a file can be found there
	}, args...)
	tb.Cleanup(func() {
		r.Stop()
		_ = os.RemoveAll(dir)
	})
	r.Restart(tb)
	return r
}

func (r *Redis) socket() string { return filepath.Join(r.dir, "redis.sock") }

// URL is where the server is, now and after a restart.
func (r *Redis) URL() string { return "unix://" + r.socket() }

// Stop kills the server, which has no time to save anything.
func (r *Redis) Stop() {
	if r.command != nil {
		_ = r.command.Process.Kill()
		<-r.exited
	}
}

// Restart starts the server again, with the files that it has written, and waits until it answers.
func (r *Redis) Restart(tb testing.TB) {
	tb.Helper()
	r.Stop()
	exited := make(chan struct{})
	r.command, r.log, r.exited = exec.Command(r.binary, r.args...), &bytes.Buffer{}, exited
	r.command.Stdout, r.command.Stderr = r.log, r.log
	if err := r.command.Start(); err != nil {
		tb.Fatal(err)
	}
	go func(command *exec.Cmd) {
		_ = command.Wait() // killed
		close(exited)
	}(r.command)
	for deadline := time.Now().Add(startLimit); !r.answers(tb); time.Sleep(time.Millisecond) {
		select {
		case <-exited:
			tb.Fatalf("redis-server ended:\n%s", r.log)
		default:
		}
		if time.Now().After(deadline) {
			tb.Fatal("redis-server does not answer")
		}
	}
}

// answers reports whether the server listens and has loaded its files.
func (r *Redis) answers(tb testing.TB) bool {
	conn, err := net.Dial("unix", r.socket())
	if err != nil {
		return false
	}
	_ = conn.Close()
	client := r.Client(tb)
	err = client.Ping(tb.Context()).Err()
	_ = client.Close()
	return err == nil || redis.IsAuthError(err)
}

// Freeze stops the server from answering, with its connections open, until Thaw.
func (r *Redis) Freeze(tb testing.TB) { r.signal(tb, syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (r *Redis) Thaw(tb testing.TB) { r.signal(tb, syscall.SIGCONT) }

func (r *Redis) signal(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	if err := r.command.Process.Signal(signal); err != nil {
		tb.Fatal(err)
	}
}

// Client returns a client for what a test does behind the product's back. It is closed when the test ends.
func (r *Redis) Client(tb testing.TB) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Network: "unix", Addr: r.socket(), Protocol: 2, DialerRetries: 1, MaxRetries: -1, DisableIdentity: true,
	})
	tb.Cleanup(func() { _ = client.Close() }) // once more is no error that matters
	return client
}

// Dump is all that the server holds, as it holds it: names and values of its first database, and the bytes of its
// files, with a snapshot of all databases among them that is taken now.
func (r *Redis) Dump(tb testing.TB) []byte {
	tb.Helper()
	client := r.Client(tb)
	if err := client.Save(tb.Context()).Err(); err != nil {
		tb.Fatal(err)
	}
	var dump bytes.Buffer
	keys := client.Scan(tb.Context(), 0, "", 0).Iterator()
	for keys.Next(tb.Context()) {
		value, err := value(tb.Context(), client, keys.Val())
		if err != nil {
			tb.Fatal(err)
		}
		for _, text := range append([]string{keys.Val()}, value...) {
			dump.WriteString(text)
			dump.WriteByte(0)
		}
	}
	if err := keys.Err(); err != nil {
		tb.Fatal(err)
	}
	err := filepath.WalkDir(r.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		dump.Write(content)
		dump.WriteByte(0)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return dump.Bytes()
}

// value is what a key has, whatever its type.
func value(ctx context.Context, client *redis.Client, key string) ([]string, error) {
	kind, err := client.Type(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "none": // it has expired
		return nil, nil
	case "string":
		text, err := client.Get(ctx, key).Result()
		return []string{text}, err
	case "hash":
		fields, err := client.HGetAll(ctx, key).Result()
		var all []string
		for name, text := range fields {
			all = append(all, name, text)
		}
		return all, err
	case "list":
		return client.LRange(ctx, key, 0, -1).Result()
	case "set":
		return client.SMembers(ctx, key).Result()
	case "zset":
		return client.ZRange(ctx, key, 0, -1).Result()
	default:
		return nil, fmt.Errorf("daemon: %s is a %s, which Dump cannot read", key, kind)
	}
}
