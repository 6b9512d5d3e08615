package reload_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"recoverycodes.internal/server/internal/reload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const every = 10 * time.Second

// settled is longer than a change must hold still, and shorter than the interval.
const settled = 2 * time.Second

// follower is what a watched pair of files is applied to: it refuses contents that do not begin alike, as a
// certificate refuses a key that is another's.
type follower struct {
	t        *testing.T
	dir      string
	watcher  *reload.Watcher
	mu       sync.Mutex
	applied  []string
	failures []string
}

func (f *follower) apply(text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied = append(f.applied, text)
	return nil
}

func (f *follower) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, err.Error())
}

func follow(t *testing.T, first, second string) *follower {
	t.Helper()
	f := &follower{t: t, dir: t.TempDir()}
	f.write("first", first)
	f.write("second", second)
	var err error
	f.watcher, err = reload.New(every, []string{f.path("first"), f.path("second")},
		func(contents [][]byte) error {
			if contents[0][0] != contents[1][0] {
				return errors.New("the two do not match")
			}
			return f.apply(string(contents[0]) + " " + string(contents[1]))
		}, f.fail)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *follower) path(name string) string { return filepath.Join(f.dir, name) }

func (f *follower) write(name, content string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follower) remove(name string) {
	f.t.Helper()
	if err := os.Remove(f.path(name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follower) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.watcher.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// pass lets so much time go by, and everything happen that is due in it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (f *follower) want(applied []string, failures ...string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff(applied, f.applied); diff != "" {
		f.t.Errorf("applied (-want +got):\n%s", diff)
	}
	if !slices.EqualFunc(failures, f.failures, func(want, got string) bool { return strings.Contains(got, want) }) {
		f.t.Errorf("reported %q, want %q", f.failures, failures)
	}
}

func TestFirstReadFails(t *testing.T) {
	dir := t.TempDir()
	good, missing, large, pipe := dir+"/good", dir+"/missing", dir+"/large", dir+"/pipe"
	if err := errors.Join(os.WriteFile(good, []byte("content"), 0o600), os.WriteFile(large, make([]byte, 5<<20), 0o600),
		syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused by apply")
	tests := []struct {
		name  string
		paths []string
		apply error
		want  string
	}{
		{"missing", []string{good, missing}, nil, missing},
		{"larger than any file may be", []string{good, large}, nil, large},
		{"a directory", []string{dir}, nil, dir},
		{"a pipe, which would block", []string{pipe}, nil, pipe},
		{"refused by apply", []string{good}, refused, refused.Error()},
		{"no path", nil, nil, "needs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := reload.New(every, tt.paths, func([][]byte) error { return tt.apply }, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestChangeIsAppliedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, "a1", "a2")
		f.run(t)
		f.want([]string{"a1 a2"})
		pass(3 * every)
		f.want([]string{"a1 a2"})
		f.write("first", "a3")
		pass(3 * every)
		f.want([]string{"a1 a2", "a3 a2"})
	})
}

// TestSymlinkSwap replaces the files as Kubernetes does: the files stay, a link above them changes.
func TestSymlinkSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, version := range []string{"v1", "v2"} {
			if err := errors.Join(os.Mkdir(dir+"/"+version, 0o700),
				os.WriteFile(dir+"/"+version+"/file", []byte(version), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Symlink("v1", dir+"/data"), os.Symlink("data/file", dir+"/file")); err != nil {
			t.Fatal(err)
		}
		f := &follower{t: t, dir: dir}
		var err error
		f.watcher, err = reload.New(every, []string{f.path("file")}, func(contents [][]byte) error {
			return f.apply(string(contents[0]))
		}, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		f.run(t)
		if err := errors.Join(os.Symlink("v2", dir+"/new"), os.Rename(dir+"/new", dir+"/data")); err != nil {
			t.Fatal(err)
		}
		pass(2 * every)
		f.want([]string{"v1", "v2"})
	})
}

func TestBadContentKeepsTheOldAndIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, "a1", "a2")
		f.run(t)
		f.write("first", "b1")
		pass(10 * every)
		f.want([]string{"a1 a2"}, "do not match")
		f.write("first", "c1") // bad in another way: said again
		pass(10 * every)
		f.want([]string{"a1 a2"}, "do not match", "do not match")
		f.write("first", "a1") // what is in force: nothing to do
		pass(10 * every)
		f.want([]string{"a1 a2"}, "do not match", "do not match")
		f.write("first", "c1") // after a good state the same fault is news
		pass(10 * every)
		f.want([]string{"a1 a2"}, "do not match", "do not match", "do not match")
	})
}

func TestMissingFileKeepsTheOldAndIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, "a1", "a2")
		f.run(t)
		f.remove("second")
		pass(10 * every)
		f.want([]string{"a1 a2"}, "no such file")
		f.write("second", "a2")
		pass(2 * every)
		f.want([]string{"a1 a2"}, "no such file")
		f.remove("second")
		pass(10 * every)
		f.want([]string{"a1 a2"}, "no such file", "no such file")
		f.write("second", "a4")
		pass(2 * every)
		f.want([]string{"a1 a2", "a1 a4"}, "no such file", "no such file")
	})
}

// TestRefusalMayPass: a certificate that is not valid yet becomes valid without a change of its file.
func TestRefusalMayPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &follower{t: t, dir: t.TempDir()}
		f.write("file", "old")
		from := time.Now().Add(5 * every)
		var err error
		f.watcher, err = reload.New(every, []string{f.path("file")}, func(contents [][]byte) error {
			if string(contents[0]) == "new" && time.Now().Before(from) {
				return errors.New("not valid yet")
			}
			return f.apply(string(contents[0]))
		}, f.fail)
		if err != nil {
			t.Fatal(err)
		}
		f.run(t)
		f.write("file", "new")
		pass(4 * every)
		f.want([]string{"old"}, "not valid yet")
		pass(3 * every)
		f.want([]string{"old", "new"}, "not valid yet")
	})
}

// TestHalfWayStateIsNotTaken replaces two files one after the other, across the moment at which they are looked at.
func TestHalfWayStateIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, "a1", "a2")
		f.run(t)
		pass(every - 100*time.Millisecond)
		f.write("first", "b1")
		pass(200 * time.Millisecond) // looked at: b1 a2
		f.watcher.Now()              // does not hurry a state that has not held still
		pass(100 * time.Millisecond)
		f.write("second", "b2")
		pass(every)
		f.want([]string{"a1 a2", "b1 b2"})
	})
}

func TestNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, "a1", "a2")
		f.run(t)
		f.write("first", "a3")
		pass(settled)
		f.want([]string{"a1 a2"})
		for range 100 {
			f.watcher.Now()
		}
		pass(settled)
		f.want([]string{"a1 a2", "a3 a2"})
	})
}
