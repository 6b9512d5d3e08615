package interceptor

import (
	"bytes"
	"strings"
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

// TestEncodedAnswersAreWiped has gRPC's way of being done with an answer leave nothing of it in memory.
func TestEncodedAnswersAreWiped(t *testing.T) {
	wire := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), strings.Repeat("code", 1000))
	answer := &recoverycodesv1.GetResponse{}
	answer.ProtoReflect().SetUnknown(wire)
	slices, err := Codec().Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(wire, []byte("code")) != 1000 {
		t.Fatal("it is wiped before it is sent")
	}
	slices.Free()
	if bytes.Contains(wire, []byte("code")) {
		t.Error("the answer is still in memory")
	}
}
