package once

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// What the secret is used for. No two uses can be given the same bytes, because each begins with its own of these.
const (
	forName        = "once name"
	forFingerprint = "once fingerprint"
	forRecord      = "once record"
)

// digest is an HMAC-SHA256 under the server's secret: all that a store learns of a caller, a key or a request.
type digest [sha256.Size]byte

// sealer names calls and seals their records, for any store.
type sealer struct {
	secret []byte
}

func newSealer(secret []byte) (sealer, error) {
	if len(secret) == 0 {
		return sealer{}, errors.New("once: the store's secret is empty")
	}
	return sealer{secret: bytes.Clone(secret)}, nil
}

// ring is the sealers of several secrets: the first is for new records, and what any of them made is known. While the
// replicas go from one secret to the next, some have it first and the others second, and they find the same records.
type ring []sealer

func newRing(secrets [][]byte) (ring, error) {
	if len(secrets) == 0 {
		return nil, errors.New("once: the store has no secret")
	}
	var r ring
	for _, secret := range secrets {
		s, err := newSealer(secret)
		if err != nil {
			return nil, err
		}
		r = append(r, s)
	}
	return r, nil
}

// name is what the record of a call is found by.
func (s sealer) name(c Call) digest {
	return s.digest(forName, []byte(c.Caller), []byte(c.Key))
}

// fingerprint tells whether two calls of one name have the same request. It covers the name as well, so that a store
// does not show which of its calls ask for the same.
func (s sealer) fingerprint(c Call) digest {
	name := s.name(c)
	return s.digest(forFingerprint, name[:], c.Request)
}

func (s sealer) digest(use string, parts ...[]byte) digest {
	h := hmac.New(sha256.New, s.secret)
	h.Write(frame([]byte(use)))
	h.Write(frame(parts...))
	return digest(h.Sum(nil))
}

// box seals and opens the record of one call: AES-256-GCM with a random nonce before the ciphertext.
type box struct {
	aead cipher.AEAD
}

// box makes the box of a call, given its fingerprint. Its key takes the server's secret and the caller's key: a store
// shows fingerprints, and callers and keys can be guessed, but without the secret all three together open nothing.
func (s sealer) box(c Call, fingerprint digest) (box, error) {
	info := frame([]byte(forRecord), []byte(c.Caller), fingerprint[:])
	key, err := hkdf.Key(sha256.New, frame(s.secret, []byte(c.Key)), nil, string(info), 32)
	if err != nil {
		return box{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return box{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return box{aead}, err
}

func (b box) seal(record []byte) []byte {
	return b.aead.Seal(nil, nil, record, nil) //nolint:gosec // G407: this AEAD takes no nonce, it makes its own
}

func (b box) open(sealed []byte) ([]byte, error) {
	return b.aead.Open(nil, nil, sealed, nil)
}

// frame puts its length before each part, so that different parts never give the same bytes.
func frame(parts ...[]byte) []byte {
	var b []byte
	for _, part := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}
