//go:build !race

package attack

// watchfulness is what the race detector makes of a process's memory: nothing without it.
const watchfulness = 1
