package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cores returns the core of the generator and the canned upstream, and that of the server under test.
func cores() (generator, server int, err error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return 0, 0, err
	}
	if allowed.Count() < 2 {
		return 0, 0, errors.New("the bench needs two cores: one for the server, one for what loads it")
	}
	var found []int
	for core := 0; len(found) < allowed.Count(); core++ {
		if allowed.IsSet(core) {
			found = append(found, core)
		}
	}
	return found[0], found[len(found)-1], nil
}

// pinSelf keeps this process on one core from now on. Threads that come later inherit that.
func pinSelf(core int) error {
	runtime.GOMAXPROCS(1)
	var only unix.CPUSet
	only.Set(core)
	for range 2 { // a thread that was made during the first pass is met by the second
		tasks, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			return err
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(filepath.Base(task))
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(id, &only); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("pinning to core %d: %w", core, err)
			}
		}
	}
	return nil
}

// startOn starts a command that never runs anywhere but on one core: a process inherits the cores of the thread that
// starts it, so that a Go program finds one core and schedules for one.
func startOn(core int, command *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	only.Set(core)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return err
	}
	return errors.Join(command.Start(), unix.SchedSetaffinity(0, &before))
}

// cpuTime is what a process has spent, in user mode and in the kernel, over all its threads. It is the process's own
// CPU clock: nanoseconds, where /proc/PID/stat counts ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	const wholeProcess = 2 // CPUCLOCK_SCHED of clock_getcpuclockid(3)
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|wholeProcess), &spent); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(spent.Nano()), nil
}

// stolen is for how long in all a hypervisor has kept these cores from this machine while it wanted them. The kernel
// counts it in hundredths of a second.
func stolen(cores ...int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return readStolen(string(text), cores...)
}

// resident is the memory of a process that is in RAM, in bytes.
func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, errors.New("no resident set in statm")
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// ticker returns a file of which each Read of eight bytes waits for a tick and yields how many there were. It is a timer
// of the kernel's, because a sleeping Go program wakes up to a millisecond late.
func ticker(period time.Duration) (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	each := unix.NsecToTimespec(period.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: each, Value: each}, nil); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "ticker"), nil
}

// kernel is the release of the running kernel, major and minor.
func kernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "unknown"
	}
	parts := strings.SplitN(unix.ByteSliceToString(name.Release[:]), ".", 3)
	return strings.Join(parts[:min(len(parts), 2)], ".")
}
