package interceptor

import (
	"bytes"
	"context"
	"crypto/rand"
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
	"recoverycodes.internal/server/internal/call"
	"recoverycodes.internal/server/internal/wiped"
)

// Codec is gRPC's protobuf codec, but for two kinds of messages. Answers that are encoded already are not encoded again.
// And requests that do not decode are let in, empty and marked, so that they are logged and counted like any other call
// and refused by the link decodable, which names the field: gRPC would answer those by itself, before any interceptor,
// with an error text of its library.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2("proto")} }

type codec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2. A message that holds nothing but bytes that are encoded already, as the service's
// answers do, is those bytes: they are handed out, not copied, and wiped when they are sent. It must not be read afterwards.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if msg, ok := v.(proto.Message); ok {
		wire := []byte(msg.ProtoReflect().GetUnknown())
		if len(wire) > 0 && proto.Size(msg) == len(wire) {
			return mem.BufferSlice{mem.NewBuffer(&wire, wiped.Buffers)}, nil
		}
	}
	return c.CodecV2.Marshal(v)
}

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

// The mark is an unknown field of a number that no contract can use, from a range that protobuf reserves, with a text
// that nobody outside this process knows before the path to blame.
const markNumber protowire.Number = 19999

var markText = rand.Text()

// mark says of a message that it did not decode; path is the field to blame, empty when it is not known.
func mark(msg proto.Message, path string) {
	tag := protowire.AppendTag(nil, markNumber, protowire.BytesType)
	msg.ProtoReflect().SetUnknown(protowire.AppendString(tag, markText+path))
}

// marked returns the error for a message that bears the mark, and nil for any other.
func marked(m any) *apierror.Error {
	msg, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	unknown := msg.ProtoReflect().GetUnknown()
	number, kind, n := protowire.ConsumeTag(unknown)
	if n < 0 || number != markNumber || kind != protowire.BytesType {
		return nil
	}
	text, _ := protowire.ConsumeBytes(unknown[n:])
	path, ok := bytes.CutPrefix(text, []byte(markText))
	switch {
	case !ok:
		return nil
	case len(path) > 0:
		return apierror.Invalid(apierror.Violation{Field: string(path), Description: "is not valid UTF-8"})
	default:
		return &apierror.Error{
			Code: codes.InvalidArgument, Reason: apierror.MalformedBody, Message: "the request is not the protobuf message of this RPC",
		}
	}
}

// decodable refuses a request that Codec has marked.
func decodable(ctx context.Context, req any, _ string) (context.Context, *apierror.Error) {
	if err := marked(req); err != nil {
		return ctx, refuse(call.FromContext(ctx), err)
	}
	return ctx, nil
}

// decodableStream is decodable for the messages of a stream. Its context carries the record of the call.
type decodableStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc.ServerStream hands its context out
}

// Context implements grpc.ServerStream.
func (s decodableStream) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream.
func (s decodableStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if err := marked(m); err != nil {
		return err
	}
	return nil
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
