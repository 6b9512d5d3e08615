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

// maxCode bounds what is read as a code. Codes can be imported in any format, so their length is the service's to
// judge; this is only against a wrong file.
const maxCode = 4096

// readCode reads the recovery code: from a terminal after a prompt on stderr and without echo, from anything else up to
// the end of the first line. When ctx ends first it returns at once; the read itself cannot be stopped and goes on
// until the process ends or its input does.
func readCode(ctx context.Context, stdin io.Reader, stderr io.Writer) (string, error) {
	read := func() (string, error) { return readLine(stdin) }
	if f, ok := terminal(stdin); ok {
		before, err := term.GetState(f)
		if err != nil {
			return "", fmt.Errorf("terminal: %w", err)
		}
		defer func() {
			_ = term.Restore(f, before) // of use when the read is given up: it has switched echo off
			_, _ = fmt.Fprintln(stderr)
		}()
		_, _ = fmt.Fprint(stderr, "Recovery code: ")
		read = func() (string, error) {
			line, err := term.ReadPassword(f)
			return string(line), err
		}
	}

	type result struct {
		code string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		code, err := read()
		done <- result{code, err}
	}()
	select {
	case <-ctx.Done():
		return "", errInterrupted
	case r := <-done:
		switch {
		case r.err != nil && !errors.Is(r.err, io.EOF):
			return "", fmt.Errorf("standard input: %w", r.err)
		case r.code == "":
			return "", &usageError{"no recovery code on standard input"}
		case len(r.code) > maxCode:
			return "", &usageError{fmt.Sprintf("recovery code: longer than %d bytes", maxCode)}
		}
		return r.code, nil
	}
}

// readLine returns the first line of r without its end, or, when the line is too long for a code, a part of it that is
// too long as well.
func readLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxCode+3)).ReadString('\n')
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err
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
