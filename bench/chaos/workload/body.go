package workload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Body is the content of one version of one key. Each byte follows from the seed, the key, the version and its offset,
// so that any range can be verified without anything being kept.
type Body struct{ base uint64 }

// NewBody returns the content of a version.
func NewBody(seed uint64, key int32, version uint32) Body {
	return Body{mix(mix(seed) + uint64(uint32(key))<<32 + uint64(version))}
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// word is the content at offset 8*i.
func (b Body) word(i uint64) uint64 { return mix(b.base + (i+1)*0x9e3779b97f4a7c15) }

// ReadAt fills p with the content from off. It never fails, for the content has no end.
func (b Body) ReadAt(p []byte, off int64) (int, error) {
	n := len(p)
	i := uint64(off) / 8
	if skip := int(off % 8); skip > 0 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], b.word(i))
		p = p[copy(p, word[skip:]):]
		i++
	}
	for ; len(p) >= 8; i++ {
		binary.LittleEndian.PutUint64(p, b.word(i))
		p = p[8:]
	}
	if len(p) > 0 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], b.word(i))
		copy(p, word[:])
	}
	return n, nil
}

// Reader returns size bytes of the content from off.
func (b Body) Reader(off, size int64) io.Reader {
	// The methods of a SectionReader would let the client seek, and so try again: it must only read.
	return struct{ io.Reader }{io.NewSectionReader(b, off, size)}
}

// verifyBytes is how much is compared at once.
const verifyBytes = 32 << 10

// verifier compares what is read with what should be. It belongs to one goroutine.
type verifier struct{ got, want [verifyBytes]byte }

// errWrongBytes says that content differs, and where.
type errWrongBytes struct {
	offset    int64
	got, want []byte // the next few bytes
}

func (e *errWrongBytes) Error() string {
	return fmt.Sprintf("the bytes from offset %d are %x, but %x were written", e.offset, e.got, e.want)
}

// verify reads r to its end and compares it with the content from off. It returns how many bytes were right.
func (v *verifier) verify(r io.Reader, b Body, off int64) (int64, error) {
	var done int64
	for {
		n, err := io.ReadFull(r, v.got[:])
		got, want := v.got[:n], v.want[:n]
		_, _ = b.ReadAt(want, off+done) // never fails
		if !bytes.Equal(got, want) {
			i := 0
			for got[i] == want[i] {
				i++
			}
			return done + int64(i), &errWrongBytes{off + done + int64(i), bytes.Clone(got[i:min(n, i+16)]), bytes.Clone(want[i:min(n, i+16)])}
		}
		done += int64(n)
		switch err {
		case nil:
		case io.EOF:
			return done, nil
		case io.ErrUnexpectedEOF:
			// Either ours, for the last piece is short, or that of a connection that ended too early: ask again.
			n, err := r.Read(v.got[:1])
			if n == 0 && err == io.EOF {
				return done, nil
			}
			return done, io.ErrUnexpectedEOF
		default:
			return done, err
		}
	}
}
