package parity

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
)

// page is docs/errors.md, as callers in any language read it. Every error of this server that a test of this package
// gets is held to its row, and every row has to be met by some test.
var page errorPage

type errorPage struct {
	once sync.Once
	rows map[string]pageRow
	err  error

	mu   sync.Mutex
	seen map[string]bool // the gRPC codes and HTTP statuses that were met: "REASON code"
}

// pageRow is what callers are told of a reason.
type pageRow struct {
	grpc, http []string
}

// notProvoked are what no caller of a server that is in order is ever told: of defects there are none, and who has gone
// hears nothing.
var notProvoked = map[string]bool{"INTERNAL": true, "CANCELLED": true}

func (p *errorPage) read() {
	p.rows, p.seen = make(map[string]pageRow), make(map[string]bool)
	text, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		p.err = err
		return
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| ([^|]+) \\| ([^|]+) \\|").FindAllStringSubmatch(string(text), -1) {
		row := pageRow{}
		for _, code := range regexp.MustCompile("`([A-Z_]+)`").FindAllStringSubmatch(m[2], -1) {
			row.grpc = append(row.grpc, code[1])
		}
		row.http = regexp.MustCompile(`[0-9]{3}`).FindAllString(m[3], -1)
		p.rows[m[1]] = row
	}
}

// holds compares an error of this server with its row.
func (p *errorPage) holds(t *testing.T, got verdict) {
	t.Helper()
	p.once.Do(p.read)
	if p.err != nil {
		t.Fatal(p.err)
	}
	row, ok := p.rows[got.reason]
	switch {
	case got.domain == ours && !ok:
		t.Errorf("docs/errors.md does not tell of %s", got.reason)
	case !ok: // REST does not say whose the type is; Stytch's are not in the table
	case got.domain == ours:
		p.met(t, got.reason, screaming(got.code), row.grpc)
	case got.domain == "" && got.http != 0:
		p.met(t, got.reason, strconv.Itoa(got.http), row.http)
	}
}

func (p *errorPage) met(t *testing.T, reason, status string, told []string) {
	t.Helper()
	if !slices.Contains(told, status) {
		t.Errorf("docs/errors.md says %v for %s, a caller gets %s", told, reason, status)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[reason+" "+status] = true
}

// unseen reports, after all tests, which codes and statuses of the page no test has met, and returns the exit code.
func (p *errorPage) unseen() int {
	code := 0
	for _, reason := range slices.Sorted(maps.Keys(p.rows)) {
		row := p.rows[reason]
		for _, status := range slices.Concat(row.grpc, row.http) {
			if !p.seen[reason+" "+status] && !notProvoked[reason] {
				fmt.Printf("docs/errors.md says %s for %s, and no test of test/parity has met that\n", status, reason)
				code = 1
			}
		}
	}
	return code
}

// screaming is how pages write a gRPC code: InvalidArgument is INVALID_ARGUMENT.
func screaming(code codes.Code) string {
	if code == codes.Canceled {
		return "CANCELLED"
	}
	return strings.ToUpper(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(code.String(), "${1}_$2"))
}

func flagGiven(name string) bool {
	f := flag.Lookup(name)
	return f != nil && f.Value.String() != ""
}
