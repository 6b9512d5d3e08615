package transcode

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// intValue reads an integer of any type into a field. As in protobuf's own JSON form it may be a number or a string that
// holds one, and may have a fraction of zeros or an exponent.
func (d *decoder) intValue(f *field) result {
	digits, ok := d.numeral()
	if !ok {
		return broken
	}
	if digits == nil {
		return d.dropped(WrongType)
	}
	negative, magnitude, problem := integer(digits)
	if problem == 0 && !f.kind.holds(negative, magnitude) {
		problem = OutOfRange
	}
	if problem != 0 {
		return d.dropped(problem)
	}
	v := magnitude
	if negative {
		v = -v // two's complement, sign-extended to 64 bits as varints of negative numbers are
	}
	if v != 0 || f.presence {
		d.tag(f)
		d.out = protowire.AppendVarint(d.out, v)
	}
	if f.keep != 0 {
		text := strconv.FormatUint(magnitude, 10)
		if negative && v != 0 {
			text = "-" + text
		}
		d.kept[f.keep-1] = text
	}
	return taken
}

// holds says whether an integer is within the type.
func (k kind) holds(negative bool, magnitude uint64) bool {
	limit := uint64(math.MaxUint64)
	switch k {
	case kindInt32:
		limit = math.MaxInt32
	case kindInt64:
		limit = math.MaxInt64
	case kindUint32:
		limit = math.MaxUint32
	default:
	}
	if negative {
		if k == kindUint32 || k == kindUint64 {
			return magnitude == 0
		}
		limit++
	}
	return magnitude <= limit
}

// floatValue reads a double or a float into a field. As in protobuf's own JSON form it may be a number, a string that
// holds one, or one of the strings NaN, Infinity and -Infinity.
func (d *decoder) floatValue(f *field) result {
	digits, ok := d.numeral()
	if !ok {
		return broken
	}
	bitSize := 64
	if f.kind == kindFloat {
		bitSize = 32
	}
	var v float64
	switch string(digits) {
	case "":
		return d.dropped(WrongType)
	case "NaN":
		v = math.NaN()
	case "Infinity":
		v = math.Inf(1)
	case "-Infinity":
		v = math.Inf(-1)
	default:
		if !isNumber(digits) {
			return d.dropped(WrongType)
		}
		if v, ok = d.double(digits, bitSize); !ok {
			return dropped
		}
	}
	if f.keep != 0 {
		d.kept[f.keep-1] = strconv.FormatFloat(v, 'g', -1, bitSize)
	}
	if math.Float64bits(v) == 0 && !f.presence {
		return taken
	}
	d.tag(f)
	if bitSize == 32 {
		d.out = binary.LittleEndian.AppendUint32(d.out, math.Float32bits(float32(v)))
	} else {
		d.out = binary.LittleEndian.AppendUint64(d.out, math.Float64bits(v))
	}
	return taken
}

// dropped reports a drift about a value already passed.
func (d *decoder) dropped(k Kind) result {
	d.note(k)
	return dropped
}

// numeral passes a value and returns the bytes of a number, or of a string that may hold one, until the next string. For
// any other value it returns nil.
func (d *decoder) numeral() ([]byte, bool) {
	switch c := d.peek(); {
	case c == '"':
		t, ok := d.text()
		return d.unescaped(t), ok
	case c == '-' || '0' <= c && c <= '9':
		return d.number()
	}
	return nil, d.skip()
}

// isNumber says whether all of b is a number of JSON.
func isNumber(b []byte) bool {
	s := scanner{src: b}
	_, ok := s.number()
	return ok && s.pos == len(b)
}

// allDigits says whether a number has neither sign nor fraction nor exponent.
func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// maxUint64Digits is the number of decimal digits of the largest uint64; all numbers of fewer digits fit.
const maxUint64Digits = 20

