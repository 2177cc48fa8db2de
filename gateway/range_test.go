package gateway

import (
	"errors"
	"testing"
)

func TestParseRange(t *testing.T) {
	tests := []struct {
		name, header string
		size         int64
		want         span
		partial      bool
		unsatisfied  bool
	}{
		{"61 first bytes", "bytes=0-4", 10, span{0, 5}, true, false},
		{"61 one byte", "bytes=9-9", 10, span{9, 1}, true, false},
		{"61 to the end", "bytes=3-", 10, span{3, 7}, true, false},
		{"62 end past size", "bytes=5-100", 10, span{5, 5}, true, false},
		{"62 end past all numbers", "bytes=5-99999999999999999999", 10, span{5, 5}, true, false},
		{"63 suffix", "bytes=-4", 10, span{6, 4}, true, false},
		{"63 suffix longer than the object", "bytes=-100", 10, span{0, 10}, true, false},
		{"64 empty suffix", "bytes=-0", 10, span{}, false, true},
		{"64 start at size", "bytes=10-", 10, span{}, false, true},
		{"64 start past all numbers", "bytes=99999999999999999999-", 10, span{}, false, true},
		{"64 empty object", "bytes=0-0", 0, span{}, false, true},
		{"64 suffix of an empty object", "bytes=-1", 0, span{}, false, true},
		{"65 reversed", "bytes=5-2", 10, span{0, 10}, false, false},
		{"65 other unit", "lines=0-1", 10, span{0, 10}, false, false},
		{"65 empty", "bytes=", 10, span{0, 10}, false, false},
		{"65 no numbers", "bytes=-", 10, span{0, 10}, false, false},
		{"65 letters", "bytes=a-b", 10, span{0, 10}, false, false},
		{"65 sign", "bytes=+1-2", 10, span{0, 10}, false, false},
		{"66 two ranges", "bytes=0-0,2-3", 10, span{0, 10}, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, partial, err := parseRange(test.header, test.size)
			if errors.Is(err, errInvalidRange) != test.unsatisfied {
				t.Fatalf("error %v", err)
			}
			if got != test.want || partial != test.partial {
				t.Errorf("got %v %v, want %v %v", got, partial, test.want, test.partial)
			}
		})
	}
}

func FuzzParseRange(f *testing.F) {
	f.Add("bytes=0-4", int64(10))
	f.Add("bytes=-1", int64(1))
	f.Add("bytes=0-0", int64(1))
	f.Add("bytes=9223372036854775807-9223372036854775807", int64(5))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		if s, err := parseCopyRange(header, size); err == nil && (s.off < 0 || s.n <= 0 || s.off+s.n > size) {
			t.Fatalf("copy range %q of %d is %v", header, size, s)
		}
		s, partial, err := parseRange(header, size)
		if err != nil {
			return
		}
		if s.off < 0 || s.n < 0 || s.off+s.n > size || partial && s.n == 0 {
			t.Fatalf("%q of %d is %v", header, size, s)
		}
	})
}
