package transcode

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// copyField is stringValue for the texts that copyText takes. For any other value it does nothing.
func (d *decoder) copyField(f *field) bool {
	begin := len(d.out)
	d.tag(f)
	n := d.copyText()
	if n > 0 || n == 0 && f.presence {
		return true
	}
	d.out = d.out[:begin]
	return n == 0
}

// copyText passes a string and writes it, its length before it, if it is of ASCII without escapes, has a length of one byte,
// and is far enough from the ends of the document and of the memory for out to be read and written eight bytes at a time.
// It returns the length. For anything else it does nothing and returns -1.
func (d *decoder) copyText() int {
	if d.peek() != '"' || len(d.out) == cap(d.out) {
		return -1
	}
	src, dst := d.src[d.pos+1:], d.out[len(d.out)+1:cap(d.out)]
	for n := 0; n < 0x80 && n+8 <= len(src) && n+8 <= len(dst); n += 8 {
		w := binary.LittleEndian.Uint64(src[n:])
		binary.LittleEndian.PutUint64(dst[n:], w)
		m := special(w)
		if m == 0 {
			continue
		}
		if n += bits.TrailingZeros64(m) / 8; src[n] != '"' {
			return -1
		}
		d.pos += n + len(`""`)
		d.out = append(d.out, byte(n))
		d.out = d.out[:len(d.out)+n]
		return n
	}
	return -1
}

// stringValue reads a string into a field.
func (d *decoder) stringValue(f *field) result {
	if d.peek() != '"' {
		return d.dropValue(WrongType)
	}
	if f.keep == 0 && d.copyField(f) {
		return taken
	}
	t, ok := d.text()
	if !ok {
		return broken
	}
	if t.start == t.end && !f.presence {
		return taken
	}
	d.tag(f)
	s := d.appendText(t)
	if f.keep != 0 {
		d.kept[f.keep-1] = string(d.out[s.start:s.end])
	}
	return taken
}

// boolValue reads true or false into a field.
func (d *decoder) boolValue(f *field) result {
	var v byte
	want := "false"
	switch d.peek() {
	case 't':
		v, want = 1, "true"
	case 'f':
	default:
		return d.dropValue(WrongType)
	}
	if !d.literal(want) {
		return broken
	}
	if v != 0 || f.presence {
		d.tag(f)
		d.out = append(d.out, v)
	}
	if f.keep != 0 {
		d.kept[f.keep-1] = want
	}
	return taken
}

// anyText passes a string and writes it with its length before it. It returns where the string stands.
func (d *decoder) anyText() (span, bool) {
	if n := d.copyText(); n >= 0 {
		return span{len(d.out) - n, len(d.out)}, true
	}
	t, ok := d.text()
	if !ok {
		return span{}, false
	}
	return d.appendText(t), true
}

// appendText writes a string and its length before it. It returns where the string stands.
func (d *decoder) appendText(t text) span {
	raw := d.src[t.start:t.end]
	if !t.escaped && (!t.wide || utf8.Valid(raw)) {
		d.varint(uint64(len(raw)))
		start := len(d.out)
		d.out = append(d.out, raw...)
		return span{start, len(d.out)}
	}
	start := d.open()
	out, flaws := appendRepaired(d.out, raw)
	d.out = out
	if flaws.badUTF8 {
		d.note(BadUTF8)
	}
	if flaws.loneSurrogate {
		d.note(LoneSurrogate)
	}
	s := span{start, len(d.out)}
	return s.shift(d.close(start))
}

// unescaped returns the bytes of a string, repaired, for reading only and only until the next string.
func (d *decoder) unescaped(t text) []byte {
	raw := d.src[t.start:t.end]
	if t.escaped {
		d.scratch, _ = appendRepaired(d.scratch[:0], raw)
		return d.scratch
	}
	return raw
}

// flaws is what appendRepaired had to repair.
type flaws struct{ badUTF8, loneSurrogate bool }

// appendRepaired appends what a string stands for, given the bytes between its quotes, which the scanner has passed. What
// is no character becomes U+FFFD.
func appendRepaired(dst, raw []byte) ([]byte, flaws) {
	var f flaws
	for i := 0; i < len(raw); {
		c := raw[i]
		switch {
		case c == '\\' && raw[i+1] == 'u':
			r := unit(raw[i:])
			i += unitLength
			if utf16.IsSurrogate(r) {
				pair := utf16.DecodeRune(r, unit(raw[i:]))
				if pair == utf8.RuneError {
					f.loneSurrogate = true
				} else {
					i += unitLength
				}
				r = pair
			}
			dst = utf8.AppendRune(dst, r)
		case c == '\\':
			dst = append(dst, unescape(raw[i+1]))
			i += 2
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, size := utf8.DecodeRune(raw[i:])
			f.badUTF8 = f.badUTF8 || r == utf8.RuneError && size == 1
			dst = utf8.AppendRune(dst, r)
			i += size
		}
	}
	return dst, f
}

// unitLength is the length of an escaped UTF-16 unit, as in \u00e9.
const unitLength = 6

// unit returns the UTF-16 unit whose escape b begins with, or -1 when b begins with something else.
func unit(b []byte) rune {
	if len(b) < unitLength || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:unitLength] {
		digit, _ := hexDigit(c)
		r = r<<4 | digit
	}
	return r
}

// unescape returns what a letter after a backslash stands for.
func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}
