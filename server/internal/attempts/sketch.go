package attempts

import (
	"encoding/binary"
	"math"
)

// The shape of a sketch: 256 KiB of counters.
const (
	rows    = 4
	columns = 1 << 16
)

// sketch is a count-min sketch: it counts under any number of names in a fixed space. What was counted under a name
// is in one counter of each row, together with what was counted under the others that fall on it, so that the least
// of the four is never below the truth. Which names fall together takes the secret to know.
type sketch struct {
	counters [rows][columns]uint8
}

// place is where a name is counted, a column in each row.
type place [rows]uint16

func placeOf(name digest) (p place) {
	for row := range p {
		p[row] = binary.BigEndian.Uint16(name[2*row:])
	}
	return p
}

func (s *sketch) count(p place) int {
	least := uint8(math.MaxUint8)
	for row, column := range p {
		least = min(least, s.counters[row][column])
	}
	return int(least)
}

func (s *sketch) add(p place) {
	for row, column := range p {
		if c := &s.counters[row][column]; *c < math.MaxUint8 {
			*c++
		}
	}
}

// remove takes back what was added. A counter that is full no longer knows how much it holds, so it stays full.
func (s *sketch) remove(p place) {
	for row, column := range p {
		if c := &s.counters[row][column]; 0 < *c && *c < math.MaxUint8 {
			*c--
		}
	}
}
