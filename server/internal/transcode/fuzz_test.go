package transcode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"recoverycodes.internal/server/internal/transcode"
)

// FuzzAppend tries any bytes as an answer of every kind. Besides the documents added here the corpus in testdata holds
// one small document for each thing that the package has to get right.
func FuzzAppend(f *testing.F) {
	for _, a := range answers {
		f.Add(a.document)
	}
	of := subjects(f)
	names := slices.Sorted(maps.Keys(of))
	tables := map[string]*transcode.Table{}
	for _, name := range names {
		tables[name] = table(f, of[name])
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		for _, name := range names {
			source := slices.Clone(document)
			got, err := tables[name].Append([]byte("prefix"), source)
			if !bytes.Equal(source, document) {
				t.Fatalf("%s: the source was changed", name)
			}
			expectReason(t, document, err)
			if err != nil {
				continue
			}
			wire, ok := bytes.CutPrefix(got.Wire, []byte("prefix"))
			if !ok {
				t.Fatalf("%s: the prefix was changed", name)
			}
			if len(wire) > transcode.MaxSize || len(wire) > 6*len(document) {
				t.Fatalf("%s: %d bytes of %d", name, len(wire), len(document))
			}
			if len(got.Drift) > 16 || len(got.Drift) > got.DriftTotal {
				t.Fatalf("%s: %d of %d drifts", name, len(got.Drift), got.DriftTotal)
			}
			// Decoding checks that strings are UTF-8.
			decoded := decode(t, of[name], wire)
			if n := nesting(decoded.ProtoReflect()); n > transcode.MaxNesting {
				t.Fatalf("%s: %d messages deep", name, n)
			}
			if got.DriftTotal > 0 {
				continue
			}
			// What had nothing odd about it is what protojson reads, if it reads it; it is less tolerant of repeated nulls.
			want := of[name].ProtoReflect().New().Interface()
			if (protojson.UnmarshalOptions{}).Unmarshal(document, want) == nil && !proto.Equal(want, decoded) {
				t.Fatalf("%s: read %v, protojson %v", name, decoded, want)
			}
		}
	})
}

// expectReason fails the test unless the error is the one that encoding/json's opinion of the document calls for.
func expectReason(t *testing.T, document []byte, err error) {
	t.Helper()
	reason := transcode.Reason(0)
	if err != nil {
		var failure *transcode.DocumentError
		if !errors.As(err, &failure) {
			t.Fatalf("another type of error: %v", err)
		}
		if failure.Offset < 0 || failure.Offset > len(document) {
			t.Fatalf("%v, of %d", err, len(document))
		}
		reason = failure.Reason
	}
	const jsonLimit = 10000 // levels, beyond which encoding/json refuses what we do not
	if bytes.Count(document, []byte("["))+bytes.Count(document, []byte("{")) >= jsonLimit {
		return
	}
	object := bytes.HasPrefix(bytes.TrimLeft(document, " \t\r\n"), []byte("{"))
	allowed := []transcode.Reason{transcode.NotJSON, transcode.Truncated, transcode.TrailingBytes}
	switch {
	case json.Valid(document) && object:
		allowed = []transcode.Reason{0, transcode.OverSize}
	case json.Valid(document):
		allowed = []transcode.Reason{transcode.NotObject}
	}
	if !slices.Contains(allowed, reason) {
		t.Fatalf("%v, want one of %v", err, allowed)
	}
}
