package client

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A version that differs from the last in nothing that the file system tells is found when the time has come.
func TestFilesAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	written := time.Now().Add(-time.Hour)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, written, written); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	reads := 0
	f, err := readFiles(func(contents [][]byte) (string, error) {
		reads++
		return string(contents[0]), nil
	}, path)
	if err != nil {
		t.Fatal(err)
	}
	write("two")
	if got := f.get(); got != "one" || reads != 1 {
		t.Errorf("get() = %q after %d reads, want the first value without another read", got, reads)
	}
	f.read = f.read.Add(-readAgain)
	for range 2 {
		if got := f.get(); got != "two" || reads != 2 {
			t.Errorf("get() = %q after %d reads, want the second value after one more", got, reads)
		}
	}
}
