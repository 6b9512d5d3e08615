package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"time"
)

// httpLoad calls over HTTP/1.1, a connection for each caller. It writes requests made beforehand and reads of the answers no
// more than their end: net/http's client would cost more than the servers that are measured with it.
type httpLoad struct {
	callers []*httpCaller
}

type httpCaller struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
}

// newHTTPLoad connects callers. Each of them sends the same Get.
func newHTTPLoad(address string, callers int) (*httpLoad, error) {
	request := "GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: bench\r\nAccept: application/json\r\n" +
		"Authorization: Bearer " + callerToken + "\r\n\r\n"
	l := &httpLoad{}
	for range callers {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			l.close()
			return nil, err
		}
		l.callers = append(l.callers, &httpCaller{conn, bufio.NewReaderSize(conn, 32<<10), []byte(request)})
	}
	return l, nil
}

func (l *httpLoad) close() {
	for _, c := range l.callers {
		_ = c.conn.Close()
	}
}

var ok200 = [12]byte([]byte("HTTP/1.1 200"))

func (c *httpCaller) call() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	answer, err := readHead(c.in)
	if err != nil {
		return err
	}
	if answer.first != ok200 {
		return fmt.Errorf("the answer begins with %q", answer.first)
	}
	length, err := answer.skipBody(c.in)
	if err == nil && length == 0 {
		err = errors.New("the answer is empty")
	}
	return err
}

func (l *httpLoad) saturate(d time.Duration) (int, error) {
	end := time.Now().Add(d)
	counts := make([]int, len(l.callers))
	done := make(chan error, len(l.callers))
	for i, c := range l.callers {
		go func() {
			for time.Now().Before(end) {
				if err := c.call(); err != nil {
					done <- err
					return
				}
				counts[i]++
			}
			done <- nil
		}()
	}
	err := awaitAll(done, len(l.callers))
	total := 0
	for _, n := range counts {
		total += n
	}
	return total, err
}

func (l *httpLoad) pace(rate int, d time.Duration) ([]time.Duration, error) {
	starts := make(chan time.Time, int(d.Seconds()*float64(rate))+1)
	done := make(chan error, len(l.callers))
	times := make([][]time.Duration, len(l.callers))
	for i, c := range l.callers {
		go func() {
			for at := range starts {
				if err := c.call(); err != nil {
					done <- err
					return
				}
				times[i] = append(times[i], time.Since(at))
			}
			done <- nil
		}()
	}
	err := due(rate, d, func(at time.Time) error {
		starts <- at
		return nil
	})
	close(starts)
	err = errors.Join(err, awaitAll(done, len(l.callers)))
	var all []time.Duration
	for _, some := range times {
		all = append(all, some...)
	}
	return all, err
}

func (l *httpLoad) begin() (func() error, error) {
	done := make(chan error, len(l.callers))
	for _, c := range l.callers {
		go func() { done <- c.call() }()
	}
	return func() error { return awaitAll(done, len(l.callers)) }, nil
}
