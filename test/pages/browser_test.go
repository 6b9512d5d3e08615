package pages

import (
	"context"
	"flag"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var pictures = flag.String("pages.pictures", "", "a directory in which to leave pictures of the pages")

// browserLimit is far above what a page takes, for machines that are busy with other things.
const browserLimit = 60 * time.Second

// browser is one Chromium for all tests; starting it takes longer than they do.
var browser struct {
	once sync.Once
	ctx  context.Context
	err  error
	stop []context.CancelFunc
}

func startBrowser(binary string) {
	dir, err := os.MkdirTemp("", "chromium")
	if err != nil {
		browser.err = err
		return
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(binary), chromedp.UserDataDir(dir), chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // root cannot have one
	}
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	first, closeFirst := chromedp.NewContext(ctx)
	browser.stop = []context.CancelFunc{closeFirst, end, func() { _ = os.RemoveAll(dir) }}
	browser.ctx, browser.err = first, chromedp.Do(first)
}

func stopBrowser() {
	for _, stop := range browser.stop {
		stop()
	}
}

// tab is one page in a browser, which remembers what a person would see in the developer tools.
type tab struct {
	ctx context.Context

	mu       sync.Mutex
	console  []string // warnings, errors and exceptions
	requests []string // addresses
}

// open makes a tab that is gone when the test ends. Without a browser the test is skipped, unless it is mandatory.
func open(t *testing.T, scheme string, width int64) *tab {
	t.Helper()
	binary, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("RECOVERYCODES_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no chromium")
	}
	browser.once.Do(func() { startBrowser(binary) })
	if browser.err != nil {
		t.Fatal(browser.err)
	}
	p := &tab{}
	ctx, closeTab := chromedp.NewContext(browser.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.hear))
	t.Cleanup(closeTab)
	var end context.CancelFunc
	p.ctx, end = context.WithTimeout(ctx, browserLimit)
	t.Cleanup(end)
	p.do(t, chromedp.EmulateViewport(width, 900), func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return chromedp.Void{}, err
	})
	return p
}

// hear is told every event of the tab.
func (p *tab) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelInfo && e.Entry.Level != log.EntryLevelVerbose {
			p.console = append(p.console, e.Entry.Text)
		}
	case *runtime.EventConsoleAPICalled:
		p.console = append(p.console, "the page has written "+string(e.Type))
	case *runtime.EventExceptionThrown:
		p.console = append(p.console, "exception: "+e.ExceptionDetails.Text)
	}
}

func (p *tab) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// is evaluates an expression in the page.
func is[T any](t *testing.T, p *tab, expression string, options ...chromedp.EvaluateOption) T {
	t.Helper()
	value, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, options...))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// picture leaves a picture of the whole page for somebody to look at.
func (p *tab) picture(t *testing.T, name string) {
	t.Helper()
	if *pictures == "" {
		return
	}
	image, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*pictures, name+".png"), image, 0o644); err != nil {
		t.Fatal(err)
	}
}

// wasQuiet fails the test if the page complained, or asked anybody but the admin door.
func (p *tab) wasQuiet(t *testing.T, host string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range p.console {
		t.Errorf("the console says: %s", text)
	}
	if len(p.requests) < 2 {
		t.Errorf("the browser asked for %q alone", p.requests)
	}
	for _, address := range p.requests {
		if u, err := url.Parse(address); err != nil || u.Host != host {
			t.Errorf("the page asked for %s", address)
		}
	}
}

// fits fails the test if the page has to be scrolled sideways.
func (p *tab) fits(t *testing.T) {
	t.Helper()
	if over := is[int](t, p, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		widest := is[string](t, p, `[...document.querySelectorAll('*')].reduce((a, b) =>
			b.getBoundingClientRect().right > a.getBoundingClientRect().right ? b : a).outerHTML.slice(0, 200)`)
		t.Errorf("the page is %d pixels too wide; what reaches furthest is %s", over, widest)
	}
}
