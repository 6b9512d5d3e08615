package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// head is what the generator and the canned upstream read of an HTTP/1.1 message: its first bytes and how its body ends.
type head struct {
	first   [12]byte // "HTTP/1.1 200" of an answer, the method and some of the path of a request
	length  int      // -1 when not said
	chunked bool
}

var (
	contentLength    = []byte("content-length:")
	transferEncoding = []byte("transfer-encoding:")
	errHead          = errors.New("malformed HTTP/1.1 message")
)

func readHead(in *bufio.Reader) (head, error) {
	h := head{length: -1}
	line, err := in.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	copy(h.first[:], line)
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case err != nil:
			return h, err
		case len(line) <= 2:
			return h, nil
		case hasPrefixFold(line, contentLength):
			if h.length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil {
				return h, errHead
			}
		case hasPrefixFold(line, transferEncoding):
			h.chunked = true
		}
	}
}

func hasPrefixFold(line, prefix []byte) bool {
	return len(line) >= len(prefix) && bytes.EqualFold(line[:len(prefix)], prefix)
}

// skipBody passes the body of an answer and returns its length.
func (h *head) skipBody(in *bufio.Reader) (int, error) {
	if !h.chunked {
		if h.length < 0 {
			return 0, errHead
		}
		return in.Discard(h.length)
	}
	total := 0
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return total, err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return total, fmt.Errorf("chunk size: %w", errHead)
		}
		if _, err := in.Discard(int(size) + len("\r\n")); err != nil {
			return total, err
		}
		if size == 0 {
			return total, nil
		}
		total += int(size)
	}
}
