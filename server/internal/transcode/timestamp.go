package transcode

import (
	"bytes"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The tags of google.protobuf.Timestamp, and the seconds of the first and last moment that it may tell.
const (
	timestampSeconds = 1 << 3
	timestampNanos   = 2 << 3

	firstSecond = -62135596800 // 0001-01-01T00:00:00Z
	lastSecond  = 253402300799 // 9999-12-31T23:59:59Z

	longestFraction = len(".999999999")
)

// timestampValue reads an RFC 3339 time into a Timestamp.
func (d *decoder) timestampValue(f *field) result {
	if d.peek() != '"' {
		return d.dropValue(WrongType)
	}
	t, ok := d.text()
	if !ok {
		return broken
	}
	seconds, nanos, ok := moment(d.unescaped(t))
	if !ok {
		return d.dropped(BadTimestamp)
	}
	d.tag(f)
	start := d.open()
	if seconds != 0 {
		d.out = append(d.out, timestampSeconds)
		d.out = protowire.AppendVarint(d.out, uint64(seconds))
	}
	if nanos != 0 {
		d.out = append(d.out, timestampNanos)
		d.out = protowire.AppendVarint(d.out, uint64(nanos))
	}
	d.close(start)
	return taken
}

// moment reads a time of what protobuf's own JSON form allows: RFC 3339, any offset, at most nine digits of a second.
func moment(b []byte) (seconds, nanos int64, ok bool) {
	if seconds, nanos, ok = usual(b); ok {
		return seconds, nanos, true
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return 0, 0, false
	}
	seconds = t.Unix()
	if seconds < firstSecond || seconds > lastSecond {
		return 0, 0, false
	}
	point, zone := bytes.LastIndexByte(b, '.'), bytes.LastIndexAny(b, "Z-+")
	if point >= 0 && zone-point > longestFraction {
		return 0, 0, false
	}
	return seconds, int64(t.Nanosecond()), true
}

// usual reads the times that nearly all are: in UTC, written in capitals, on a day that every month has. There are two
// dozen in an answer, and time.Parse took a quarter of the time of the whole.
func usual(b []byte) (seconds, nanos int64, ok bool) {
	const shortest, point = len("2006-01-02T15:04:05Z"), len("2006-01-02T15:04:05")
	last := len(b) - 1
	if len(b) < shortest || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[last] != 'Z' {
		return 0, 0, false
	}
	century, year, month, day := pair(b, 0), pair(b, 2), pair(b, 5), pair(b, 8)
	hour, minute, second := pair(b, 11), pair(b, 14), pair(b, 17)
	if century < 1 || year < 0 || month < 1 || month > 12 || day < 1 || day > 28 ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, 0, false
	}
	if point < last {
		if b[point] != '.' || last == point+1 || last-point > longestFraction {
			return 0, 0, false
		}
		unit := int64(time.Second)
		for _, c := range b[point+1 : last] {
			if c < '0' || c > '9' {
				return 0, 0, false
			}
			unit /= 10
			nanos += int64(c-'0') * unit
		}
	}
	// Years that begin in March end with the leap day, so that the days before a month follow one formula.
	const daysToEpoch = 719468 // from 1 March of the year 0 to 1 January 1970
	year += century * 100
	if month <= 2 {
		year--
		month += 12
	}
	days := 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - daysToEpoch
	return int64(days)*86400 + int64(hour*3600+minute*60+second), nanos, true
}

// pair returns the number that two digits form, or -1 if they are none.
func pair(b []byte, at int) int {
	tens, ones := b[at]-'0', b[at+1]-'0'
	if tens > 9 || ones > 9 {
		return -1
	}
	return int(tens)*10 + int(ones)
}
