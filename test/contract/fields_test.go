package contract

import (
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestFieldsAreStytchs compares the compiled contract with the list of Stytch's fields, both ways.
func TestFieldsAreStytchs(t *testing.T) {
	listed := readFieldList(t, "testdata/fields.txt")
	compiled := make(map[string]string)
	eachField(t, func(f protoreflect.FieldDescriptor) { compiled[string(f.FullName())] = typeOf(f) })

	for name, want := range listed {
		if got, ok := compiled[name]; !ok {
			t.Errorf("%s is missing from the .proto files; it is a %s", name, want)
		} else if got != want {
			t.Errorf("%s is a %s, want %s", name, got, want)
		}
	}
	for name, got := range compiled {
		if _, ok := listed[name]; !ok {
			t.Errorf("%s, a %s, is not a field of Stytch's: testdata/fields.txt does not list it", name, got)
		}
	}
}

// readFieldList reads the list, whose format its head explains.
func readFieldList(t *testing.T, path string) map[string]string {
	t.Helper()
	fields := make(map[string]string)
	for _, line := range readList(t, path) {
		name, fieldType, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("%s: %q is not of the form name: type", path, line)
		}
		fields[name] = fieldType
	}
	return fields
}

// readList reads the lines of a list but for its comments. A line out of order would hide a duplicate.
func readList(t *testing.T, path string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, _, _ := strings.Cut(line, ": ")
		if name <= last {
			t.Errorf("%s: %s stands after %s, out of order or twice", path, name, last)
		}
		list, last = append(list, line), name
	}
	return list
}

// typeOf writes the type of a field as the list does.
func typeOf(f protoreflect.FieldDescriptor) string {
	name := f.Kind().String()
	if m := f.Message(); m != nil {
		name = string(m.FullName())
	}
	switch {
	case f.IsMap():
		return "map " + name
	case f.IsList():
		return "repeated " + name
	case f.HasOptionalKeyword():
		return "optional " + name
	case f.ContainingOneof() != nil:
		return "oneof " + name
	}
	return name
}
