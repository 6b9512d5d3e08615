package client

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// maxFile bounds each file. Certificates, keys and tokens are far smaller.
	maxFile = 1 << 20

	// readAgain is after how long files are read although nothing about them has changed: a file system's clock can
	// be too coarse to tell two versions apart.
	readAgain = time.Minute
)

// A fileValue is what files say that belong together, such as a certificate and its key. It may be used by many
// goroutines at once.
//
// It looks when it is asked, and needs no goroutine. It follows symbolic links to their end, so that it sees what
// Kubernetes does to a mounted secret, which is to swap a link further up.
type fileValue[T any] struct {
	paths []string
	parse func(contents [][]byte) (T, error) // its errors must not hold contents

	mu    sync.Mutex
	files []os.FileInfo // the files that value comes from
	read  time.Time
	value T
}

// readFiles reads the files, in the order of paths.
func readFiles[T any](parse func(contents [][]byte) (T, error), paths ...string) (*fileValue[T], error) {
	f := &fileValue[T]{paths: paths, parse: parse}
	files, err := f.stat()
	if err == nil {
		err = f.load(files)
	}
	return f, err
}

// get returns what the files say. If they have become unreadable or bad, as they may be for a moment while they are
// replaced, it is what they said before.
func (f *fileValue[T]) get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	files, err := f.stat()
	if err != nil || time.Since(f.read) < readAgain && slices.EqualFunc(files, f.files, unchanged) {
		return f.value
	}
	_ = f.load(files) // the old value stands, and the next get tries again
	return f.value
}

func unchanged(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func (f *fileValue[T]) stat() ([]os.FileInfo, error) {
	files := make([]os.FileInfo, len(f.paths))
	for i, path := range f.paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() { // a pipe would block, and could not be read twice
			return nil, fmt.Errorf("%s is not a regular file", path)
		}
		files[i] = info
	}
	return files, nil
}

// load reads the files and keeps what they say. files is how they looked before: what changes meanwhile is seen by the
// next get.
func (f *fileValue[T]) load(files []os.FileInfo) error {
	contents := make([][]byte, len(f.paths))
	for i, path := range f.paths {
		content, err := readFile(path)
		if err != nil {
			return err
		}
		contents[i] = content
	}
	value, err := f.parse(contents)
	if err != nil {
		return fmt.Errorf("%s: %w", f.paths[0], err)
	}
	f.value, f.files, f.read = value, files, time.Now()
	return nil
}

func readFile(path string) (content []byte, err error) {
	file, err := os.Open(path) //nolint:gosec // the path is a setting of the program that uses this package
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err = io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return content, err
}
