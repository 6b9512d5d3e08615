package transcode

import "fmt"

// DocumentError says why a document as a whole could not be read. It tells where, never what stands there.
type DocumentError struct {
	// Offset is the number of bytes before the place of the error.
	Offset int
	Reason Reason
}

// Reason is why a document could not be read.
type Reason uint8

// The reasons.
const (
	// NotJSON is a byte that the grammar of JSON does not allow.
	NotJSON Reason = iota + 1
	// Truncated is a document that ends too early.
	Truncated
	// NotObject is a JSON value other than an object.
	NotObject
	// TrailingBytes is anything but white space after the object.
	TrailingBytes
	// OverSize is a message larger than MaxSize even without its free-form parts and nested messages.
	OverSize
)

// reasonNames are metric labels: they do not change.
var reasonNames = [...]string{
	NotJSON:       "not_json",
	Truncated:     "truncated",
	NotObject:     "not_an_object",
	TrailingBytes: "trailing_bytes",
	OverSize:      "over_size",
}

// String returns the name of the reason as metric labels and logs bear it.
func (r Reason) String() string {
	if r == 0 || int(r) >= len(reasonNames) {
		return "invalid"
	}
	return reasonNames[r]
}

func (e *DocumentError) Error() string {
	return fmt.Sprintf("transcode: %s at byte %d", e.Reason, e.Offset)
}
