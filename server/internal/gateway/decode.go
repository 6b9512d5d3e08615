package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	"recoverycodes.internal/server/internal/apierror"
)

// maxDepth bounds the recursion into a free-form object. The service's own limit on claims is the same.
const maxDepth = 64

// maxFreeForm bounds the text of a free-form object before it is walked: far above the 4 KB that its values may have,
// white space and escapes included, and far below what is costly to walk.
const maxFreeForm = 64 << 10

// maxViolations bounds what is told of one request.
const maxViolations = 16

// decode reads the JSON of a request into msg. It is strict where protojson is generous: a member must have its exact
// name and type and stand once, and a number must be one that a double holds, because a member that is silently
// dropped or changed here is a session that differs from what was asked for. An explicit null means absent, except
// inside free-form objects, where it is a value. An empty body is an empty message.
func decode(r io.Reader, msg proto.Message) *apierror.Error {
	text, err := io.ReadAll(r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &apierror.Error{
			Code: codes.InvalidArgument, HTTP: http.StatusRequestEntityTooLarge, Reason: apierror.BodyTooLarge,
			Message: fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit),
		}
	case err != nil:
		return malformed("the body ended before it was complete")
	case len(bytes.TrimSpace(text)) == 0:
		return nil
	}
	d := &decoder{json: json.NewDecoder(bytes.NewReader(text))}
	d.json.UseNumber()
	if !d.message(msg.ProtoReflect()) {
		return malformed(fmt.Sprintf("the body is not a JSON object; reading stopped at byte %d", d.json.InputOffset()))
	}
	if len(d.violations) > 0 {
		return apierror.Invalid(d.violations...)
	}
	return nil
}

func malformed(message string) *apierror.Error {
	return &apierror.Error{Code: codes.InvalidArgument, Reason: apierror.MalformedBody, Message: message}
}

type decoder struct {
	json       *json.Decoder
	violations []apierror.Violation
}

func (d *decoder) refuse(path, description string) {
	d.violations = append(d.violations, apierror.Violation{Field: path, Description: description})
}

// message reads the one object of the body. It reports false when the text is not JSON or no object.
func (d *decoder) message(m protoreflect.Message) bool {
	if t, err := d.json.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	seen := make(map[string]bool)
	for d.json.More() {
		if len(d.violations) == maxViolations {
			return true // enough is known
		}
		name, ok := d.name()
		var value json.RawMessage
		if !ok || d.json.Decode(&value) != nil {
			return false
		}
		field := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case field == nil:
			d.refuse(shown(name), "is not a field of this request")
			continue // a name that is not ours is not remembered
		case seen[name]:
			d.refuse(name, "stands more than once")
		case string(value) != "null":
			d.field(m, field, value)
		}
		seen[name] = true
	}
	if _, err := d.json.Token(); err != nil {
		return false
	}
	_, err := d.json.Token()
	return errors.Is(err, io.EOF)
}

func (d *decoder) name() (string, bool) {
	t, err := d.json.Token()
	name, ok := t.(string)
	return name, err == nil && ok
}

func (d *decoder) field(m protoreflect.Message, field protoreflect.FieldDescriptor, value json.RawMessage) {
	path := string(field.Name())
	if what := badText(value); what != "" {
		d.refuse(path, what)
		return
	}
	switch {
	case field.Kind() == protoreflect.StringKind:
		var s string
		if json.Unmarshal(value, &s) != nil {
			d.refuse(path, "must be a string")
			return
		}
		m.Set(field, protoreflect.ValueOfString(s))
	case field.Kind() == protoreflect.Int32Kind:
		n, err := strconv.ParseInt(string(value), 10, 32)
		if err != nil {
			d.refuse(path, "must be a whole number of 32 bits")
			return
		}
		m.Set(field, protoreflect.ValueOfInt32(int32(n)))
	case field.Message() != nil && field.Message().FullName() == (*structpb.Struct)(nil).ProtoReflect().Descriptor().FullName():
		if value[0] != '{' {
			d.refuse(path, "must be an object")
			return
		}
		if len(value) > maxFreeForm {
			d.refuse(path, fmt.Sprintf("is larger than %d bytes", maxFreeForm))
			return
		}
		free := &decoder{json: json.NewDecoder(bytes.NewReader(value))}
		free.json.UseNumber()
		v := free.value(&place{name: path}, 0)
		if len(free.violations) > 0 {
			d.violations = append(d.violations, free.violations...)
			return
		}
		m.Set(field, protoreflect.ValueOfMessage(v.GetStructValue().ProtoReflect()))
	default:
		// No request has a field of another type; a test holds the contract to that.
		d.refuse(path, "cannot be given over REST")
	}
}

