package transcode_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func BenchmarkAppend(b *testing.B) {
	for _, a := range answers {
		b.Run(a.name, func(b *testing.B) {
			made := table(b, a.message, "request_id", "status_code")
			var document bytes.Buffer
			if err := json.Compact(&document, a.document); err != nil { // as the upstream sends it
				b.Fatal(err)
			}
			dst := make([]byte, 0, 2*document.Len())
			b.SetBytes(int64(document.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := made.Append(dst, document.Bytes()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkProtojson does the same in the usual way, to compare with.
func BenchmarkProtojson(b *testing.B) {
	for _, a := range answers {
		b.Run(a.name, func(b *testing.B) {
			read := protojson.UnmarshalOptions{DiscardUnknown: true}
			dst := make([]byte, 0, 2*len(a.document))
			b.SetBytes(int64(len(a.document)))
			b.ReportAllocs()
			for b.Loop() {
				m := a.message.ProtoReflect().New().Interface()
				if err := read.Unmarshal(a.document, m); err != nil {
					b.Fatal(err)
				}
				if _, err := (proto.MarshalOptions{}).MarshalAppend(dst, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
