package access

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxProblems bounds what is said of one file, so that garbage does not fill a log.
const maxProblems = 100

// problems collects what is wrong with a policy.
type problems struct {
	found []problem
}

type problem struct {
	line int
	text string
}

// err joins the problems in the order of their lines.
func (p *problems) err() error {
	slices.SortStableFunc(p.found, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for i, found := range p.found {
		if i == maxProblems {
			errs = append(errs, fmt.Errorf("and %d more", len(p.found)-i))
			break
		}
		errs = append(errs, fmt.Errorf("line %d: %s", found.line, found.text))
	}
	return errors.Join(errs...)
}

// value is a place in the policy: what stands there, and the field that it is.
type value struct {
	node     *yaml.Node
	field    string // as in callers[1].match; empty for the whole
	problems *problems
}

// wrong says what is wrong with the value. It must not say what the value is.
func (v value) wrong(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if v.field != "" {
		text = v.field + ": " + text
	}
	v.problems.found = append(v.problems.found, problem{line: v.node.Line, text: text})
}

// of returns a value inside this one.
func (v value) of(node *yaml.Node, step string) value {
	return value{node: node, field: strings.TrimPrefix(v.field+step, "."), problems: v.problems}
}

// document returns the one document of a YAML text.
func document(data []byte, p *problems) (value, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root, more yaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF), err == nil && isNull(root.Content[0]):
		return value{}, errors.New("line 1: the policy is empty")
	case err != nil:
		return value{}, notYAML(err)
	}
	switch err := decoder.Decode(&more); {
	case err == nil:
		return value{}, fmt.Errorf("line %d: a second document begins; a policy is one", more.Line)
	case !errors.Is(err, io.EOF):
		return value{}, notYAML(err)
	}
	return value{node: root.Content[0], problems: p}, nil
}

// fromZero are the texts in which the library counts lines from zero. In others it counts from one.
var fromZero = regexp.MustCompile(`^did not find expected (<document start>|node content|'-' indicator|key|',' or)`)

// notYAML passes on what the library says. Its texts are fixed, but for the one about an alias without its anchor.
func notYAML(err error) error {
	line, text := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if at, rest, ok := strings.Cut(strings.TrimPrefix(text, "line "), ": "); ok {
		if number, err := strconv.Atoi(at); err == nil {
			line, text = number, rest
			if fromZero.MatchString(text) {
				line++
			}
		}
	}
	switch {
	case strings.Contains(text, "anchor"):
		text = "an alias without its anchor; neither is allowed"
	case strings.Contains(text, "alphabetic or numeric"): // the unquoted * of organizations
		text += ` (write "*" with quotes)`
	}
	return fmt.Errorf("line %d: %s", line, text)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// plain says whether the value is of a kind and none of YAML's devices by which a text means something else than
// it seems to.
func (v value) plain(kind yaml.Kind, want string) bool {
	switch n := v.node; {
	case n.Kind == yaml.AliasNode, n.Anchor != "":
		v.wrong("aliases and anchors are not allowed")
	case n.Style&yaml.TaggedStyle != 0:
		v.wrong("tags are not allowed")
	case isNull(n):
		v.wrong("is empty")
	case n.Kind != kind:
		v.wrong("want %s", want)
	default:
		return true
	}
	return false
}

// mapping is a value with named fields.
type mapping struct {
	value
	fields map[string]value
}

// shownKey is what a key must look like to be shown. No secret does.
var shownKey = regexp.MustCompile(`^[a-z_]{1,24}$`)

// mapping reads the fields of the value, which may be only those that are known, each once.
func (v value) mapping(known ...string) (m mapping, ok bool) {
	m = mapping{value: v, fields: make(map[string]value)}
	if !v.plain(yaml.MappingNode, "fields: "+strings.Join(known, ", ")) {
		return m, false
	}
	for i := 0; i < len(v.node.Content); i += 2 {
		key, of := v.node.Content[i], v.node.Content[i+1]
		at := v.of(key, "")
		switch name := key.Value; {
		case !at.plain(yaml.ScalarNode, "the name of a field"):
		case !slices.Contains(known, name):
			if !shownKey.MatchString(name) {
				name = "of another name"
			}
			at.wrong("unknown field %s; there are %s", name, strings.Join(known, ", "))
		case m.fields[name].node != nil:
			v.of(key, "."+name).wrong("stands here twice")
		default:
			m.fields[name] = v.of(of, "."+name)
		}
	}
	return m, true
}

// optional returns a field, if it is there.
func (m mapping) optional(name string) (value, bool) {
	v, ok := m.fields[name]
	return v, ok
}

// required returns a field. That it is not there is wrong.
func (m mapping) required(name string) (value, bool) {
	v, ok := m.fields[name]
	if !ok {
		m.of(m.node, "."+name).wrong("is required")
	}
	return v, ok
}

// list returns the elements of a list, which must have some.
func (v value) list() (all []value) {
	if !v.plain(yaml.SequenceNode, "a list") {
		return nil
	}
	if len(v.node.Content) == 0 {
		v.wrong("is empty")
	}
	for i, n := range v.node.Content {
		all = append(all, v.of(n, fmt.Sprintf("[%d]", i)))
	}
	return all
}

// oneOrMore returns the elements of a list or, when the value is none, the value itself.
func (v value) oneOrMore() []value {
	if v.node.Kind == yaml.SequenceNode {
		return v.list()
	}
	return []value{v}
}

// text returns a scalar as it is written, so that a hash of digits is no number and a name of "no" no falsehood. It is
// "" when that is wrong.
func (v value) text() string {
	if !v.plain(yaml.ScalarNode, "a text") {
		return ""
	}
	if v.node.Value == "" {
		v.wrong("is empty")
	}
	return v.node.Value
}

// form returns a text of a form, "" when that is wrong.
func (v value) form(is func(string) bool, want string) string {
	text := v.text()
	if text != "" && !is(text) {
		v.wrong("want %s", want)
		return ""
	}
	return text
}

// maxText bounds texts of no particular form: a path, an issuer, a subject.
const maxText = 512

// free returns a text of no particular form, "" when it is wrong.
func (v value) free() string {
	return v.form(func(text string) bool {
		return len(text) <= maxText && plainText(text) && strings.TrimSpace(text) == text
	}, fmt.Sprintf("at most %d bytes, without control characters or white space at the ends", maxText))
}

// unquoted returns a scalar that is written without quotes, "" when the value is none.
func (v value) unquoted() string {
	if v.node.Kind != yaml.ScalarNode || v.node.Style != 0 || v.node.Anchor != "" {
		return ""
	}
	return v.node.Value
}

func (v value) boolean() bool {
	text := v.unquoted()
	if text != "true" && text != "false" {
		v.wrong("want true or false")
	}
	return text == "true"
}

// number returns a number of a form and within limits, 0 when it is wrong.
func (v value) number(form *regexp.Regexp, least, most float64, want string) float64 {
	text := v.unquoted()
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || !form.MatchString(text) || number < least || number > most {
		v.wrong("want %s from %g to %.0f", want, least, most)
		return 0
	}
	return number
}
