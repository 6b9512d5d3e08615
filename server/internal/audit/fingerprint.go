package audit

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// fingerprintSize is how many bytes of the HMAC are shown. Nobody finds two codes with the same sixteen.
const fingerprintSize = 16

// Fingerprinter makes fingerprints of recovery codes: equal codes have equal ones, so that a record shows when a code
// is tried again. Codes are short enough to be guessed; without the secret, no guess can be tried on a fingerprint.
// It is safe for concurrent use.
//
// Neither organization nor member is in a fingerprint. Both go by several names, and one code that is tried on many
// members is just what a record should show.
type Fingerprinter struct {
	key []byte
}

// NewFingerprinter returns a Fingerprinter with a key of its own that is derived from the server's secret. With the
// same secret, replicas and restarts give the same fingerprints. The secret must not be empty and should be at least
// 32 random bytes.
func NewFingerprinter(secret []byte) (*Fingerprinter, error) {
	if len(secret) == 0 {
		return nil, errors.New("audit: the secret for fingerprints is empty")
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "audit fingerprint", sha256.Size)
	return &Fingerprinter{key}, err
}

// Code returns the fingerprint of a code in hexadecimal, and nothing for no code.
func (f *Fingerprinter) Code(code string) string {
	if code == "" {
		return ""
	}
	h := hmac.New(sha256.New, f.key)
	h.Write([]byte(code))
	return hex.EncodeToString(h.Sum(nil)[:fingerprintSize])
}
