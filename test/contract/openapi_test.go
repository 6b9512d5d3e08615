package contract

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// document is the part of an OpenAPI 2.0 document that the tests read.
type document struct {
	Swagger string
	Info    struct {
		Title, Description, Version string
		License                     struct{ Name string }
	}
	Consumes, Produces  []string
	Security            []map[string]any
	SecurityDefinitions map[string]struct{ Type, Name, In, Description string }
	Paths               map[string]map[string]operation
	Definitions         map[string]schema
}

type operation struct {
	Summary, Description string
	Security             []any
	Parameters           []struct {
		Name, In, Type, Pattern string
		Required                bool
		Schema                  schema
	}
	Responses map[string]struct {
		Description string
		Schema      schema
	}
}

type schema struct {
	Ref         string `json:"$ref"`
	Type        string
	Format      string
	Description string
	Items       *schema
	Properties  map[string]schema
	Required    []string
	Limits
}

// Limits are what the document can say about the values of a field.
type Limits struct {
	MinLength, MaxLength, Minimum, Maximum int
	Pattern                                string
}

// errorBody is the reference that every error response must have.
const errorBody = "#/definitions/stytch.b2b.recoverycodes.v1.ErrorBody"

func readDocument(t *testing.T) (document, string) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "gen/openapi/recovery_codes.swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(content, &doc); err != nil {
		t.Fatal(err)
	}
	return doc, string(content)
}

func TestOpenAPIHead(t *testing.T) {
	doc, text := readDocument(t)
	if doc.Swagger != "2.0" {
		t.Errorf("swagger = %q, want 2.0", doc.Swagger)
	}
	if doc.Info.Title != "Recovery codes" || doc.Info.Description == "" || doc.Info.License.Name == "" {
		t.Errorf("info lacks its title, its description or its licence: %+v", doc.Info)
	}
	if doc.Info.Version == "" || strings.Contains(doc.Info.Version, "not set") {
		t.Errorf("version = %q", doc.Info.Version)
	}
	if diff := cmp.Diff([][]string{{"application/json"}, {"application/json"}}, [][]string{doc.Consumes, doc.Produces}); diff != "" {
		t.Errorf("consumes and produces (-want +got):\n%s", diff)
	}
	bearer, basic := doc.SecurityDefinitions["bearer"], doc.SecurityDefinitions["basic"]
	if len(doc.SecurityDefinitions) != 2 || bearer.Type != "apiKey" || bearer.Name != "Authorization" || bearer.In != "header" ||
		basic.Type != "basic" || bearer.Description == "" || basic.Description == "" {
		t.Errorf("callers prove who they are by %+v, want bearer and basic", doc.SecurityDefinitions)
	}
	if diff := cmp.Diff([]map[string]any{{"bearer": []any{}}, {"basic": []any{}}}, doc.Security); diff != "" {
		t.Errorf("either is enough (-want +got):\n%s", diff)
	}
	for _, stray := range []string{"rpcStatus", "google.rpc.Status", "protobufAny", "google.protobuf.Any"} {
		if strings.Contains(text, stray) {
			t.Errorf("the document mentions %s, which no answer holds", stray)
		}
	}
}

