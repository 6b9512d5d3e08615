// Command proxy is the thinnest thing that a Go programmer would put in front of Stytch: the reverse proxy of the standard
// library, which adds the credential. Its transport keeps enough connections and its copy buffers are reused; it logs
// nothing.
package main

import (
	"encoding/base64"
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"

	"recoverycodes.internal/test/bench/meter"
)

func main() {
	listen := flag.String("listen", "", "address to serve at")
	admin := flag.String("admin", "", "address to serve metrics at")
	upstream := flag.String("upstream", "", "URL of the upstream")
	allocate := flag.Bool("allocate-buffers", false, "make a copy buffer for each answer, as the proxy does by default")
	flag.Parse()
	target, err := url.Parse(*upstream)
	if err != nil {
		log.Fatal(err)
	}
	authorization := []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("project-test-bench:secret-test-bench"))}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header["Authorization"] = authorization
		},
		Transport: &http.Transport{
			MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024,
			ReadBufferSize: 16 << 10, DisableCompression: true,
		},
	}
	if !*allocate {
		proxy.BufferPool = buffers{}
	}
	go func() { log.Fatal(http.ListenAndServe(*admin, meter.Handler())) }()
	log.Fatal(http.ListenAndServe(*listen, proxy))
}

// buffers implements httputil.BufferPool.
type buffers struct{}

var pool = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// Get implements httputil.BufferPool.
func (buffers) Get() []byte { return pool.Get().(*[32 << 10]byte)[:] }

// Put implements httputil.BufferPool.
func (buffers) Put(b []byte) { pool.Put((*[32 << 10]byte)(b)) }
