package readme

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"recoverycodes.internal/test/daemon"
)

// blockLimit is far above what a block takes.
const blockLimit = 5 * time.Minute

// built is made once, as the README says, by make, in the work tree.
var built = sync.OnceValue(func() error {
	out, err := exec.Command("make", "-C", root, "build").CombinedOutput()
	if err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	return nil
})

// binary returns the path of a command that the README has its reader build.
func binary(t *testing.T, name string) string {
	t.Helper()
	if err := built(); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(filepath.Join(root, "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs the server until the test ends.
func start(t *testing.T, args ...string) *daemon.Daemon {
	t.Helper()
	return daemon.StartBuild(t, binary(t, "recoverycodesd"), nil, nil, args...)
}

// A stage is where the commands of one page are run: a directory with a copy of the work tree in it, an environment, and
// what is put in the place of what the page says.
type stage struct {
	dir  string // of the copy
	env  []string
	swap []string // old, new, old, new, …

	cleanup func(func()) // when the page is done
}

func newStage(t *testing.T) *stage {
	t.Helper()
	bin := filepath.Dir(binary(t, "recoverycodesd"))
	// Its name is that of a clone, which pages go back to from a directory beside it.
	s := &stage{dir: filepath.Join(t.TempDir(), "recoverycodes"), cleanup: t.Cleanup}
	copyTree(t, s.dir)
	if err := os.Symlink(bin, s.path("bin")); err != nil {
		t.Fatal(err)
	}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		ours := strings.HasPrefix(name, "RECOVERYCODES_") || strings.HasPrefix(name, "STYTCH_") || strings.HasPrefix(name, "OTEL_")
		if !ours && name != "MAKEFLAGS" && name != "MAKELEVEL" {
			s.env = append(s.env, entry)
		}
	}
	s.write(t, ".curlrc", "fail-with-body\nsilent\n") // a refusal is a failure
	s.export("PATH="+strings.Join([]string{bin, standIns(t), os.Getenv("PATH")}, string(filepath.ListSeparator)), "CURL_HOME="+s.dir,
		"RECOVERYCODES_GRPC_LISTEN=127.0.0.1:0", "RECOVERYCODES_HTTP_LISTEN=127.0.0.1:0", "RECOVERYCODES_ADMIN_LISTEN=127.0.0.1:0",
		"RECOVERYCODES_SANDBOX_LISTEN=127.0.0.1:0", "RECOVERYCODES_DRAIN_DELAY=0s")
	return s
}

// copyTree copies the work tree without what is built or installed, and without its history.
func copyTree(t *testing.T, to string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if slices.Contains([]string{".git", "bin", "dist", ".ci/tools/bin", "node_modules", "testdata"}, rel) || entry.Name() == "node_modules" {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *stage) export(entries ...string) { s.env = append(s.env, entries...) }

// replace puts words in the place of others. Of two rules for the same words the newer holds.
func (s *stage) replace(oldnew ...string) { s.swap = append(slices.Clip(oldnew), s.swap...) }

func (s *stage) with(text string) string { return strings.NewReplacer(s.swap...).Replace(text) }

// use has the page find a server where it says that one listens.
func (s *stage) use(d *daemon.Daemon) { s.listens(d.GRPC, d.HTTP, d.Admin) }

func (s *stage) listens(grpc, http, admin string) {
	s.replace("localhost:50051", grpc, "localhost:8080", http, "localhost:9464", admin)
	s.export("RECOVERYCODES_SERVER=" + grpc)
}

// show writes a file that the page shows: the first line is a comment with its name.
func (s *stage) show(t *testing.T, b block) {
	t.Helper()
	if m := regexp.MustCompile(`^# ([\w-]+\.yaml)`).FindStringSubmatch(b.text); m != nil {
		s.write(t, m[1], s.with(b.text))
	}
}

const mark = "=== end of a command:"

// serves are commands that go on until they are stopped.
var serves = regexp.MustCompile(`^(make run|(bin/)?recoverycodesd (serve|sandbox))\b`)

// run runs commands of a block in one shell. Those of sh have to succeed, those of console to print what the page says.
func (s *stage) run(t *testing.T, b block, commands []command) {
	t.Helper()
	t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) {
		s.prepare(t, b.text)
		var script strings.Builder
		if b.language == "sh" {
			script.WriteString("set -eu\n")
		}
		for _, c := range commands {
			fmt.Fprintf(&script, "%s\necho \"%s $?\"\n", s.with(c.text), mark)
		}
		if serves.MatchString(commands[len(commands)-1].text) {
			s.serve(t, script.String())
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), blockLimit)
		defer cancel()
		shell := exec.CommandContext(ctx, "sh", "-c", script.String())
		shell.Dir, shell.Env = s.dir, s.env
		out, err := shell.CombinedOutput()
		printed := regexp.MustCompile(mark+` \d+\n`).Split(string(out), -1)
		codes := regexp.MustCompile(mark+` (\d+)\n`).FindAllStringSubmatch(string(out), -1)
		if b.language == "sh" && err != nil {
			if strings.Contains(b.text, "npm ") {
				unavailable(t, "%s: %v\n%s", b, err, out)
			}
			t.Fatalf("%s: $ %s\n%v\n%s", b, commands[min(len(printed), len(commands))-1].text, err, out)
		}
		if len(codes) != len(commands) {
			t.Fatalf("%s: %v\n%s", b, err, out)
		}
		for i, c := range commands {
			s.learn(t, printed[i])
			pattern := strings.ReplaceAll(regexp.QuoteMeta(c.prints), "…", "(?s:.*)")
			if c.printed && !regexp.MustCompile("^"+pattern+"$").MatchString(strings.TrimSpace(printed[i])) {
				t.Errorf("%s: $ %s\nprints\n%s\nwant\n%s", b, c.text, printed[i], c.prints)
			}
			if !c.printed && codes[i][1] != "0" {
				t.Errorf("%s: $ %s\nexit code %s\n%s", b, c.text, codes[i][1], printed[i])
			}
			if want := prints(t, c.text); want != "" && printed[i] != want {
				t.Errorf("%s: $ %s\nprints\n%s\nwant\n%s", b, c.text, printed[i], want)
			}
		}
	})
}

