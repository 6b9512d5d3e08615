package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"recoverycodes.internal/client"
	organizationsv1 "recoverycodes.internal/gen/go/stytch/b2b/organizations/v1"
	recoverycodesv1 "recoverycodes.internal/gen/go/stytch/b2b/recoverycodes/v1"
)

// hidden stands in the place of a secret. That there is one, and how many, can still be seen.
const hidden = "[hidden]"

// A printer writes answers.
type printer struct {
	w           io.Writer
	json        bool
	showSecrets bool
}

func (p printer) print(m proto.Message) error {
	if !p.showSecrets {
		m = proto.Clone(m)
		hideSecrets(m.ProtoReflect())
	}
	if !p.json {
		return p.table(rows(m))
	}
	text, err := encodeJSON(m)
	if err != nil {
		return err
	}
	_, err = p.w.Write(text)
	return err
}

// printState writes what became of a code.
func (p printer) printState(state client.CodeState) error {
	if !p.json {
		return p.table([]row{{"code", state.String()}})
	}
	_, err := fmt.Fprintf(p.w, "{\n  \"code\": %q\n}\n", state)
	return err
}

func (p printer) table(rows []row) error {
	_, err := p.w.Write(encodeTable(rows))
	return err
}

// hideSecrets replaces the content of every field that the contract marks with debug_redact, at any depth. Secrets are
// strings and lists of strings; a marked field of another kind is cleared.
func hideSecrets(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		options, _ := field.Options().(*descriptorpb.FieldOptions)
		switch {
		case !options.GetDebugRedact():
			eachMessage(field, value, hideSecrets)
		case field.Kind() == protoreflect.StringKind && field.IsList():
			for i := range value.List().Len() {
				value.List().Set(i, protoreflect.ValueOfString(hidden))
			}
		case field.Kind() == protoreflect.StringKind && !field.IsMap():
			m.Set(field, protoreflect.ValueOfString(hidden))
		default:
			m.Clear(field)
		}
		return true
	})
}

// eachMessage visits the messages that stand in a field: one, a list or the values of a map.
func eachMessage(field protoreflect.FieldDescriptor, value protoreflect.Value, visit func(protoreflect.Message)) {
	switch {
	case field.IsMap():
		if field.MapValue().Message() != nil {
			value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				visit(v.Message())
				return true
			})
		}
	case field.Message() == nil:
	case field.IsList():
		for i := range value.List().Len() {
			visit(value.List().Get(i).Message())
		}
	default:
		visit(value.Message())
	}
}

// encodeJSON writes m with the field names of the contract, which are Stytch's. Indent also removes the spaces by which
// protojson varies from build to build.
func encodeJSON(m proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// A row is one line of a table; an empty name continues the line above.
type row struct{ name, value string }

// rows is what a person wants to see of an answer; -o json has all of it.
func rows(m proto.Message) []row {
	switch m := m.(type) {
	case *recoverycodesv1.GetResponse:
		return codeRows(m)
	case *recoverycodesv1.RotateResponse:
		return codeRows(m)
	case *recoverycodesv1.RecoverResponse:
		list := []row{
			{"organization", m.GetOrganization().GetOrganizationId()},
			{"member", m.GetMemberId()},
			{"codes left", fmt.Sprint(m.GetRecoveryCodesRemaining())},
			{"session token", m.GetSessionToken()},
			{"session jwt", m.GetSessionJwt()},
		}
		if expires := m.GetMemberSession().GetExpiresAt(); expires != nil {
			list = append(list, row{"expires", expires.AsTime().Format(time.RFC3339)})
		}
		return append(list, row{"request id", m.GetRequestId()})
	case *healthpb.HealthCheckResponse:
		return []row{{"status", m.GetStatus().String()}}
	default:
		panic(fmt.Sprintf("no table for %T", m))
	}
}

// codeRows is for the two answers that list a member's codes.
func codeRows(m interface {
	GetOrganization() *organizationsv1.Organization
	GetMemberId() string
	GetRecoveryCodes() []string
	GetRequestId() string
}) []row {
	list := []row{
		{"organization", m.GetOrganization().GetOrganizationId()},
		{"member", m.GetMemberId()},
		{"active codes", fmt.Sprint(len(m.GetRecoveryCodes()))},
	}
	for _, code := range m.GetRecoveryCodes() {
		list = append(list, row{"", code})
	}
	return append(list, row{"request id", m.GetRequestId()})
}

func encodeTable(rows []row) []byte {
	var b bytes.Buffer
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		_, _ = fmt.Fprintf(tw, "%s\t%s\n", printable(r.name), printable(r.value)) // a Buffer does not fail
	}
	_ = tw.Flush()
	return b.Bytes()
}

// printable replaces what could steer a terminal: text from the other side is data here, whatever bytes it has.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
