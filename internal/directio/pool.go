package directio

import (
	"math/bits"
	"sync"
)

// Pool keeps aligned memory for those who need much of it for a short time. The zero
// value is ready for use.
type Pool struct {
	classes [32]sync.Pool // of *[]byte, by powers of two
}

// Get returns n bytes of any content, aligned as Buffer's.
func (b *Pool) Get(n int64) []byte {
	class := bits.Len64(uint64(max(n, BlockSize) - 1))
	if class >= len(b.classes) {
		return Buffer(int(n))
	}
	if p, ok := b.classes[class].Get().(*[]byte); ok {
		return (*p)[:n]
	}
	return Buffer(1 << class)[:n]
}

// Put takes back what Get gave.
func (b *Pool) Put(p []byte) {
	class := bits.Len64(uint64(cap(p))) - 1
	if class >= 12 && class < len(b.classes) && cap(p) == 1<<class {
		p = p[:0]
		b.classes[class].Put(&p)
	}
}
