package main

import (
	"net/http"
	_ "net/http/pprof" // registers itself with the default mux, which the server does not use
	"os"
	"runtime"
)

func init() {
	runtime.MemProfileRate = 16 << 10
	go func() { _ = http.ListenAndServe(os.Getenv("BENCH_PROFILER"), nil) }()
}