// integer returns the value of a number that is an integer below 2^64, however it is written.
func integer(b []byte) (negative bool, magnitude uint64, problem Kind) {
	digits := b
	if negative = len(b) > 0 && b[0] == '-'; negative {
		digits = b[1:]
	}
	if !isNumber(b) {
		return false, 0, WrongType
	}
	if len(digits) < maxUint64Digits && allDigits(digits) {
		for _, c := range digits {
			magnitude = magnitude*10 + uint64(c-'0')
		}
		return negative, magnitude, 0
	}
	n := decimal(digits)
	switch {
	case len(n.digits) == 0:
		return negative, 0, 0
	case n.exponent < 0:
		return false, 0, WrongType
	case n.exponent > maxUint64Digits-len(n.digits):
		return false, 0, OutOfRange
	}
	var buf [maxUint64Digits]byte
	whole := append(buf[:0], n.digits...)
	for range n.exponent {
		whole = append(whole, '0')
	}
	magnitude, err := strconv.ParseUint(string(whole), 10, 64)
	if err != nil {
		return false, 0, OutOfRange
	}
	return negative, magnitude, 0
}

// double returns the value of a number of JSON as a double, or as a float if bitSize is 32. It reports a number that is out
// of range, for which it returns false, and one that was rounded.
func (d *decoder) double(digits []byte, bitSize int) (float64, bool) {
	v, err := strconv.ParseFloat(string(digits), bitSize)
	if err != nil {
		d.note(OutOfRange)
		return 0, false
	}
	if rounded(digits, v, bitSize) {
		d.note(Rounded)
	}
	return v, true
}

// rounded says whether v tells less than the digits it was read from: whether the shortest decimal that reads as v is
// another number. That 0.1 is no binary fraction does not count.
func rounded(digits []byte, v float64, bitSize int) bool {
	enough := 15 // decimal digits that the type always keeps
	if bitSize == 32 {
		enough = 6
	}
	if len(digits) <= enough && bytes.IndexByte(digits, 'e') < 0 && bytes.IndexByte(digits, 'E') < 0 {
		return false
	}
	if digits[0] == '-' {
		digits, v = digits[1:], -v
	}
	if bitSize == 64 && v < 1<<64 && allDigits(digits) {
		// A large integer may be exact although another decimal of fewer digits reads the same.
		if n, err := strconv.ParseUint(string(digits), 10, 64); err == nil && uint64(v) == n {
			return false
		}
	}
	var buf [32]byte
	want, got := decimal(digits), decimal(strconv.AppendFloat(buf[:0], v, 'e', -1, bitSize))
	return want.exponent != got.exponent || !bytes.Equal(want.digits, got.digits)
}

// tenths is a number of the form digits × 10^exponent, the digits without zeros at either end; zero has none.
type tenths struct {
	digits   []byte
	exponent int
}

// decimal reads a number of JSON that has no sign. An exponent beyond ±maxExponent is taken for that.
func decimal(b []byte) tenths {
	const maxExponent = math.MaxInt32
	exponent := 0
	if e := bytes.IndexAny(b, "eE"); e >= 0 {
		exponent = boundedInt(b[e+1:], maxExponent)
		b = b[:e]
	}
	digits := b
	if point := bytes.IndexByte(b, '.'); point >= 0 {
		digits = make([]byte, 0, len(b))
		digits = append(append(digits, b[:point]...), b[point+1:]...)
		exponent -= len(b) - point - 1
	}
	digits = bytes.TrimLeft(digits, "0")
	significant := bytes.TrimRight(digits, "0")
	if len(significant) == 0 {
		return tenths{}
	}
	return tenths{significant, exponent + len(digits) - len(significant)}
}

// boundedInt reads an exponent, which may have a sign of either kind, as at most limit in either direction.
func boundedInt(b []byte, limit int) int {
	negative := b[0] == '-'
	if negative || b[0] == '+' {
		b = b[1:]
	}
	n := 0
	for _, c := range b {
		n = min(n*10+int(c-'0'), limit)
	}
	if negative {
		return -n
	}
	return n
}
