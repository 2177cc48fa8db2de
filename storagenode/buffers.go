package storagenode

import (
	"math/bits"
	"sync"

	"kintsugi/internal/directio"
)

// buffers keeps memory for shards, aligned for direct I/O, by powers of two.
type buffers struct {
	pools [32]sync.Pool // of *[]byte
}

// get returns n bytes of any content.
func (b *buffers) get(n int64) []byte {
	class := bits.Len64(uint64(max(n, directio.BlockSize) - 1))
	if class >= len(b.pools) {
		return directio.Buffer(int(n))
	}
	if p, ok := b.pools[class].Get().(*[]byte); ok {
		return (*p)[:n]
	}
	return directio.Buffer(1 << class)[:n]
}

// put takes back what get gave.
func (b *buffers) put(p []byte) {
	class := bits.Len64(uint64(cap(p))) - 1
	if class >= 12 && class < len(b.pools) && cap(p) == 1<<class {
		p = p[:0]
		b.pools[class].Put(&p)
	}
}
