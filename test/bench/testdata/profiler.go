package main

import (
	"net/http"
	_ "net/http/pprof" // registers itself with the default mux, which the server does not use
	"os"
)

func init() {
	go func() { _ = http.ListenAndServe(os.Getenv("BENCH_PROFILER"), nil) }()
}
