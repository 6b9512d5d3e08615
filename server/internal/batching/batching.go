// Package batching has the doors write to their connections less often. A write is the dearest of what a call asks of the
// operating system, and both gRPC and net/http make more of them than answers of 5 KB need.
//
// The package knows connections and the pool of buffers. It changes neither what is written nor its order, and nothing
// waits for time to pass.
package batching
