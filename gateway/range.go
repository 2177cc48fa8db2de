package gateway

import (
	"strconv"
	"strings"
)

// span is a run of an object's bytes.
type span struct{ off, n int64 }

// parseRange returns the bytes that a Range header asks for of an object of size bytes.
// partial is false where the header is to be ignored: another unit, several ranges or no
// sense. A range without a byte in the object is errInvalidRange.
func parseRange(header string, size int64) (s span, partial bool, err error) {
	whole := span{0, size}
	text, ok := strings.CutPrefix(header, "bytes=")
	if !ok {
		return whole, false, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(text), "-")
	if !ok {
		return whole, false, nil
	}
	if first == "" {
		n, ok := parseOffset(last)
		if !ok {
			return whole, false, nil
		}
		if n == 0 || size == 0 {
			return span{}, false, unsatisfiable(header, size)
		}
		n = min(n, size)
		return span{size - n, n}, true, nil
	}
	from, ok := parseOffset(first)
	if !ok {
		return whole, false, nil
	}
	to := size - 1
	if last != "" {
		if to, ok = parseOffset(last); !ok || to < from {
			return whole, false, nil
		}
	}
	if from >= size {
		return span{}, false, unsatisfiable(header, size)
	}
	return span{from, min(to, size-1) - from + 1}, true, nil
}

// parseOffset reads plain digits. What exceeds an int64 is beyond every object and stays there.
func parseOffset(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = 1<<63 - 1
	}
	return n, true
}

func unsatisfiable(header string, size int64) error {
	total := strconv.FormatInt(size, 10)
	return errInvalidRange.withField("RangeRequested", header).withField("ActualObjectSize", total).
		withHeader("Content-Range", "bytes */"+total)
}

// contentRange renders the Content-Range header of s.
func (s span) contentRange(size int64) string {
	b := make([]byte, 0, 64)
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, s.off, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, s.off+s.n-1, 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, size, 10)
	return string(b)
}
