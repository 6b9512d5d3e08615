package deploy

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"recoverycodes.internal/test/daemon"
)

// setting is one of the server's, as a table has it.
type setting struct{ flag, env, preset, doc string }

// TestSettings compares the three places that list the settings: --help, the README's table and the chart's schema.
func TestSettings(t *testing.T) {
	readme := settingsOfReadme(t)
	daemon.Binary(t) // Run does not wait for a build
	code, help := daemon.Run(t, nil, "serve", "--help")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, help)
	}
	if diff := cmp.Diff(settingsOfHelp(t, help, readme), readme, cmp.AllowUnexported(setting{})); diff != "" {
		t.Errorf("-help +README\n%s", diff)
	}

	path := filepath.Join(chart, "values.schema.json")
	for _, definition := range []struct {
		name string
		want any
	}{{"settings", settingsSchema(readme)}, {"environment", environmentSchema(readme)}} {
		schema, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		start, end := definitionIn(t, schema, definition.name)
		var want, got bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("    ", "  ")
		if err := encoder.Encode(definition.want); err != nil {
			t.Fatal(err)
		}
		if text := bytes.TrimSpace(want.Bytes()); *update {
			if err := os.WriteFile(path, bytes.Join([][]byte{schema[:start], text, schema[end:]}, nil), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got.Write(schema[start:end])
		if diff := cmp.Diff(strings.TrimSpace(want.String()), got.String()); diff != "" {
			t.Errorf("%s: -settings +schema (go test ./test/deploy -update):\n%s", definition.name, diff)
		}
	}
}

// settingsOfReadme reads the README's table.
func settingsOfReadme(t *testing.T) (all []setting) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "<!-- settings -->")
	table, _, _ = strings.Cut(table, "<!-- /settings -->")
	for line := range strings.Lines(table) {
		row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(row) != 4 || !strings.Contains(row[1], "`") {
			continue
		}
		for i := range row {
			row[i] = strings.Trim(strings.TrimSpace(row[i]), "`")
		}
		all = append(all, setting{strings.TrimPrefix(row[0], "--"), row[1], row[2], row[3]})
	}
	if len(all) < 30 {
		t.Fatalf("the README lists only %d settings", len(all))
	}
	return all
}

// settingsOfHelp reads what --help prints: lines of four columns that start where their headings do.
func settingsOfHelp(t *testing.T, help string, readme []setting) (all []setting) {
	t.Helper()
	var env, preset, doc int
	for line := range strings.Lines(help) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "  flag ") {
			env, preset, doc = strings.Index(line, "environment"), strings.Index(line, "default"), len(line)
			continue
		}
		if doc == 0 || len(line) < doc {
			continue
		}
		cell := func(from, to int) string { return strings.TrimSpace(line[from:to]) }
		flag := strings.TrimPrefix(strings.TrimPrefix(cell(0, env), "(none)"), "--")
		all = append(all, setting{flag, cell(env, preset), cell(preset, doc), line[doc:]})
	}
	if len(all) < len(readme) {
		t.Logf("--help is\n%s", help)
	}
	return all
}

// schema is that of one object, in the words of JSON Schema.
type schema struct {
	Description string             `json:"description,omitempty"`
	Type        string             `json:"type"`
	Strict      *bool              `json:"additionalProperties,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Minimum     *int               `json:"minimum,omitempty"`
	Default     any                `json:"default,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
}

const durations = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`

// settingsSchema is what the chart has to accept as settings. What kind of value one takes shows in its default.
func settingsSchema(all []setting) *schema {
	s := &schema{Type: "object", Strict: new(bool), Properties: make(map[string]*schema)}
	for _, one := range all {
		if one.flag == "" {
			continue
		}
		p := &schema{Description: one.doc, Type: "string", Default: one.preset}
		listed := regexp.MustCompile(`\(([^()]+)\)\.$`).FindStringSubmatch(one.doc)
		switch {
		case one.preset == "true" || one.preset == "false":
			p.Type, p.Default = "boolean", one.preset == "true"
		case regexp.MustCompile(`^[0-9]+$`).MatchString(one.preset):
			p.Type, p.Minimum, p.Default = "integer", new(int), json.Number(one.preset)
		case regexp.MustCompile(durations).MatchString(one.preset):
			p.Pattern = durations
		case listed != nil:
			p.Enum = strings.Split(listed[1], ", ")
		case one.preset == "":
			p.Default = nil
		}
		s.Properties[one.flag] = p
	}
	return s
}

// environmentSchema is what the chart has to accept as environment: what has no flag, and is no secret.
func environmentSchema(all []setting) *schema {
	s := &schema{Type: "object", Strict: new(bool), Properties: make(map[string]*schema)}
	for _, one := range all {
		if one.flag == "" && one.env != "STYTCH_SECRET" { // a Secret's, in a file
			s.Properties[one.env] = &schema{Description: one.doc, Type: "string"}
		}
	}
	return s
}

// definitionIn finds where a definition begins and ends in the text of a schema.
func definitionIn(t *testing.T, text []byte, name string) (start, end int64) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	within := false
	for depth := 0; ; {
		token, err := decoder.Token()
		if err == io.EOF {
			t.Fatalf("no definition of %s", name)
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		case "definitions":
			within = within || depth == 1
		case name:
			if within && depth == 2 {
				var definition json.RawMessage
				if err := decoder.Decode(&definition); err != nil {
					t.Fatal(err)
				}
				end = decoder.InputOffset()
				return end - int64(len(definition)), end
			}
		}
	}
}

// TestSchemaIsStrict: in every object of which the schema names members, others are refused.
func TestSchemaIsStrict(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var whole any
	if err := json.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	objects := 0
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch node := node.(type) {
		case []any:
			for _, child := range node {
				walk(path+"[]", child)
			}
		case map[string]any:
			// A schema, and no table of members called properties.
			if _, ok := node["properties"].(map[string]any); ok && node["type"] == "object" {
				objects++
				if node["additionalProperties"] != false {
					t.Errorf("%s accepts what it does not name", path)
				}
			}
			for name, child := range node {
				walk(path+"/"+name, child)
			}
		}
	}
	walk("", whole)
	if objects < 10 {
		t.Errorf("only %d objects", objects)
	}
}
