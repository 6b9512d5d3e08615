package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ReadSeed reads a seed from JSON. It takes nothing that it does not know:
// unknown, repeated and ill-typed members are errors that name the member and
// its line. Values never appear in errors.
func ReadSeed(from io.Reader) (*Seed, error) {
	data, err := io.ReadAll(from)
	if err != nil {
		return nil, fmt.Errorf("reading the seed: %w", err)
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("seed: line %d: not valid JSON", lineAt(data, syntax.Offset))
		}
		return nil, errors.New("seed: not valid JSON")
	}
	r := &seedReader{data: data, decoder: json.NewDecoder(bytes.NewReader(data))}
	r.decoder.UseNumber()
	seed := &Seed{}
	if err := r.seed(seed); err != nil {
		return nil, err
	}
	if err := seed.validate(); err != nil {
		return nil, err
	}
	return seed, nil
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
}

// seedReader walks through JSON that is known to be valid.
type seedReader struct {
	data    []byte
	decoder *json.Decoder
}

// fields maps the member names of an object to what reads their values.
type fields map[string]func(at string) error

func (r *seedReader) seed(seed *Seed) error {
	return r.object("", fields{
		"organizations": func(at string) error {
			return r.list(at, func(at string) error {
				seed.Organizations = append(seed.Organizations, Organization{})
				return r.organization(at, &seed.Organizations[len(seed.Organizations)-1])
			})
		},
	})
}

func (r *seedReader) organization(at string, o *Organization) error {
	return r.object(at, fields{
		"organization_id":          r.value(&o.ID),
		"organization_slug":        r.value(&o.Slug),
		"organization_external_id": r.value(&o.ExternalID),
		"organization_name":        r.value(&o.Name),
		"trusted_metadata":         r.value(&o.TrustedMetadata),
		"suspended":                r.value(&o.Suspended),
		"members": func(at string) error {
			return r.list(at, func(at string) error {
				o.Members = append(o.Members, Member{})
				return r.member(at, &o.Members[len(o.Members)-1])
			})
		},
	})
}

func (r *seedReader) member(at string, m *Member) error {
	return r.object(at, fields{
		"member_id":          r.value(&m.ID),
		"external_id":        r.value(&m.ExternalID),
		"email_address":      r.value(&m.EmailAddress),
		"name":               r.value(&m.Name),
		"status":             r.value(&m.Status),
		"trusted_metadata":   r.value(&m.TrustedMetadata),
		"untrusted_metadata": r.value(&m.UntrustedMetadata),
		"recovery_codes":     r.value(&m.RecoveryCodes),
		"no_totp":            r.value(&m.NoTOTP),
	})
}

func (r *seedReader) object(at string, known fields) error {
	if err := r.begin(at, '{', "an object"); err != nil {
		return err
	}
	seen := map[string]bool{}
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		at := at + "." + name
		if at[0] == '.' {
			at = name
		}
		read, ok := known[name]
		switch {
		case !ok:
			return r.errorf(at, "unknown member")
		case seen[name]:
			return r.errorf(at, "given twice")
		}
		seen[name] = true
		if err := read(at); err != nil {
			return err
		}
	}
	_, err := r.decoder.Token()
	return err
}

func (r *seedReader) list(at string, each func(at string) error) error {
	if err := r.begin(at, '[', "a list"); err != nil {
		return err
	}
	for i := 0; r.decoder.More(); i++ {
		if err := each(fmt.Sprintf("%s[%d]", at, i)); err != nil {
			return err
		}
	}
	_, err := r.decoder.Token()
	return err
}

func (r *seedReader) begin(at string, delimiter json.Delim, want string) error {
	token, err := r.decoder.Token()
	if err != nil {
		return err
	}
	if token != delimiter {
		return r.errorf(at, "must be "+want)
	}
	return nil
}

// value returns what reads a value that encoding/json can. Null leaves the
// target as it is.
func (r *seedReader) value(target any) func(at string) error {
	return func(at string) error {
		if err := r.decoder.Decode(target); err != nil {
			return r.errorf(at, "the value has the wrong type")
		}
		return nil
	}
}

func (r *seedReader) errorf(at, what string) error {
	if at != "" {
		at += ": "
	}
	return fmt.Errorf("seed: line %d: %s%s", lineAt(r.data, r.decoder.InputOffset()), at, what)
}
