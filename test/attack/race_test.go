//go:build race

package attack

// watchfulness is by how much the race detector multiplies a process's memory: five to ten times, by its own page.
const watchfulness = 10
