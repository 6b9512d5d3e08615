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
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return 0, 0, false
	}
	seconds = t.Unix()
	if seconds < firstSecond || seconds > lastSecond {
		return 0, 0, false
	}
	const longest = len(".999999999")
	point, zone := bytes.LastIndexByte(b, '.'), bytes.LastIndexAny(b, "Z-+")
	if point >= 0 && zone-point > longest {
		return 0, 0, false
	}
	return seconds, int64(t.Nanosecond()), true
}
