package metarpc

import (
	"encoding/binary"
	"fmt"
	"time"

	"kintsugi/meta"
)

// writer appends the primitives of object.go.
type writer struct {
	b       []byte
	scratch []byte // of a record, whose length is in front of it
}

func (w *writer) uint(v uint64)    { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) int(v int64)      { w.b = binary.AppendVarint(w.b, v) }
func (w *writer) time(t time.Time) { w.int(t.UnixMilli()) }
func (w *writer) byte(v byte)      { w.b = append(w.b, v) }

func (w *writer) string(s string) {
	w.uint(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) bytes(p []byte) {
	w.uint(uint64(len(p)))
	w.b = append(w.b, p...)
}

func (w *writer) strings(m map[string]string) {
	w.uint(uint64(len(m)))
	for k, v := range m {
		w.string(k)
		w.string(v)
	}
}

// flags packs truths into a byte, the first into the lowest bit.
func flags(set ...bool) (b byte) {
	for i, is := range set {
		if is {
			b |= 1 << i
		}
	}
	return b
}

// reader takes the primitives off rest: a string, so that the strings in it need no copy of their own. After
// what it cannot read it gives zero values, and err tells.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) err() error {
	if r.bad {
		return fmt.Errorf("metadata record: %w", meta.ErrFormat)
	}
	return nil
}

func (r *reader) fail() {
	r.bad, r.rest = true, ""
}

func (r *reader) uint() uint64 {
	var v uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 {
				break // more than 64 bits
			}
			r.rest = r.rest[i+1:]
			return v | uint64(c)<<(7*i)
		}
		v |= uint64(c&0x7f) << (7 * i)
	}
	r.fail()
	return 0
}

func (r *reader) int() int64 {
	v := r.uint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) time() time.Time {
	ms := r.int()
	if r.bad {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// take returns the next n bytes.
func (r *reader) take(n uint64) string {
	if n > uint64(len(r.rest)) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) byte() byte {
	s := r.take(1)
	if s == "" {
		return 0
	}
	return s[0]
}

func (r *reader) string() string { return r.take(r.uint()) }

func (r *reader) bytes() []byte {
	s := r.string()
	if s == "" {
		return nil
	}
	return []byte(s)
}

// count reads a number of elements of at least size bytes each: there cannot be more than rest holds.
func (r *reader) count(size int) int {
	n := r.uint()
	if n > uint64(len(r.rest)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) strings() map[string]string {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		k := r.string()
		m[k] = r.string()
	}
	return m
}
