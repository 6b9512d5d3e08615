package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// line is a line that is told from others by its request id.
func line(id string) Line {
	l := exampleLine()
	l.RequestID = id
	return l
}

// ids are the request ids of the lines in content, each of which must be a whole one.
func ids(t *testing.T, content []byte) []string {
	t.Helper()
	out := []string{}
	for text := range bytes.Lines(content) {
		if !bytes.HasSuffix(text, []byte("\n")) {
			t.Errorf("the last line breaks off: %q", text)
		}
		out = append(out, decode(t, text).RequestID)
	}
	return out
}

func names(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(prefix, i)
	}
	return out
}

func wantLines(t *testing.T, content []byte, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, ids(t, content)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func open(t *testing.T, path string, options Options) *Log {
	t.Helper()
	if options.Places == 0 {
		options.Places = 1000
	}
	l, err := Open(path, nil, options)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closed(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// eventually waits for what happens outside of this process's clock.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: it does not come to that", what)
		}
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for _, id := range []string{"first", "second"} { // two lives of a server
		l := open(t, path, Options{})
		l.Write(line(id + " written"))
		place, err := l.Reserve()
		if err != nil {
			t.Fatal(err)
		}
		place.Write(line(id + " reserved"))
		closed(t, l)
	}
	wantLines(t, read(t, path), "first written", "first reserved", "second written", "second reserved")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, want 0600", info.Mode())
	}
}

// TestWrittenThrough holds that a line does not wait for others, nor for the end.
func TestWrittenThrough(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, path, Options{})
	defer closed(t, l)
	for i, id := range names("line ", 3) {
		l.Write(line(id))
		eventually(t, id, func() bool { return len(ids(t, read(t, path))) == i+1 })
	}
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		places     int
		want       error
	}{
		{"no such directory", filepath.Join(dir, "none", "audit.log"), 1, os.ErrNotExist},
		{"a directory", dir, 1, syscall.EISDIR},
		{"a pipe that nobody reads", pipe, 1, syscall.ENXIO},
		{"no places", filepath.Join(dir, "audit.log"), 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := Open(tt.path, nil, Options{Places: tt.places})
			if err == nil {
				closed(t, l)
				t.Fatal("the log was opened")
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestTornFile opens a file whose last line breaks off, as a crash leaves it.
func TestTornFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	whole := line("whole")
	content := whole.appendTo(nil)
	torn := append(content, content[:40]...)
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, path, Options{})
	l.Write(line("after"))
	closed(t, l)
	rest, ok := bytes.CutPrefix(read(t, path), append(torn, '\n'))
	if !ok {
		t.Fatalf("the torn line was not ended: %q", read(t, path))
	}
	wantLines(t, rest, "after")
}

func TestRotation(t *testing.T) {
	for _, tt := range []struct {
		name   string
		remove bool // the file, instead of renaming it
		reopen bool // tell the log, instead of having it see
	}{
		{"renamed and seen", false, false},
		{"renamed and told", false, true},
		{"removed and seen", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "audit.log")
			l := open(t, path, Options{})
			l.Write(line("old"))
			eventually(t, "the first line", func() bool { return len(read(t, path)) > 0 })
			if tt.remove {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			} else if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			exists := func() bool { _, err := os.Stat(path); return err == nil }
			if tt.reopen {
				old := l.target.file.Load()
				l.Reopen()
				eventually(t, "a new file", exists)
				eventually(t, "the end of the old file", func() bool { _, err := old.Stat(); return errors.Is(err, os.ErrClosed) })
				l.Write(line("new"))
				closed(t, l)
				wantLines(t, read(t, path+".1"), "old")
				wantLines(t, read(t, path), "new")
				return
			}
			written := 0
			eventually(t, "a new file", func() bool { l.Write(line("new")); written++; return exists() })
			closed(t, l)
			content := read(t, path)
			if !tt.remove {
				content = append(read(t, path+".1"), content...)
				written++
			}
			if got := len(ids(t, content)); !tt.remove && got != written {
				t.Errorf("%d lines in both files, want %d", got, written)
			}
		})
	}
}

