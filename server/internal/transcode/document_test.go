package transcode_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
	"recoverycodes.internal/server/internal/transcode"
	"recoverycodes.internal/test/documents"
)

// answers pairs every document with the message that it is an answer of.
var answers = []struct {
	name     string
	document []byte
	message  proto.Message
}{
	{"get", documents.Get(), &recoverycodesv1.GetResponse{}},
	{"recover", documents.Recover(), &recoverycodesv1.RecoverResponse{}},
	{"rotate", documents.Rotate(), &recoverycodesv1.RotateResponse{}},
}

// table makes the table of a message's type.
func table(t testing.TB, m proto.Message, keep ...string) *transcode.Table {
	t.Helper()
	made, err := transcode.New(m.ProtoReflect().Descriptor(), keep...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// decode decodes wire bytes as a new message of the type of m.
func decode(t testing.TB, m proto.Message, wire []byte) proto.Message {
	t.Helper()
	decoded := m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(wire, decoded); err != nil {
		t.Fatalf("the wire bytes do not decode: %v", err)
	}
	return decoded
}

// reading is what protojson reads in a document.
func reading(t testing.TB, m proto.Message, document []byte) proto.Message {
	t.Helper()
	read := m.ProtoReflect().New().Interface()
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(document, read); err != nil {
		t.Fatalf("protojson: %v", err)
	}
	return read
}

// expectMessage fails the test unless the wire bytes say what protojson reads in the document.
func expectMessage(t testing.TB, of proto.Message, document string, wire []byte) {
	t.Helper()
	want, got := reading(t, of, []byte(document)), decode(t, of, wire)
	if !proto.Equal(want, got) {
		t.Errorf("not protojson's reading of\n%s\n(-protojson +ours):\n%s", document, cmp.Diff(want, got, protocmp.Transform()))
	}
}

func TestDocuments(t *testing.T) {
	for _, a := range answers {
		t.Run(a.name, func(t *testing.T) {
			got, err := table(t, a.message, "request_id", "status_code").Append(nil, a.document)
			if err != nil {
				t.Fatal(err)
			}
			if got.DriftTotal != 0 || len(got.Drift) != 0 {
				t.Errorf("drift: %d, %v", got.DriftTotal, got.Drift)
			}
			expectMessage(t, a.message, string(a.document), got.Wire)

			var document map[string]any
			if err := json.Unmarshal(a.document, &document); err != nil {
				t.Fatal(err)
			}
			kept := []string{document["request_id"].(string), fmt.Sprint(document["status_code"])}
			if diff := cmp.Diff(kept, got.Kept); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}

			back, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(decode(t, a.message, got.Wire))
			if err != nil {
				t.Fatal(err)
			}
			var returned map[string]any
			if err := json.Unmarshal(back, &returned); err != nil {
				t.Fatal(err)
			}
			missing(t, "", document, returned)
		})
	}
}

// missing reports everything in want, nulls aside, that got does not have. Timestamps may be written differently and are
// compared by protojson's reading already.
func missing(t *testing.T, path string, want, got any) {
	t.Helper()
	switch want := want.(type) {
	case nil:
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s: not an object", path)
		}
		for name, value := range want {
			missing(t, path+"."+name, value, object[name])
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			t.Errorf("%s: not a list of %d", path, len(want))
			return
		}
		for i, value := range want {
			missing(t, fmt.Sprintf("%s[%d]", path, i), value, list[i])
		}
	default:
		if want != got && !sameMoment(want, got) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// sameMoment says whether both are the same time, perhaps with another number of digits.
func sameMoment(x, y any) bool {
	xs, _ := x.(string)
	ys, _ := y.(string)
	xt, errX := time.Parse(time.RFC3339Nano, xs)
	yt, errY := time.Parse(time.RFC3339Nano, ys)
	return errX == nil && errY == nil && xt.Equal(yt)
}
