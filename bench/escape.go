package bench

import "strings"

const upperHex = "0123456789ABCDEF"

// escape percent-encodes s as Signature Version 4 wants it: all but unreserved
// characters and those of keep.
func escape(s, keep string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			strings.IndexByte("-._~", c) >= 0, strings.IndexByte(keep, c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String()
}

func escapePath(s string) string { return escape(s, "/") }

func escapeQuery(s string) string { return escape(s, "") }
