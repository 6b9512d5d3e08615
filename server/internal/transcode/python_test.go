package transcode_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/structpb"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	sessionsv1 "recoverycodes.internal/gen/go/stytch/b2b/sessions/v1"
	"recoverycodes.internal/server/internal/transcode"
	"recoverycodes.internal/test/documents"
)

// python is Debian's own interpreter, for which Debian packages protobuf (python3-protobuf).
const python = "/usr/bin/python3"

// TestPythonDecodes hands what the transcoder writes, of good documents and of the worst ones the bounds allow, to
// Python's protobuf: it is the strictest reader of nesting and of text that callers are known to use.
func TestPythonDecodes(t *testing.T) {
	if exec.Command(python, "-c", "import google.protobuf").Run() != nil {
		if os.Getenv("RECOVERYCODES_CI") != "" {
			t.Fatal("no python3-protobuf")
		}
		t.Skip("no python3-protobuf")
	}
	md := (&recoverycodesv1.RecoverResponse{}).ProtoReflect().Descriptor()
	table, err := transcode.New(md)
	if err != nil {
		t.Fatal(err)
	}
	dir, set := t.TempDir(), filepath.Join(t.TempDir(), "set.binpb")
	write(t, set, descriptorSet(t, md.ParentFile()))
	n := 0
	for name, document := range pythonDocuments(t) {
		answer, err := table.Append(nil, document)
		if err != nil {
			continue
		}
		n++
		write(t, filepath.Join(dir, string(md.FullName())+"#"+name), answer.Wire)
	}
	out, err := exec.Command(python, filepath.Join("testdata", "decode.py"), set, dir).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(n) || n < 20 {
		t.Errorf("%d answers, %v:\n%s", n, err, out)
	}

	// The negative control: what Go writes without these bounds, Python does refuse.
	deep := structpb.NewStringValue("leaf")
	for range 60 {
		deep = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{deep}})
	}
	wire, err := proto.Marshal(&recoverycodesv1.RecoverResponse{MemberSession: &sessionsv1.MemberSession{
		CustomClaims: &structpb.Struct{Fields: map[string]*structpb.Value{"a": deep}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	control := t.TempDir()
	write(t, filepath.Join(control, string(md.FullName())+"#deep"), wire)
	if out, err := exec.Command(python, filepath.Join("testdata", "decode.py"), set, control).CombinedOutput(); err == nil {
		t.Errorf("Python decodes without the bounds too, so this test proves nothing: %s", out)
	}
}

// pythonDocuments are documents by name: the examples, the fuzzer's corpus, and nesting of every kind at and beyond
// what is kept of it.
func pythonDocuments(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"example": documents.Recover()}
	for _, depth := range []int{10, 20, 28, 29, 30, 31, 40, 44, 45, 60, 89, 90, 91, 5000} {
		for open, end := range map[string]string{"[": "]", `{"a":`: "}", `[{"b":`: "}]"} {
			nested := strings.Repeat(open, depth) + `"leaf"` + strings.Repeat(end, depth)
			name := fmt.Sprintf("%d-%d", depth, len(open))
			all["claims-"+name] = []byte(`{"member_session":{"custom_claims":{"a":` + nested + `}},"session_token":"t"}`)
			all["details-"+name] = []byte(`{"member":{"roles":[{"sources":[{"details":{"a":` + nested + `}}]}]}}`)
		}
	}
	for i, text := range []string{`"a\ud800b"`, "\"a\xffb\"", "\"\xed\xa0\x80\"", `"\u0000\uffff"`, "\"\xf4\x90\x80\x80\""} {
		all["text-"+strconv.Itoa(i)] = []byte(`{"member":{"name":` + text + `,"trusted_metadata":{` + text + `:[` + text + `]}}}`)
	}
	files, err := filepath.Glob(filepath.Join("testdata", "fuzz", "FuzzAppend", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if document, ok := corpusBytes(content); ok {
			all["corpus-"+filepath.Base(file)] = document
		}
	}
	return all
}

// corpusBytes reads the one []byte value of a corpus file of Go's fuzzer.
func corpusBytes(content []byte) ([]byte, bool) {
	for line := range bytes.Lines(content) {
		quoted, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("[]byte("))
		if !ok {
			continue
		}
		text, err := strconv.Unquote(string(bytes.TrimSuffix(quoted, []byte(")"))))
		return []byte(text), err == nil
	}
	return nil, false
}

// descriptorSet is a file and what it imports, each after its imports.
func descriptorSet(t *testing.T, file protoreflect.FileDescriptor) []byte {
	t.Helper()
	set, seen := &descriptorpb.FileDescriptorSet{}, make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	add(file)
	wire, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
