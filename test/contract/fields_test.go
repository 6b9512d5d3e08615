package contract

import (
	"bufio"
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

// readFieldList reads the list, whose format its head explains. A line out of order would hide a duplicate.
func readFieldList(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	fields := make(map[string]string)
	last := ""
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, fieldType, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("%s: %q is not of the form name: type", path, line)
		}
		if name <= last {
			t.Errorf("%s: %s stands after %s, out of order or twice", path, name, last)
		}
		fields[name], last = fieldType, name
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return fields
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
