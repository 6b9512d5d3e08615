package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// A secret is what a command reads from a prompt or from a line of standard input.
type secret struct {
	name  string
	limit int // in bytes, against a wrong file: what is right is the service's to judge
}

// Codes can be imported in any format, and a JWT can have many claims.
var recoveryCode = secret{"recovery code", 4096}

func sessionToken(name string) secret { return secret{strings.ReplaceAll(name, "-", " "), 16 << 10} }

// A secretReader reads one secret after the other: from a terminal after a prompt on stderr and without echo, from
// anything else a line each.
type secretReader struct {
	stderr   io.Writer
	lines    *bufio.Reader
	terminal int
	isPerson bool
}

func newSecretReader(stdin io.Reader, stderr io.Writer) *secretReader {
	r := &secretReader{stderr: stderr, lines: bufio.NewReader(stdin)}
	r.terminal, r.isPerson = terminal(stdin)
	return r
}

// read reads a secret. When ctx ends first it returns at once; the read itself cannot be stopped and goes on until the
// process ends or its input does.
func (r *secretReader) read(ctx context.Context, s secret) (string, error) {
	read := func() (string, error) { return readLine(r.lines, s.limit) }
	if r.isPerson {
		before, err := term.GetState(r.terminal)
		if err != nil {
			return "", fmt.Errorf("terminal: %w", err)
		}
		defer func() {
			_ = term.Restore(r.terminal, before) // of use when the read is given up: it has switched echo off
			_, _ = fmt.Fprintln(r.stderr)
		}()
		_, _ = fmt.Fprint(r.stderr, strings.ToUpper(s.name[:1])+s.name[1:]+": ")
		read = func() (string, error) {
			line, err := term.ReadPassword(r.terminal)
			return string(line), err
		}
	}

	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", errInterrupted
	case given := <-done:
		switch {
		case given.err != nil && !errors.Is(given.err, io.EOF):
			return "", fmt.Errorf("standard input: %w", given.err)
		case given.text == "":
			return "", &usageError{"no " + s.name + " on standard input"}
		case len(given.text) > s.limit:
			return "", &usageError{fmt.Sprintf("%s: longer than %d bytes", s.name, s.limit)}
		}
		return given.text, nil
	}
}

// readLine returns the next line of r without its end, or, when the line is longer than limit, a part of it that is
// longer as well.
func readLine(r *bufio.Reader, limit int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), err
		}
		if len(line) > limit {
			return string(line), nil
		}
	}
}

// terminal returns the file descriptor of stream if a person is at it.
func terminal(stream any) (fd int, ok bool) {
	f, isFile := stream.(*os.File)
	if !isFile {
		return 0, false
	}
	fd = int(f.Fd())
	return fd, term.IsTerminal(fd)
}

func isTerminal(stream any) bool {
	_, ok := terminal(stream)
	return ok
}
