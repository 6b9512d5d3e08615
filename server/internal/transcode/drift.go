package transcode

// maxDrift is how many different entries Answer.Drift holds.
const maxDrift = 16

// Drift is one way in which a document differed from what the message foresees. It tells where and how, never what.
type Drift struct {
	// Path leads to the place: known members by their names, joined by dots; "[]" for the elements of a list; "*" for the
	// keys of a map and for anything inside a free-form object, since those are users' data. The name of an unknown
	// member stands at the end of its path if it looks like a name in a schema, else "?" does.
	Path string
	Kind Kind
}

// Kind is the way in which a document differed.
type Kind uint8

// The kinds. What is said to be left out is absent from the message as though the document did not have it.
const (
	// UnknownMember is a member that the message has no field for. It is left out.
	UnknownMember Kind = iota + 1
	// WrongType is a value that the field cannot hold, such as a string for a list or 1.5 for an integer. It is left out.
	WrongType
	// NullElement is a null among the elements of a list or the values of a map, which protobuf cannot express. It is left out.
	NullElement
	// Duplicate is a member, or a key of a free-form object, of a name that had a usable value before. It is left out.
	Duplicate
	// BadTimestamp is a string that is no RFC 3339 time between the years 1 and 9999. It is left out.
	BadTimestamp
	// OutOfRange is a number too large for its type. It is left out; in a free-form list a null takes its place.
	OutOfRange
	// Rounded is a number with more digits than a double keeps, or closer to zero than one can be. It was rounded.
	Rounded
	// BadUTF8 is a string with bytes that are no UTF-8. Each has become U+FFFD.
	BadUTF8
	// LoneSurrogate is a string with an escaped half of a surrogate pair. It has become U+FFFD.
	LoneSurrogate
	// TooDeep is a value nested deeper than MaxNesting allows. It is left out; in a free-form list a null takes its place.
	TooDeep
	// TooLarge is a value left out because the message would be larger than MaxSize otherwise.
	TooLarge
)

// kindNames are metric labels: they do not change.
var kindNames = [...]string{
	UnknownMember: "unknown_member",
	WrongType:     "wrong_type",
	NullElement:   "null_element",
	Duplicate:     "duplicate",
	BadTimestamp:  "bad_timestamp",
	OutOfRange:    "out_of_range",
	Rounded:       "rounded_number",
	BadUTF8:       "bad_utf8",
	LoneSurrogate: "lone_surrogate",
	TooDeep:       "too_deep",
	TooLarge:      "too_large",
}

// String returns the name of the kind as metric labels and logs bear it.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return "invalid"
	}
	return kindNames[k]
}

// note reports a drift at the present path. The same drift at the same path has one entry, however often it occurs.
func (d *decoder) note(k Kind) {
	d.driftTotal++
	if len(d.drift) == maxDrift {
		return
	}
	d.scratch = d.scratch[:0]
	for i, segment := range d.path.segments[:d.path.length] {
		if i > 0 && segment != elements {
			d.scratch = append(d.scratch, '.')
		}
		d.scratch = append(d.scratch, segment...)
	}
	for _, known := range d.drift {
		if known.Kind == k && known.Path == string(d.scratch) {
			return
		}
	}
	d.drift = append(d.drift, Drift{Path: string(d.scratch), Kind: k})
}

// The segments of a path that are no names.
const (
	elements = "[]"
	anyKey   = "*"
	noName   = "?"
)

// path is where in the document the decoder is.
type path struct {
	// A message adds one segment, and so does a list, a map or a free-form value in it.
	segments [2 * MaxNesting]string
	length   int
}

func (p *path) push(segment string) {
	p.segments[p.length] = segment
	p.length++
}

func (p *path) pop() { p.length-- }

// at changes the last segment.
func (p *path) at(segment string) { p.segments[p.length-1] = segment }

// schemaName returns the name of an unknown member if it can be told, else a question mark: a name that does not look
// like one that a schema has may be anybody's data.
func schemaName(raw []byte) string {
	const maxLength = 64
	if len(raw) == 0 || len(raw) > maxLength {
		return noName
	}
	for _, c := range raw {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		default:
			return noName
		}
	}
	return string(raw)
}
