package audit

import (
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// lookEvery is how often, at most, a target looks whether its file has been moved away.
const lookEvery = time.Second

// target is where lines go: a file that has a path, or a writer that somebody else has opened. Its methods are for one
// goroutine, but for close.
type target struct {
	path   string
	file   atomic.Pointer[os.File] // nil for a writer
	writer io.Writer
	looked time.Time // when the path was last compared with the file
}

// open opens the file of the path and, when that succeeds, closes the one before.
func (t *target) open() error {
	// O_NONBLOCK is for named pipes: to open one that nobody reads is an error then instead of a wait without end.
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE | syscall.O_NONBLOCK
	file, err := os.OpenFile(t.path, flags, 0o600)
	if err != nil {
		return err
	}
	if err := endLine(file); err != nil {
		_ = file.Close()
		return err
	}
	t.close()
	t.file.Store(file)
	t.writer, t.looked = file, time.Now()
	return nil
}

// endLine ends the last line of a file that breaks off in the middle, as after a crash, so that the next one is whole.
func endLine(file *os.File) error {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return err
	}
	reader, err := os.Open(file.Name())
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }()
	var last [1]byte
	if _, err := reader.ReadAt(last[:], info.Size()-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		_, err = file.WriteString("\n")
	}
	return err
}

// moved reports whether the path does not name the file any more: it was renamed or removed, as log rotation does. It
// looks again only after some time, unless it is told to look now.
func (t *target) moved(now bool) bool {
	file := t.file.Load()
	if file == nil || !now && time.Since(t.looked) < lookEvery {
		return false
	}
	t.looked = time.Now()
	named, err := os.Stat(t.path)
	if err != nil {
		return true
	}
	opened, err := file.Stat()
	return err != nil || !os.SameFile(named, opened)
}

// close closes the file, which ends a write to a pipe that is under way, and leaves a writer alone.
func (t *target) close() {
	if file := t.file.Load(); file != nil {
		_ = file.Close() // nothing is buffered here that this could lose
	}
}
