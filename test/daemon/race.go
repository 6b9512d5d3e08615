//go:build race

package daemon

// raceEnabled makes the daemon as watchful as the test that runs it.
const raceEnabled = true
