package pages

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// document is what the reference shows of an OpenAPI 2.0 document.
type document struct {
	Info struct {
		Title       string `json:"title"`
		Description string `json:"description"`
		Version     string `json:"version"`
	} `json:"info"`
	Paths       map[string]map[string]*endpoint `json:"paths"`
	Definitions map[string]*schema              `json:"definitions"`
}

type endpoint struct {
	ID          string              `json:"operationId"`
	Summary     string              `json:"summary"`
	Description string              `json:"description"`
	Parameters  []*parameter        `json:"parameters"`
	Responses   map[string]response `json:"responses"`
}

type parameter struct {
	schema           // of one that is in the path
	Name     string  `json:"name"`
	In       string  `json:"in"`
	Required bool    `json:"required"`
	Body     *schema `json:"schema"`
}

type response struct {
	Description string  `json:"description"`
	Schema      *schema `json:"schema"`
}

type schema struct {
	Ref         string            `json:"$ref"`
	Type        string            `json:"type"`
	Format      string            `json:"format"`
	Description string            `json:"description"`
	Required    []string          `json:"required"`
	Properties  properties        `json:"properties"`
	Items       *schema           `json:"items"`
	Values      *schema           `json:"additionalProperties"`
	Enum        []json.RawMessage `json:"enum"`
	MinLength   *int              `json:"minLength"`
	MaxLength   *int              `json:"maxLength"`
	Minimum     *json.Number      `json:"minimum"`
	Maximum     *json.Number      `json:"maximum"`
}

// properties are the members of an object in the order of the document, which is that of the contract.
type properties []property

type property struct {
	Name   string
	Schema *schema
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *properties) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		member := property{Name: fmt.Sprint(name)}
		if err := decoder.Decode(&member.Schema); err != nil {
			return err
		}
		*p = append(*p, member)
	}
	return nil
}

// reference is the page's own view of the document.
type reference struct {
	Title, Version string
	Description    []string // paragraphs
	Operations     []operation
	Types          []typeView
}

type operation struct {
	Name, Method, Path string
	Summary            string
	Description        []string
	Parameters         []field
	Body               *typeView
	BodyExample        string // JSON with the fields that are required
	Responses          []responseView
}

type responseView struct {
	Status, Class string
	Description   []string
	Type          *typeLink
	Same          bool // as the answer before it
}

// typeView is an object type of the document.
type typeView struct {
	ID, Name    string // for links, and for people
	Description []string
	Fields      []field
}

// typeLink leads to the one place where a type is shown.
type typeLink struct{ ID, Name string }

// field is a member of an object, or a parameter.
type field struct {
	Name, Type       string // the type in words, without the link's
	Link             *typeLink
	Required, Secret bool
	Limits           []string
	Description      []string
	Example          string
}

// parseReference reads the document and follows it from the operations to every type that they use.
func parseReference(text []byte, examples map[string]string) (*reference, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	r := &reference{Title: d.Info.Title, Version: d.Info.Version, Description: paragraphs(d.Info.Description)}
	walk := &walk{document: &d, examples: examples, seen: make(map[string]bool)}
	for path, byMethod := range d.Paths {
		for method, e := range byMethod {
			r.Operations = append(r.Operations, walk.operation(strings.ToUpper(method), path, e))
		}
	}
	slices.SortFunc(r.Operations, func(a, b operation) int { // those that change nothing first
		return cmp.Or(cmp.Compare(a.Method, b.Method), cmp.Compare(a.Path, b.Path))
	})
	for len(walk.queue) > 0 {
		name := walk.queue[0]
		walk.queue = walk.queue[1:]
		r.Types = append(r.Types, walk.view(name))
	}
	slices.SortFunc(r.Types, func(a, b typeView) int { return cmp.Compare(a.Name, b.Name) })
	if len(r.Operations) == 0 {
		walk.errs = append(walk.errs, errors.New("it has no operations"))
	}
	return r, errors.Join(walk.errs...)
}

// walk is the way through a document.
type walk struct {
	document *document
	examples map[string]string
	seen     map[string]bool
	queue    []string // types that are linked to and not shown yet
	errs     []error
}

