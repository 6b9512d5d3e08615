package interceptor

import (
	"context"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that this one wraps
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"recoverycodes.internal/server/internal/apierror"
)

// Codec is gRPC's protobuf codec, but for requests that do not decode: gRPC would answer those by itself, before any
// interceptor, with an error text of its library. This codec lets them in, empty and marked, so that they are logged
// and counted like any other call and refused by the link decodable, which names the field.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

type codec struct{ encoding.CodecV2 }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	err := c.CodecV2.Unmarshal(data, v)
	msg, ok := v.(proto.Message)
	if err == nil || !ok {
		return err
	}
	proto.Reset(msg)
	mark(msg, badText(data.Materialize(), msg.ProtoReflect().Descriptor(), 0))
	return nil
}

// The mark is an unknown field, whose number no contract can use: protobuf reserves the range it is from. A caller who
// sends it is refused, which is all that it can do.
const markNumber protowire.Number = 19999

// mark says of a message that it did not decode; field is the one to blame, empty when it is not known.
func mark(msg proto.Message, field string) {
	msg.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, markNumber, protowire.BytesType), field))
}

// decodable refuses a request that Codec has marked.
func decodable(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	msg, ok := req.(proto.Message)
	if !ok {
		return handler(ctx, req)
	}
	unknown := msg.ProtoReflect().GetUnknown()
	number, _, n := protowire.ConsumeTag(unknown)
	if n < 0 || number != markNumber {
		return handler(ctx, req)
	}
	if field, n := protowire.ConsumeString(unknown[n:]); n > 0 && field != "" {
		return nil, apierror.Invalid(apierror.Violation{Field: field, Description: "is not valid UTF-8"})
	}
	return nil, &apierror.Error{
		Code: codes.InvalidArgument, Reason: apierror.MalformedBody, Message: "the request is not the protobuf message of this RPC",
	}
}

// maxBlame bounds how deep badText looks. What is nested deeper is refused without a name.
const maxBlame = 32

// badText returns the path of the first string field in wire that is not valid UTF-8, or "".
func badText(wire []byte, md protoreflect.MessageDescriptor, depth int) string {
	for len(wire) > 0 && depth < maxBlame {
		number, kind, n := protowire.ConsumeField(wire)
		if n < 0 {
			return ""
		}
		_, _, tag := protowire.ConsumeTag(wire)
		content := wire[tag:n]
		wire = wire[n:]
		field := md.Fields().ByNumber(number)
		if field == nil || kind != protowire.BytesType {
			continue
		}
		value, _ := protowire.ConsumeBytes(content)
		switch {
		case field.Kind() == protoreflect.StringKind && !utf8.Valid(value):
			return string(field.Name())
		case field.Message() != nil:
			if inner := badText(value, field.Message(), depth+1); inner != "" {
				return string(field.Name()) + "." + inner
			}
		}
	}
	return ""
}