// TestOpenAPIOperations holds that REST has Stytch's paths and methods and no others.
func TestOpenAPIOperations(t *testing.T) {
	doc, _ := readDocument(t)
	type summary struct {
		Parameters []string
		Answer     string
	}
	const v1 = "#/definitions/stytch.b2b.recoverycodes.v1."
	want := map[string]summary{
		"get /v1/b2b/recovery_codes/{organization_id}/{member_id}": {
			Parameters: []string{"path organization_id string", "path member_id string"},
			Answer:     v1 + "GetResponse",
		},
		"post /v1/b2b/recovery_codes/recover": {Parameters: []string{"body body " + v1 + "RecoverRequest"}, Answer: v1 + "RecoverResponse"},
		"post /v1/b2b/recovery_codes/rotate":  {Parameters: []string{"body body " + v1 + "RotateRequest"}, Answer: v1 + "RotateResponse"},
	}
	got := make(map[string]summary)
	for path, methods := range doc.Paths {
		for method, op := range methods {
			name := method + " " + path
			var s summary
			for _, p := range op.Parameters {
				s.Parameters = append(s.Parameters, p.In+" "+p.Name+" "+p.Type+p.Schema.Ref)
				if !p.Required {
					t.Errorf("%s: the parameter %s is not required", name, p.Name)
				}
			}
			s.Answer = op.Responses["200"].Schema.Ref
			got[name] = s

			if op.Summary == "" || op.Description == "" {
				t.Errorf("%s lacks its summary or its description", name)
			}
			if op.Security != nil {
				t.Errorf("%s has security of its own, %v: every operation wants the same", name, op.Security)
			}
			for _, status := range []string{"400", "401", "404", "429", "500", "503", "default"} {
				if _, ok := op.Responses[status]; !ok {
					t.Errorf("%s does not describe the response %s", name, status)
				}
			}
			for status, response := range op.Responses {
				if response.Description == "" {
					t.Errorf("%s does not say what %s means", name, status)
				}
				if !strings.HasPrefix(status, "2") && response.Schema.Ref != errorBody {
					t.Errorf("%s answers %s with %q, want the error body", name, status, response.Schema.Ref)
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}

// TestOpenAPIDefinitions compares every definition with its message: REST has the fields' own names, snake_case, with
// fitting types, and secrets are marked there too.
func TestOpenAPIDefinitions(t *testing.T) {
	doc, _ := readDocument(t)
	want := map[string]schema{}
	for _, f := range compiledFiles(t) {
		eachMessage(f, func(m protoreflect.MessageDescriptor) {
			if m.Name() == "GetRequest" { // its fields are in the path
				return
			}
			properties := make(map[string]schema)
			for i := range m.Fields().Len() {
				field := m.Fields().Get(i)
				properties[string(field.Name())] = schemaOf(field)
			}
			want[string(m.FullName())] = schema{Type: "object", Properties: properties}
		})
	}
	got := make(map[string]schema)
	for name, definition := range doc.Definitions {
		if !strings.HasPrefix(name, "stytch.") {
			continue
		}
		if definition.Description == "" {
			t.Errorf("%s has no description", name)
		}
		bare := schema{Type: definition.Type, Properties: make(map[string]schema)}
		for property, s := range definition.Properties {
			if s.Description == "" {
				t.Errorf("%s.%s has no description", name, property)
			}
			bare.Properties[property] = stripped(s)
		}
		got[name] = bare
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("definitions (-want +got):\n%s", diff)
	}
}

func TestOpenAPIRequired(t *testing.T) {
	doc, _ := readDocument(t)
	ids := []string{"member_id", "organization_id"}
	answer := []string{"member", "member_id", "organization", "request_id", "status_code"}
	want := map[string][]string{
		"RecoverRequest":  append([]string{"recovery_code"}, ids...),
		"RotateRequest":   ids,
		"GetResponse":     append([]string{"recovery_codes"}, answer...),
		"RecoverResponse": append([]string{"session_token", "session_jwt", "recovery_codes_remaining"}, answer...),
		"RotateResponse":  append([]string{"recovery_codes"}, answer...),
		"ErrorBody":       {"status_code", "request_id", "error_type", "error_message", "error_url"},
	}
	for _, required := range want {
		slices.Sort(required)
	}
	got := make(map[string][]string)
	for name, definition := range doc.Definitions {
		if len(definition.Required) > 0 {
			got[strings.TrimPrefix(name, "stytch.b2b.recoverycodes.v1.")] = slices.Sorted(slices.Values(definition.Required))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("required (-want +got):\n%s", diff)
	}
}

// TestOpenAPILimits holds that the document states the limits that the server enforces, wherever OpenAPI can, and
// states none of answers, which a generated client would then refuse.
func TestOpenAPILimits(t *testing.T) {
	doc, _ := readDocument(t)
	const pkg = "stytch.b2b.recoverycodes.v1."
	pattern := doc.Definitions[pkg+"RecoverRequest"].Properties["member_id"].Pattern
	id := Limits{MinLength: 1, MaxLength: 128, Pattern: pattern}
	token := Limits{MaxLength: 16 << 10}
	want := map[string]Limits{
		"RecoverRequest.organization_id":            id,
		"RecoverRequest.member_id":                  id,
		"RecoverRequest.recovery_code":              {MinLength: 1, MaxLength: 1024},
		"RecoverRequest.intermediate_session_token": token,
		"RecoverRequest.session_token":              token,
		"RecoverRequest.session_jwt":                token,
		"RecoverRequest.session_duration_minutes":   {Minimum: 5, Maximum: 527040},
		"RecoverRequest.telemetry_id":               {MaxLength: 1024},
		"RotateRequest.organization_id":             id,
		"RotateRequest.member_id":                   id,
		// The generator knows no length of a path parameter.
		"path organization_id": {Pattern: pattern},
		"path member_id":       {Pattern: pattern},
	}
	got := make(map[string]Limits)
	for message, definition := range doc.Definitions {
		for property, s := range definition.Properties {
			if s.Limits != (Limits{}) {
				got[strings.TrimPrefix(message, pkg)+"."+property] = s.Limits
			}
		}
	}
	for _, p := range doc.Paths["/v1/b2b/recovery_codes/{organization_id}/{member_id}"]["get"].Parameters {
		got[p.In+" "+p.Name] = Limits{Pattern: p.Pattern}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}

	ids, err := regexp.Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("a", 125)
	for _, good := range []string{
		"a", "-", "~", "...", ".a", "..a", "a.", "a..", "organization-test-07971b06", "auth0|Az_0.9~",
		long + "bcd", "." + long + "bc", ".." + long + "b",
	} {
		if !ids.MatchString(good) {
			t.Errorf("the pattern of ids refuses %q", good)
		}
	}
	for _, bad := range []string{
		"", ".", "..", " ", "a b", "a/b", "../a", "a%", "a\n", "é", "a\x00", "a@b",
		long + "bcde", "." + long + "bcd", ".." + long + "bc",
	} {
		if ids.MatchString(bad) {
			t.Errorf("the pattern of ids allows %q", bad)
		}
	}
}

// schemaOf is the schema that the document must have for a field, without its description.
func schemaOf(f protoreflect.FieldDescriptor) schema {
	var s schema
	switch {
	case f.Message() != nil && f.Message().FullName() == "google.protobuf.Timestamp":
		s = schema{Type: "string", Format: "date-time"}
	case f.Message() != nil && f.Message().FullName() == "google.protobuf.Struct":
		s = schema{Type: "object"}
	case f.Message() != nil:
		s = schema{Ref: "#/definitions/" + string(f.Message().FullName())}
	case f.Kind() == protoreflect.Int32Kind:
		s = schema{Type: "integer", Format: "int32"}
	case f.Kind() == protoreflect.BoolKind:
		s = schema{Type: "boolean"}
	default:
		s = schema{Type: "string"}
	}
	if slices.Contains(secretFields, f.FullName()) {
		s.Format = "password"
	}
	if f.IsList() {
		return schema{Type: "array", Items: &s}
	}
	return s
}

// stripped leaves of a schema what schemaOf describes. The generator writes "object" beside a reference in a list.
func stripped(s schema) schema {
	out := schema{Ref: s.Ref, Type: s.Type, Format: s.Format}
	if s.Ref != "" {
		out.Type = ""
	}
	if s.Items != nil {
		items := stripped(*s.Items)
		out.Items = &items
	}
	return out
}
