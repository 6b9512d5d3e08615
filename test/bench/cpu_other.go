//go:build !linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"time"
)

var errLinux = errors.New("the bench needs Linux: it pins processes to cores and reads their CPU clocks")

func cores() (generator, server int, err error) { return 0, 0, errLinux }
func pinSelf(int) error                         { return errLinux }
func startOn(int, *exec.Cmd) error              { return errLinux }
func cpuTime(int) (time.Duration, error)        { return 0, errLinux }
func stolen(...int) (time.Duration, error)      { return 0, errLinux }
func resident(int) (int64, error)               { return 0, errLinux }
func ticker(time.Duration) (*os.File, error)    { return nil, errLinux }
func kernel() string                            { return "unknown" }
