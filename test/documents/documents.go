// Package documents holds answers as the upstream writes them, for the tests of whatever reads, relays or compares
// answers. Their shape is the upstream's: snake_case members in alphabetical order, explicit nulls, empty lists and maps
// written out, timestamps with zero to nine digits of a second, text with and without escapes. Their content is invented, and every
// code and token says that it is fake.
//
// It knows nothing of messages or of any other package, and nothing but tests may import it.
package documents

import (
	_ "embed"
	"slices"
)

var (
	//go:embed get.json
	get []byte
	//go:embed recover.json
	recovered []byte
	//go:embed rotate.json
	rotated []byte
)

// Get returns a copy of an answer to Get: indented, of a member with registrations, roles and nested metadata.
func Get() []byte { return slices.Clone(get) }

// Recover returns a copy of an answer to Recover: compact, with a session of several factors, a device and SCIM attributes.
func Recover() []byte { return slices.Clone(recovered) }

// Rotate returns a copy of an answer to Rotate: indented, in ASCII alone.
func Rotate() []byte { return slices.Clone(rotated) }
