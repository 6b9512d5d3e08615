// Package reload reads files, and reads them again when they change.
//
// It looks at what the files hold, at intervals, and not at notifications: Kubernetes replaces a mounted file by
// swapping a symbolic link further up, which those miss. It knows paths and bytes. It must not know what the bytes
// mean: whoever is given them checks them and swaps them in.
package reload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// maxBytes bounds each file. Policies, certificates and keys are far smaller.
	maxBytes = 4 << 20

	// settle is how long a change must hold still before it is applied. A file that is being written, or a key whose
	// certificate has not followed yet, is not taken for the new state.
	settle = 500 * time.Millisecond
)

// Watcher holds a group of files that belong together, such as a certificate and its key.
type Watcher struct {
	paths  []string
	every  time.Duration
	apply  func(contents [][]byte) error
	failed func(error)
	now    chan struct{}

	// Of New and then of Run alone. A state is a hash of the contents, or of the error there was instead.
	applied, seen [sha256.Size]byte
	complained    string
}

// New reads the files and gives their contents, in the order of paths, to apply, which checks them and swaps them in.
// An error of either is New's.
//
// Afterwards Run does the same whenever a content has changed. What is bad or missing then changes nothing: it is
// tried again at every look, and told to failed once for each state that is different. The functions are never called
// at the same time. They must not keep the contents of secret files in their errors; errors of this package name a
// path and no content.
func New(
	every time.Duration, paths []string, apply func(contents [][]byte) error, failed func(error),
) (*Watcher, error) {
	if every <= 0 || len(paths) == 0 {
		return nil, errors.New("reload: needs an interval and a path")
	}
	w := &Watcher{paths: paths, every: every, apply: apply, failed: failed, now: make(chan struct{}, 1)}
	contents, state, err := w.read()
	if err != nil {
		return nil, err
	}
	if err := apply(contents); err != nil {
		return nil, err
	}
	w.applied, w.seen = state, state
	return w, nil
}

// Now makes Run look at once instead of at its next interval. It does not wait for that. Calls that come faster than
// Run looks count as one.
func (w *Watcher) Now() {
	select {
	case w.now <- struct{}{}:
	default:
	}
}

// Run looks at the files until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	wait, now := w.every, w.now
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-now:
			timer.Stop()
		case <-timer.C:
		}
		wait, now = w.every, w.now
		if w.look() {
			wait, now = min(settle, w.every), nil // not to be cut short: see settle
		}
	}
}

// look reads the files once, and applies a state that is new and has held still. It reports whether it has found one
// that must be looked at again soon.
func (w *Watcher) look() (unsettled bool) {
	contents, state, err := w.read()
	if state == w.applied {
		w.seen, w.complained = state, ""
		return false
	}
	if state != w.seen {
		w.seen = state
		return true
	}
	if err == nil {
		err = w.apply(contents)
	}
	if err == nil {
		w.applied, w.complained = state, ""
		return false
	}
	if complaint := string(state[:]) + err.Error(); complaint != w.complained {
		w.complained = complaint
		w.failed(err)
	}
	return false
}

func (w *Watcher) read() (contents [][]byte, state [sha256.Size]byte, err error) {
	whole := sha256.New()
	for _, path := range w.paths {
		content, err := Read(path)
		if err != nil {
			return nil, sha256.Sum256([]byte("error: " + err.Error())), err
		}
		sum := sha256.Sum256(content)
		whole.Write(sum[:])
		contents = append(contents, content)
	}
	return contents, [sha256.Size]byte(whole.Sum(nil)), nil
}

// Read reads one file, bounded, with the errors that New has.
func Read(path string) ([]byte, error) {
	// A pipe would block when it is opened, and could not be read twice.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path) //nolint:gosec // G304: the path is a setting of the operator's
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > maxBytes:
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxBytes)
	}
	return content, nil
}
