package transcode

import (
	"encoding/binary"
	"math/bits"
)

// scanner reads the tokens of a JSON document. Its methods return false when the document is wrong, and leave pos at the
// byte that is; everything else they accept is what RFC 8259 allows, with two exceptions that later stages repair: the
// bytes of strings need not be UTF-8, and escaped surrogates need not be pairs.
type scanner struct {
	src []byte
	pos int
}

// text is a string in the document, without its quotes.
type text struct {
	start, end int
	escaped    bool // there are escapes
	wide       bool // there are bytes that are not ASCII
}

// peek returns the byte at pos, or 0, which starts no token, at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

// space passes white space and returns the byte after it as peek does.
func (s *scanner) space() byte {
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		s.pos++
	}
	return 0
}

// step is what came next in an object or a list.
type step uint8

const (
	failed step = iota
	ended
	found
)

// member passes to the next member of an object and returns its name; pos is then at its value. It is first after the
// opening brace.
func (s *scanner) member(first bool) (text, step) {
	if step := s.name(first); step != found {
		return text{}, step
	}
	name, ok := s.text()
	if !ok || !s.colon() {
		return text{}, failed
	}
	return name, found
}

// name passes to the opening quote of the name of the next member of an object. It is first after the opening brace.
func (s *scanner) name(first bool) step {
	c := s.space()
	if c == '}' {
		s.pos++
		return ended
	}
	if !first {
		if c != ',' {
			return failed
		}
		s.pos++
		c = s.space()
	}
	if c != '"' {
		return failed
	}
	return found
}

// colon passes what is between the name of a member and its value.
func (s *scanner) colon() bool {
	if s.space() != ':' {
		return false
	}
	s.pos++
	s.space()
	return true
}

// opening is member for the member that is expected next, if that is what comes and there is no white space before it;
// else it passes nothing. text is the name in its quotes and the colon.
func (s *scanner) opening(text string, first bool) bool {
	at := s.pos
	if !first {
		if s.peek() != ',' {
			return false
		}
		at++
	}
	if len(s.src)-at < len(text) || string(s.src[at:at+len(text)]) != text {
		return false
	}
	s.pos = at + len(text)
	s.space()
	return true
}

// element passes to the next element of a list; pos is then at its value. It is first after the opening bracket.
func (s *scanner) element(first bool) step {
	c := s.space()
	if c == ']' {
		s.pos++
		return ended
	}
	if !first {
		if c != ',' {
			return failed
		}
		s.pos++
		s.space()
	}
	return found
}

// literal passes null, true or false.
func (s *scanner) literal(want string) bool {
	for i := range len(want) {
		if s.peek() != want[i] {
			return false
		}
		s.pos++
	}
	return true
}

// text passes a string; pos is at its opening quote.
func (s *scanner) text() (text, bool) {
	t := text{start: s.pos + 1}
	i := t.start
	for {
		for i+8 <= len(s.src) {
			if m := special(binary.LittleEndian.Uint64(s.src[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(s.src) {
			s.pos = i
			return text{}, false
		}
		switch c := s.src[i]; {
		case c == '"':
			t.end = i
			s.pos = i + 1
			return t, true
		case c == '\\':
			t.escaped = true
			s.pos = i + 1
			if !s.escape() {
				return text{}, false
			}
			i = s.pos
		case c < ' ':
			s.pos = i
			return text{}, false
		default:
			t.wide = t.wide || c >= 0x80
			i++
		}
	}
}

// special marks, by the top bit of its byte, the first of eight bytes that is a quote, a backslash, a control character
// or not ASCII. Marks after the first may be wrong.
func special(w uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^(ones*'"'), w^(ones*'\\')
	return (w | (w - ones*' ') | (quote - ones) | (backslash - ones)) & tops
}

// escape passes what follows a backslash.
func (s *scanner) escape() bool {
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return true
	case 'u':
		s.pos++
		for range 4 {
			if _, ok := hexDigit(s.peek()); !ok {
				return false
			}
			s.pos++
		}
		return true
	}
	return false
}

func hexDigit(c byte) (rune, bool) {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0'), true
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10, true
	}
	return 0, false
}

// number passes a number and returns its bytes.
func (s *scanner) number() ([]byte, bool) {
	start := s.pos
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return nil, false
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return nil, false
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return nil, false
		}
	}
	return s.src[start:s.pos], true
}

// digits passes one digit or more.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.src) && '0' <= s.src[s.pos] && s.src[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// skip passes a value of any type. It does not recurse: what is open is a stack of bits, so that the deepest document
// costs an eighth of its own size.
func (s *scanner) skip() bool {
	var few [4]uint64
	open := nesting{bits: few[:0]}
	for {
		c := s.peek()
		opens := c == '{' || c == '['
		if opens {
			s.pos++
			open.push(c == '{')
		} else if !s.atom(c) {
			return false
		}
		// To the next value, out of everything that ends before it.
		for first := opens; ; first = false {
			if open.depth == 0 {
				return true
			}
			var next step
			if open.inObject() {
				_, next = s.member(first)
			} else {
				next = s.element(first)
			}
			if next == failed {
				return false
			}
			if next == found {
				break
			}
			open.depth--
		}
	}
}

// atom passes a value that contains no other and begins with c.
func (s *scanner) atom(c byte) bool {
	var ok bool
	switch c {
	case '"':
		_, ok = s.text()
	case 't':
		ok = s.literal("true")
	case 'f':
		ok = s.literal("false")
	case 'n':
		ok = s.literal("null")
	default:
		_, ok = s.number()
	}
	return ok
}

// nesting is a stack that knows of each level only whether it is an object or a list.
type nesting struct {
	bits  []uint64
	depth int
}

func (n *nesting) push(object bool) {
	word, bit := n.depth/64, uint64(1)<<(n.depth%64)
	if word == len(n.bits) {
		n.bits = append(n.bits, 0)
	}
	n.bits[word] &^= bit
	if object {
		n.bits[word] |= bit
	}
	n.depth++
}

func (n *nesting) inObject() bool {
	top := n.depth - 1
	return n.bits[top/64]>>(top%64)&1 == 1
}
