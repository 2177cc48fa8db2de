package workload

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

func TestBodyAtAnyOffset(t *testing.T) {
	b := NewBody(7, 3, 2)
	whole := make([]byte, 1000)
	_, _ = b.ReadAt(whole, 0)
	for off := range 40 {
		for size := range 40 {
			p := make([]byte, size)
			_, _ = b.ReadAt(p, int64(off))
			if !bytes.Equal(p, whole[off:off+size]) {
				t.Fatalf("%d bytes from %d differ", size, off)
			}
		}
	}
	other := make([]byte, 1000)
	for _, o := range []Body{NewBody(8, 3, 2), NewBody(7, 4, 2), NewBody(7, 3, 3)} {
		_, _ = o.ReadAt(other, 0)
		if bytes.Equal(other[:16], whole[:16]) {
			t.Error("another body has the same bytes")
		}
	}
}

func TestVerify(t *testing.T) {
	b := NewBody(1, 1, 1)
	data := make([]byte, 3*verifyBytes+77)
	_, _ = b.ReadAt(data, 5)
	flipped := bytes.Clone(data)
	flipped[verifyBytes+9] ^= 1
	for _, c := range []struct {
		name string
		r    io.Reader
		done int64
		err  error
	}{
		{"right", bytes.NewReader(data), int64(len(data)), nil},
		{"byte by byte", iotest.OneByteReader(bytes.NewReader(data[:500])), 500, nil},
		{"nothing", bytes.NewReader(nil), 0, nil},
		{"flipped", bytes.NewReader(flipped), verifyBytes + 9, &errWrongBytes{}},
		{"cut", io.MultiReader(bytes.NewReader(data[:100]), iotest.ErrReader(io.ErrUnexpectedEOF)), 100, io.ErrUnexpectedEOF},
		{"cut at once", iotest.ErrReader(io.ErrUnexpectedEOF), 0, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v verifier
			done, err := v.verify(c.r, b, 5)
			var wrong *errWrongBytes
			if _, want := c.err.(*errWrongBytes); want != errors.As(err, &wrong) || !want && !errors.Is(err, c.err) || done != c.done {
				t.Errorf("got %d, %v; want %d, %v", done, err, c.done, c.err)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	body, v := NewBody(1, 1, 1), &verifier{}
	b.SetBytes(1 << 20)
	for b.Loop() {
		if _, err := v.verify(body.Reader(0, 1<<20), body, 0); err != nil {
			b.Fatal(err)
		}
	}
}
