package monitoring

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An expression is what a query of Prometheus asks for, without what it does with it.
type expression struct {
	selectors []selector
	labels    []string // that it groups and matches by
}

type selector struct {
	metric   string
	matchers []matcher
}

type matcher struct{ label, operator, value string }

// values are those that a matcher asks for by name. A variable of the dashboard asks for none in particular.
func (m matcher) values() []string {
	if strings.HasPrefix(m.operator, "!") || strings.ContainsAny(m.value, "$.") {
		return nil
	}
	return strings.Split(m.value, "|")
}

var (
	tokens   = regexp.MustCompile(`"[^"]*"|\[[^\]]*\]|[a-zA-Z_:][a-zA-Z0-9_:]*|[0-9][0-9a-zA-Z.]*|[{}()]|[^\s]`)
	matching = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"([^"]*)"`)

	grouping  = []string{"by", "on", "without", "ignoring", "group_left", "group_right"}
	operators = []string{"and", "or", "unless", "bool", "offset"}
)

// parse reads a query that promtool has found to be one.
func parse(query string) (e expression) {
	words := tokens.FindAllString(query, -1)
	next := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case slices.Contains(grouping, word):
			for i++; i < len(words) && words[i] != ")"; i++ {
				if words[i] != "(" && words[i] != "," {
					e.labels = append(e.labels, words[i])
				}
			}
		case !regexp.MustCompile(`^[a-zA-Z_:]`).MatchString(word), slices.Contains(operators, word):
		case next(i+1) == "(" || slices.Contains(grouping, next(i+1)): // a function
		default:
			s := selector{metric: word}
			if next(i+1) == "{" {
				end := i + 1
				for next(end) != "}" {
					end++
				}
				for _, m := range matching.FindAllStringSubmatch(strings.Join(words[i+2:end], ""), -1) {
					s.matchers = append(s.matchers, matcher{m[1], m[2], m[3]})
				}
				i = end
			}
			e.selectors = append(e.selectors, s)
		}
	}
	return e
}

func TestParse(t *testing.T) {
	for query, want := range map[string]expression{
		`up`: {selectors: []selector{{metric: "up"}}},
		`sum by (a, le) (rate(x_total{b=~"c|d", e!="f{(" }[5m])) > 14.4 * 0.001`: {
			selectors: []selector{{"x_total", []matcher{{"b", "=~", "c|d"}, {"e", "!=", "f{("}}}}, labels: []string{"a", "le"},
		},
		`a:b:c5m and count_over_time(x[1h]) < on (j, i) group_left () y offset 5m or vector(0) - time()`: {
			selectors: []selector{{metric: "a:b:c5m"}, {metric: "x"}, {metric: "y"}}, labels: []string{"j", "i"},
		},
	} {
		if diff := cmp.Diff(want, parse(query), cmp.AllowUnexported(expression{}, selector{}, matcher{})); diff != "" {
			t.Errorf("%s: -want +got:\n%s", query, diff)
		}
	}
}

// attached are labels that Prometheus gives to what it scrapes, or to an alert.
var attached = []string{"job", "instance", "namespace"}

// exposed is what servers have exposed: of each metric the labels, with the values that were seen.
type exposed map[string]map[string]map[string]bool

// add reads an answer of a server in Prometheus's text form.
func (e exposed) add(text string) {
	for line := range strings.Lines(text) {
		name := regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*`).FindString(line)
		if name == "" {
			continue
		}
		if e[name] == nil {
			e[name] = make(map[string]map[string]bool)
		}
		end := strings.LastIndexByte(line, '}')
		for _, m := range matching.FindAllStringSubmatch(line[:max(end, 0)], -1) {
			if e[name][m[1]] == nil {
				e[name][m[1]] = make(map[string]bool)
			}
			e[name][m[1]][m[3]] = true
		}
	}
}

// records adds what rules record, of whose labels the values are not known.
func (e exposed) records(rules []rule) {
	for _, r := range rules {
		e[r.Record] = make(map[string]map[string]bool)
		for _, label := range parse(r.Expr).labels {
			e[r.Record][label] = nil
		}
	}
}

// lacks says what a query asks for and servers do not expose.
func (e exposed) lacks(query string) (out []string) {
	asked := parse(query)
	labels := slices.Clone(attached)
	for _, s := range asked.selectors {
		if s.metric == "ALERTS" { // Prometheus's own
			continue
		}
		known, ok := e[s.metric]
		if !ok {
			out = append(out, "the metric "+s.metric)
			continue
		}
		labels = append(labels, slices.Collect(maps.Keys(known))...)
		for _, m := range s.matchers {
			values, ok := known[m.label]
			if !ok && !slices.Contains(attached, m.label) {
				out = append(out, s.metric+"'s label "+m.label)
			}
			for _, value := range m.values() {
				if values != nil && !values[value] {
					out = append(out, s.metric+"'s "+m.label+" "+value)
				}
			}
		}
	}
	for _, label := range asked.labels {
		if !slices.Contains(labels, label) {
			out = append(out, "the label "+label)
		}
	}
	return out
}

func TestLacks(t *testing.T) {
	e := exposed{}
	e.add("# HELP x_total {no=\"thing\"}\nx_total{a=\"b\",c=\"d\"} 1\nx_total{a=\"e\",c=\"d\"} 1\ny 5\n")
	e.records([]rule{{Record: "r:x", Expr: "sum by (job, a) (x_total)"}})
	for query, want := range map[string][]string{
		`sum by (a, job) (x_total{a=~"b|e",c!="f",job=~"$job"}) + y + r:x{a="z"}`: nil,
		`x_total{a=~"b|f"}`:       {"x_total's a f"},
		`y{a="b"} or z`:           {"y's label a", "the metric z"},
		`sum by (f) (x_total)`:    {"the label f"},
		`sum by (c) (r:x{c="d"})`: {"r:x's label c", "the label c"},
	} {
		if diff := cmp.Diff(want, e.lacks(query)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", query, diff)
		}
	}
}