// learn takes what later commands need from what one has printed: a caller's secret.
func (s *stage) learn(t *testing.T, printed string) {
	t.Helper()
	m := regexp.MustCompile(`^secret +(rcs_\w+)\nsecret_sha256 +([0-9a-f]{64})\n$`).FindStringSubmatch(printed)
	if m == nil {
		return
	}
	s.replace("…64 hexadecimal digits…", m[2])
	s.export("TOKEN=" + m[1])
	s.write(t, "token", m[1]+"\n")
}

// serve starts what goes on, waits until it serves, and stops it when the page is done.
func (s *stage) serve(t *testing.T, script string) {
	t.Helper()
	dir := s.dir
	if strings.Contains(script, "make run\n") {
		dir = root // where it was built already
	}
	shell := exec.Command("sh", "-c", script)
	shell.Dir, shell.Env = dir, s.env
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	shell.Stdout, shell.Stderr = writer, writer
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	var seen bytes.Buffer
	found := make(chan []string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		log := bufio.NewScanner(reader)
		for log.Scan() {
			fmt.Fprintln(&seen, log.Text())
			if m := ready.FindStringSubmatch(log.Text()); m != nil {
				found <- m
			}
		}
		_ = shell.Wait() // stopped
	}()
	s.cleanup(func() {
		_ = syscall.Kill(-shell.Process.Pid, syscall.SIGTERM)
		<-ended
		_ = reader.Close()
	})
	select {
	case m := <-found:
		if m[1] != "" {
			s.replace("localhost:8090", m[1])
		} else {
			s.listens(m[2], m[3], m[4])
		}
	case <-ended:
		t.Fatalf("it has ended:\n%s", &seen)
	case <-time.After(blockLimit):
		t.Fatal("it does not serve")
	}
}

// ready is the line by which a server says where it listens: the sandbox alone, or a server with three doors, in either form
// of its log.
var ready = regexp.MustCompile(`answers at http://(\S+)|"grpc": ?"([^"]+)", ?"http": ?"([^"]+)", ?"admin": ?"([^"]+)"`)
