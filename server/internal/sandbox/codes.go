package sandbox

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
)

// codesPerMember is how many codes an enrolment or a rotation mints.
const codesPerMember = 10

// RecoveryCodes returns the ten codes that a member starts with unless the
// seed gives it others. They never change, so that examples can show them.
func RecoveryCodes() []string {
	return []string{
		"sand-b0xc-ode1",
		"mill-7pon-d2ru",
		"h4ze-lnut-9tre",
		"copp-er3k-ettl",
		"wren-5nes-t8ed",
		"6bra-mble-path",
		"tide-p0ol-crab",
		"flin-t2an-dste",
		"oatc-akes-4tea",
		"lant-ern9-glow",
	}
}

const codeAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"

// mintCodes returns fresh codes in the form xxxx-xxxx-xxxx, all different.
func mintCodes() []string {
	codes := make([]string, 0, codesPerMember)
	for len(codes) < codesPerMember {
		if code := mintCode(); !slices.Contains(codes, code) {
			codes = append(codes, code)
		}
	}
	return codes
}

func mintCode() string {
	var code strings.Builder
	for code.Len() < len("xxxx-xxxx-xxxx") {
		if code.Len()%5 == 4 {
			code.WriteByte('-')
		}
		code.WriteByte(randomLetter())
	}
	return code.String()
}

// randomLetter discards the bytes that would favour some letters over others.
func randomLetter() byte {
	const fair = 256 - 256%len(codeAlphabet)
	for {
		var b [1]byte
		fillRandom(b[:])
		if int(b[0]) < fair {
			return codeAlphabet[int(b[0])%len(codeAlphabet)]
		}
	}
}

func newUUID() string {
	var b [16]byte
	fillRandom(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func fillRandom(b []byte) {
	_, _ = rand.Read(b) // crypto/rand never fails: it ends the process instead
}
