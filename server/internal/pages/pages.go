// Package pages is what a person sees at the admin door: one page that says how the process does, and the reference of
// the REST door, which can call it when a sandbox is behind.
//
// Its numbers are the process's own metrics, and its reference is the OpenAPI document. It knows their names, HTTP and
// HTML. It knows no credential: who may look is decided before a request gets here, and so is what a browser may do with
// any answer of the admin door. It shows no code, no token, and nobody whom a call was about.
package pages

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"recoverycodes.internal/server/internal/telemetry"
)

// The pages load nothing but the files beside them, run no script but the one file, and stand in nobody's frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

//go:embed assets
var assets embed.FS

// Options are what the pages are made from.
type Options struct {
	Metrics   prometheus.Gatherer
	Unsettled func() []telemetry.Unsettled // the latest first
	OpenAPI   []byte
	Upstream  string // where calls go, for people

	// Try is the REST door, for the reference to call; nil when what is behind it is real.
	Try http.Handler
	// Examples are values by the names of fields, to begin with when trying; there need not be any.
	Examples map[string]string
}

// Pages serves the pages, at / and below /docs. It is safe for concurrent use.
type Pages struct {
	options   Options
	mux       *http.ServeMux
	status    *template.Template
	reference []byte // it does not change, so it is made once
	history   *history
}

// New returns the pages. An OpenAPI document that cannot be shown is an error. Run keeps their history.
func New(options Options) (*Pages, error) {
	templates, err := template.New("").Funcs(functions).ParseFS(assets, "assets/*.html")
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	p := &Pages{
		options: options,
		mux:     http.NewServeMux(),
		status:  templates.Lookup("status.html"),
		history: newHistory(time.Now()),
	}
	document, err := parseReference(options.OpenAPI, options.Examples)
	if err != nil {
		return nil, fmt.Errorf("pages: the OpenAPI document: %w", err)
	}
	var page bytes.Buffer
	err = templates.ExecuteTemplate(&page, "docs.html", struct {
		*reference
		Try bool
	}{document, options.Try != nil})
	if err != nil {
		return nil, fmt.Errorf("pages: %w", err)
	}
	p.reference = page.Bytes()

	p.mux.HandleFunc("GET /{$}", p.serveStatus)
	p.mux.HandleFunc("GET /docs", func(w http.ResponseWriter, _ *http.Request) { send(w, htmlType, p.reference) })
	p.mux.Handle("GET /docs/{$}", http.RedirectHandler("../docs", http.StatusMovedPermanently))
	p.mux.HandleFunc("GET /docs/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		send(w, "application/json", options.OpenAPI)
	})
	for name, kind := range map[string]string{
		"style.css": "text/css; charset=utf-8", "reference.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		content, err := assets.ReadFile("assets/" + name)
		if err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
		p.mux.HandleFunc("GET /docs/"+name, func(w http.ResponseWriter, _ *http.Request) { send(w, kind, content) })
	}
	if options.Try != nil {
		p.mux.HandleFunc("POST /docs/try", p.try)
	}
	return p, nil
}

// ServeHTTP implements http.Handler.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", policy)
	p.mux.ServeHTTP(w, r)
}

const htmlType = "text/html; charset=utf-8"

func send(w http.ResponseWriter, kind string, content []byte) {
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(content) // whoever asked may have gone
}

// Run keeps the history until ctx ends.
func (p *Pages) Run(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			p.history.add(sampleOf(p.gather(), now))
		case <-ctx.Done():
			return
		}
	}
}

// serveStatus makes the whole page before it sends any of it, so that a failure is not half a page.
func (p *Pages) serveStatus(w http.ResponseWriter, _ *http.Request) {
	var page bytes.Buffer
	if err := p.status.Execute(&page, p.statusNow(time.Now())); err != nil {
		http.Error(w, "the page cannot be made", http.StatusInternalServerError)
		return
	}
	send(w, htmlType, page.Bytes())
}