// TestRotationFails takes the directory away: lines wait until the path can be opened, and none is written to a file
// that has no name.
func TestRotationFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	path := filepath.Join(dir, "audit.log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l := open(t, path, Options{})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	eventually(t, "not ready", func() bool { return errors.Is(l.Ready(), os.ErrNotExist) })
	l.Write(line("kept"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", func() bool { return l.Ready() == nil })
	closed(t, l)
	wantLines(t, read(t, path), "kept")
}

// TestFullDisk writes to the device that has no space left, which then is replaced.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	l := open(t, path, Options{})
	place, err := l.Reserve() // before anybody knows that the disk is full
	if err != nil {
		t.Fatal(err)
	}
	l.Write(line("refused"))
	eventually(t, "not ready", func() bool { return errors.Is(l.Ready(), syscall.ENOSPC) })
	if _, err := l.Reserve(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a place was reserved on a full disk: %v", err)
	}
	place.Write(line("admitted"))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", func() bool { return l.Ready() == nil })
	l.Write(line("after"))
	closed(t, l)
	wantLines(t, read(t, path), "refused", "admitted", "after")
}

func TestCloseOnAFullDisk(t *testing.T) {
	l := open(t, "/dev/full", Options{})
	for _, id := range names("line ", 3) {
		l.Write(line(id))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := l.Close(ctx)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), " 3 lines") {
		t.Errorf("got %v, want three lines lost for want of space", err)
	}
}

// TestFileSizeLimit has the system write half a line and refuse the rest.
func TestFileSizeLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	one := line("line 0")
	size := len(one.appendTo(nil))
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	restore := func() { _ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before) }
	defer restore()
	limit := syscall.Rlimit{Cur: uint64(2*size + size/2), Max: before.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Skipf("the size of files cannot be limited here: %v", err)
	}
	l := open(t, path, Options{})
	want := names("line ", 6)
	for _, id := range want {
		l.Write(line(id))
	}
	eventually(t, "not ready", func() bool { return errors.Is(l.Ready(), syscall.EFBIG) })
	if got := len(read(t, path)); got != 2*size+size/2 {
		t.Fatalf("the file has %d bytes, want two and a half lines of %d", got, size)
	}
	restore()
	eventually(t, "ready", func() bool { return l.Ready() == nil })
	closed(t, l)
	wantLines(t, read(t, path), want...)
}

// TestRotationOfATornLine renames a file that ends in half a line: the other half is added to it, or else the line is
// in the new file as a whole.
func TestRotationOfATornLine(t *testing.T) {
	for _, tt := range []struct {
		name     string
		healed   bool // there is room in the old file again
		old, new []string
	}{
		{"completed", true, []string{"whole", "torn"}, []string{"next"}},
		{"repeated", false, nil, []string{"torn", "next"}},
	} {
		path := filepath.Join(t.TempDir(), "audit.log")
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				whole := line("whole")
				old := &faulty{limit: len(whole.appendTo(nil)) + 100}
				l := open(t, path, Options{})
				l.target.writer = old // in place of the file that has the path
				l.Write(line("whole"))
				l.Write(line("torn"))
				synctest.Wait()
				if l.Ready() == nil {
					t.Fatal("the log is ready")
				}
				l.Write(line("next"))
				if err := os.Rename(path, path+".1"); err != nil {
					t.Fatal(err)
				}
				if tt.healed {
					old.heal()
				}
				time.Sleep(lastRetry)
				closed(t, l)
				wantLines(t, read(t, path), tt.new...)
				if tt.healed {
					wantLines(t, old.content, tt.old...)
				} else if len(old.content) != old.limit {
					t.Errorf("the old file has %d bytes, want %d", len(old.content), old.limit)
				}
			})
		})
	}
}

// pipe returns a log that writes into a named pipe, and the pipe's reader.
func pipe(t *testing.T, options Options) (*Log, *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return open(t, path, options), r
}

// TestBlockedPipe fills a pipe that nobody empties for a while. Nobody who writes a line waits, and no line is lost.
func TestBlockedPipe(t *testing.T) {
	t.Parallel()
	var changes atomic.Int32
	l, r := pipe(t, Options{OnChange: func(error) { changes.Add(1) }, OnDrop: func() { t.Error("a line was dropped") }})
	place, err := l.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	want := names("line ", 900) // of more than 64 KB in all, what a pipe holds
	start := time.Now()
	for _, id := range want {
		l.Write(line(id))
	}
	if took := time.Since(start); took > stall {
		t.Errorf("writing took %v", took)
	}
	eventually(t, "not ready", func() bool { return errors.Is(l.Ready(), errStalled) })
	if _, err := l.Reserve(); !errors.Is(err, errStalled) {
		t.Errorf("a place was reserved behind a blocked pipe: %v", err)
	}
	place.Write(line("admitted"))
	want = append(want, "admitted")

	var content []byte
	buffer := make([]byte, 1<<16)
	for bytes.Count(content, []byte("\n")) < len(want) {
		n, err := r.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, buffer[:n]...)
	}
	eventually(t, "ready", func() bool { return l.Ready() == nil })
	closed(t, l)
	wantLines(t, content, want...)
	if got := changes.Load(); got != 2 {
		t.Errorf("%d changes were told, want 2: blocked and free again", got)
	}
}