// place is where a value stands in a free-form object. It is made into text only when something there is refused.
type place struct {
	parent *place
	name   string // of a member; empty for an element
	index  int    // of an element
}

func (p *place) String() string {
	switch {
	case p.parent == nil:
		return p.name
	case p.name != "":
		return p.parent.String() + "." + shown(p.name)
	default:
		return p.parent.String() + "[" + strconv.Itoa(p.index) + "]"
	}
}

// value reads one value of a free-form object. The text is known to be valid JSON. What is refused is named by its
// place, and the result is then of no use.
func (d *decoder) value(at *place, depth int) *structpb.Value {
	if depth > maxDepth {
		d.refuse(at.String(), fmt.Sprintf("is nested deeper than %d levels", maxDepth))
		return nil
	}
	t, err := d.json.Token()
	if err != nil {
		d.refuse(at.String(), "is not valid JSON")
		return nil
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return d.list(at, depth)
		}
		return d.object(at, depth)
	case json.Number:
		f, ok := exact(string(t))
		if !ok {
			d.refuse(at.String(), "holds a number that would lose digits as a double; send it as a string")
		}
		return structpb.NewNumberValue(f)
	case string:
		return structpb.NewStringValue(t)
	case bool:
		return structpb.NewBoolValue(t)
	default:
		return structpb.NewNullValue()
	}
}

func (d *decoder) list(at *place, depth int) *structpb.Value {
	list := &structpb.ListValue{}
	for i := 0; d.json.More(); i++ {
		list.Values = append(list.Values, d.value(&place{parent: at, index: i}, depth+1))
		if len(d.violations) > 0 {
			return nil
		}
	}
	_, _ = d.json.Token() // the closing bracket of valid JSON
	return structpb.NewListValue(list)
}

func (d *decoder) object(at *place, depth int) *structpb.Value {
	object := &structpb.Struct{Fields: make(map[string]*structpb.Value)}
	for d.json.More() {
		name, _ := d.name()
		member := &place{parent: at, name: name}
		if _, twice := object.Fields[name]; twice {
			d.refuse(member.String(), "stands more than once")
			return nil
		}
		object.Fields[name] = d.value(member, depth+1)
		if len(d.violations) > 0 {
			return nil
		}
	}
	_, _ = d.json.Token() // the closing brace of valid JSON
	return structpb.NewStructValue(object)
}

// shown makes a caller's own member name fit for an error text.
func shown(name string) string {
	const limit = 64
	clean := strconv.QuoteToASCII(name)
	clean = clean[1 : len(clean)-1]
	if len(clean) > limit {
		clean = clean[:limit] + "..."
	}
	return clean
}

// badText looks for what encoding/json would replace without a word: bytes that are no UTF-8, and halves of surrogate
// pairs. A recovery code is never normalised, so a value that holds one is refused.
func badText(value []byte) string {
	if !utf8.Valid(value) {
		return "is not valid UTF-8"
	}
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			continue
		}
		i++ // the escaped character; valid JSON has one
		if value[i] != 'u' {
			continue
		}
		unit := hex4(value[i+1:])
		i += 4
		switch {
		case unit < 0xD800 || unit > 0xDFFF:
		case unit < 0xDC00 && bytes.HasPrefix(value[i+1:], []byte(`\u`)) && hex4(value[i+3:])&0xFC00 == 0xDC00:
			i += 6
		default:
			return "holds half of a surrogate pair"
		}
	}
	return ""
}

func hex4(digits []byte) int {
	n, _ := strconv.ParseUint(string(digits[:4]), 16, 16) // valid JSON has four digits
	return int(n)
}
