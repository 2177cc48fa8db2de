package bench

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
)

// Every body is a window of one random buffer; which window follows from the
// object's number. So bodies cost no processor time, every run with the same
// seed knows what each object must contain, and an object that comes back with
// another one's bytes is noticed (but for 1 in 16,384).
const (
	windowStep = 64
	windows    = 1 << 14
)

// bodies makes and checks objects of one size.
type bodies struct {
	random []byte
	size   int
}

func newBodies(seed uint64, sizeBytes int64) *bodies {
	b := &bodies{random: make([]byte, sizeBytes+windowStep*windows), size: int(sizeBytes)}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	// Read of a ChaCha8 never fails.
	_, _ = mathrand.NewChaCha8(key).Read(b.random)
	return b
}

// of returns the body of object number n. It must not be changed.
func (b *bodies) of(n uint64) []byte {
	// The multiplier is that of Fibonacci hashing: neighbours get distant windows.
	window := int(n * 0x9E3779B97F4A7C15 >> 50)
	return b.random[window*windowStep:][:b.size:b.size]
}

// checker compares a body that arrives in pieces with that of object n.
type checker struct {
	want []byte
	off  int
	bad  bool
}

func (c *checker) write(p []byte) {
	if c.bad || c.off+len(p) > len(c.want) || !bytes.Equal(p, c.want[c.off:c.off+len(p)]) {
		c.bad = true
	}
	c.off += len(p)
}

// runTag makes the keys of a Put run its own, so that two runs never write the
// same key by accident.
func runTag() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return fmt.Sprintf("%x", b)
}
