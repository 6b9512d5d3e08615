package interceptor

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// TestMarshal holds the codec to proto.Marshal, and to handing out what is encoded already.
func TestMarshal(t *testing.T) {
	wire, err := proto.Marshal(&recoverycodesv1.GetResponse{RequestId: "r", MemberId: "m", RecoveryCodes: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	encoded, both := &recoverycodesv1.GetResponse{}, &recoverycodesv1.GetResponse{StatusCode: 200}
	encoded.ProtoReflect().SetUnknown(wire)
	both.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, markNumber, protowire.VarintType), 1))
	for name, msg := range map[string]proto.Message{
		"empty": &recoverycodesv1.GetResponse{}, "fields": &recoverycodesv1.GetResponse{RequestId: "r"}, "encoded": encoded, "both": both,
	} {
		t.Run(name, func(t *testing.T) {
			want, err := proto.Marshal(msg)
			if err != nil {
				t.Fatal(err)
			}
			slices, err := Codec().Marshal(msg)
			if err != nil {
				t.Fatal(err)
			}
			defer slices.Free()
			if got := slices.Materialize(); !bytes.Equal(got, want) {
				t.Errorf("%x, want %x", got, want)
			}
		})
	}
	slices, err := Codec().Marshal(encoded)
	if err != nil {
		t.Fatal(err)
	}
	defer slices.Free()
	if got := slices[0].ReadOnlyData(); &got[0] != &wire[0] {
		t.Error("the bytes are copied")
	}
}
