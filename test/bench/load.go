package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A load is a number of callers with open connections to one server. It is used by one goroutine.
type load interface {
	// saturate has every caller call again as soon as it is answered, for the time given, and returns how many
	// answers there were.
	saturate(time.Duration) (int, error)

	// pace makes rate calls a second for the time given, whether or not earlier ones have been answered, and returns the
	// time of each from the moment at which it was due. A call that starts late, since something was slow, counts
	// from when it should have started.
	pace(rate int, d time.Duration) ([]time.Duration, error)

	// begin starts one call of every caller, and returns what waits for the answers.
	begin() (wait func() error, err error)

	close()
}

// patience is how long a call may take before a load is given up.
const patience = 30 * time.Second

var errPatience = fmt.Errorf("a call was not answered within %v", patience)

// due calls start for each of the calls of pace, at its time, or as soon after it as this process gets to run.
func due(rate int, d time.Duration, start func(at time.Time) error) error {
	period := time.Second / time.Duration(rate)
	at := time.Now()
	clock, err := ticker(period)
	if err != nil {
		return err
	}
	defer func() { _ = clock.Close() }()
	var ticks [8]byte
	for left := int(d / period); left > 0; {
		if _, err := clock.Read(ticks[:]); err != nil {
			return err
		}
		for n := min(binary.NativeEndian.Uint64(ticks[:]), uint64(left)); n > 0; n-- {
			at = at.Add(period)
			if err := start(at); err != nil {
				return err
			}
			left--
		}
	}
	return nil
}

// await returns what done yields, or an error when it yields nothing for too long.
func await(done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return errPatience
	}
}

// each runs await for a number of answers, and joins their errors.
func awaitAll(done <-chan error, n int) error {
	var errs []error
	for range n {
		errs = append(errs, await(done))
	}
	return errors.Join(errs...)
}