func (k *walk) operation(method, path string, e *endpoint) operation {
	_, name, _ := strings.Cut(e.ID, "_")
	op := operation{Name: cmp.Or(name, e.ID), Method: method, Path: path, Summary: e.Summary, Description: paragraphs(e.Description)}
	for _, p := range e.Parameters {
		if p.In == "body" && p.Body != nil {
			body := k.view(definition(p.Body.Ref))
			op.Body, op.BodyExample = &body, example(body)
			continue
		}
		op.Parameters = append(op.Parameters, k.field(p.Name, &p.schema, p.Required))
	}
	for _, status := range slices.Sorted(maps.Keys(e.Responses)) { // digits come before "default"
		answer := e.Responses[status]
		view := responseView{Status: status, Class: "refused", Description: paragraphs(answer.Description)}
		switch status[0] {
		case '2':
			view.Class = "done"
		case '5':
			view.Class = "failed"
		}
		if answer.Schema != nil {
			_, view.Type = k.typeOf(answer.Schema)
		}
		if n := len(op.Responses); n > 0 && view.Type != nil && op.Responses[n-1].Type != nil {
			view.Same = *view.Type == *op.Responses[n-1].Type
		}
		op.Responses = append(op.Responses, view)
	}
	return op
}

func (k *walk) view(name string) typeView {
	s := k.document.Definitions[name]
	if s == nil {
		k.errs = append(k.errs, fmt.Errorf("it has no definition %q", name))
		return typeView{}
	}
	view := typeView{ID: "type-" + name, Name: short(name), Description: paragraphs(s.Description)}
	for _, p := range s.Properties {
		view.Fields = append(view.Fields, k.field(p.Name, p.Schema, slices.Contains(s.Required, p.Name)))
	}
	return view
}

func (k *walk) field(name string, s *schema, required bool) field {
	f := field{Name: name, Required: required, Description: paragraphs(s.Description), Example: k.examples[name]}
	f.Type, f.Link = k.typeOf(s)
	for at := s; at != nil; at = at.Items {
		f.Secret = f.Secret || at.Format == "password"
	}
	switch {
	case s.MinLength != nil && s.MaxLength != nil:
		f.Limits = append(f.Limits, fmt.Sprintf("%d to %d characters", *s.MinLength, *s.MaxLength))
	case s.MaxLength != nil:
		f.Limits = append(f.Limits, fmt.Sprintf("at most %d characters", *s.MaxLength))
	}
	if s.Minimum != nil && s.Maximum != nil {
		f.Limits = append(f.Limits, fmt.Sprintf("%s to %s", *s.Minimum, *s.Maximum))
	}
	for _, value := range s.Enum {
		f.Limits = append(f.Limits, string(value))
	}
	return f
}

// typeOf is a type in words, and the object type that it is or holds.
func (k *walk) typeOf(s *schema) (words string, link *typeLink) {
	switch {
	case s.Ref != "":
		name := definition(s.Ref)
		if !k.seen[name] {
			k.seen[name] = true
			k.queue = append(k.queue, name)
		}
		return "", &typeLink{"type-" + name, short(name)}
	case s.Type == "array" && s.Items != nil:
		words, link = k.typeOf(s.Items)
		return strings.TrimSpace("list of " + words), link
	case s.Type == "object" && s.Values != nil:
		words, link = k.typeOf(s.Values)
		return strings.TrimSpace("map of " + words), link
	case s.Type == "":
		return "anything", nil
	case s.Format != "" && s.Format != "password":
		return s.Type + " (" + s.Format + ")", nil
	default:
		return s.Type, nil
	}
}

// definition is the name that a reference within the document leads to.
func definition(ref string) string { return strings.TrimPrefix(ref, "#/definitions/") }

// short is the name of a type without its package.
func short(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// paragraphs splits a text whose line breaks mean nothing unless they are two.
func paragraphs(text string) []string {
	var out []string
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if words := strings.Join(strings.Fields(paragraph), " "); words != "" {
			out = append(out, words)
		}
	}
	return out
}

// example is a body with the fields that are required, in their order.
func example(body typeView) string {
	var members []string
	for _, f := range body.Fields {
		if f.Required {
			value, _ := json.Marshal(f.Example) // a string has a JSON form
			members = append(members, fmt.Sprintf("  %q: %s", f.Name, value))
		}
	}
	return "{\n" + strings.Join(members, ",\n") + "\n}"
}