// TestCloseOfABlockedPipe gives the lines up when the time is over, and leaves no goroutine behind.
func TestCloseOfABlockedPipe(t *testing.T) {
	t.Parallel()
	l, _ := pipe(t, Options{})
	for _, id := range names("line ", 900) {
		l.Write(line(id))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "lines are lost") {
		t.Errorf("got %v, want lost lines", err)
	}
	<-l.done
}

// TestReaderGone has the reader of a pipe go away and another one come.
func TestReaderGone(t *testing.T) {
	l, r := pipe(t, Options{})
	_ = r.Close()
	l.Write(line("kept"))
	eventually(t, "not ready", func() bool { return errors.Is(l.Ready(), syscall.EPIPE) })
	again, err := os.OpenFile(r.Name(), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	eventually(t, "ready", func() bool { return l.Ready() == nil })
	closed(t, l)
	content := make([]byte, 1<<12)
	n, err := again.Read(content)
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, content[:n], "kept")
}

// TestConcurrency writes from many goroutines while the file is rotated. Each line is there once, and those of one
// goroutine are in order.
func TestConcurrency(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	l := open(t, path, Options{Places: 8 * 500})
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 500 {
				id := fmt.Sprintf("%d %d", w, i)
				if i%2 == 0 {
					l.Write(line(id))
					continue
				}
				place, err := l.Reserve()
				if err != nil {
					t.Errorf("reserve: %v", err)
					return
				}
				place.Write(line(id))
				place.Release()
			}
		})
	}
	rotations := 5
	for i := range rotations {
		if err := os.Rename(path, fmt.Sprint(path, ".", i)); err != nil {
			t.Fatal(err)
		}
		l.Reopen()
		eventually(t, "a new file", func() bool { _, err := os.Stat(path); return err == nil })
	}
	writers.Wait()
	closed(t, l)
	var content []byte
	for i := range rotations {
		content = append(content, read(t, fmt.Sprint(path, ".", i))...)
	}
	content = append(content, read(t, path)...)
	next := make(map[int]int)
	for _, id := range ids(t, content) {
		var w, i int
		if _, err := fmt.Sscan(id, &w, &i); err != nil {
			t.Fatal(err)
		}
		if next[w] != i {
			t.Fatalf("line %d of goroutine %d comes after line %d", i, w, next[w]-1)
		}
		next[w]++
	}
	for w := range 8 {
		if next[w] != 500 {
			t.Errorf("%d lines of goroutine %d, want 500", next[w], w)
		}
	}
}

// TestRecovery has a writer fail in every way, after any number of bytes, in a time of its own.
func TestRecovery(t *testing.T) {
	for _, limit := range []int{0, 1, 100, 369, 1000, 1234} {
		for _, silent := range []bool{false, true} {
			t.Run(fmt.Sprintf("after %d bytes, silent %v", limit, silent), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &faulty{limit: limit, silent: silent}
					var told []error
					l, err := Open(Stdout, w, Options{Places: 20, OnChange: func(err error) { told = append(told, err) }})
					if err != nil {
						t.Fatal(err)
					}
					var want []string
					for _, id := range names("line ", 12) {
						l.Write(line(id))
						want = append(want, id)
						synctest.Wait()
					}
					if l.Ready() == nil {
						t.Fatal("the log is ready")
					}
					time.Sleep(10 * time.Second) // many retries, all in vain
					l.Write(line("late"))
					synctest.Wait()
					w.heal()
					time.Sleep(lastRetry)
					synctest.Wait()
					if err := l.Ready(); err != nil {
						t.Fatalf("the log is not ready: %v", err)
					}
					l.Write(line("after"))
					closed(t, l)
					wantLines(t, w.content, append(want, "late", "after")...)
					if len(told) != 2 || told[0] == nil || told[1] != nil {
						t.Errorf("told %v, want a failure and its end", told)
					}
				})
			})
		}
	}
}
