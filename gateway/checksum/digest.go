package checksum

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"sync"
	"sync/atomic"

	"github.com/minio/crc64nvme"
	md5simd "github.com/minio/md5-simd"

	"kintsugi/meta"
)

const (
	// simdStreams is the number of concurrent bodies from which on hashing
	// several in the lanes of one vector unit beats one after the other.
	simdStreams = 5
	// simdLanes is how many bodies share the vector unit at most: it has so many lanes. Others are hashed on their own.
	simdLanes = 16
	// simdBytes is the size of a body below which handing it over costs more than the lanes save.
	simdBytes = 64 << 10
	// piece is how many bytes all hashes see before the next, so that the second finds them in the cache.
	piece = 128 << 10
)

// Sum is what was computed of some bytes.
type Sum struct {
	MD5      [md5.Size]byte
	Checksum meta.Checksum
}

// ETag returns the entity tag of an object with these bytes, without quotes.
func (s Sum) ETag() string { return hex.EncodeToString(s.MD5[:]) }

// Of computes the sum of a small body. NoChecksum stands for S3's default, CRC64NVME.
func Of(a meta.ChecksumAlgorithm, body []byte) Sum {
	s := Sum{MD5: md5.Sum(body)}
	h := newHash(a)
	h.Write(body)
	s.Checksum = meta.Checksum{Algorithm: orDefault(a), Value: h.Sum(nil)}
	return s
}

func orDefault(a meta.ChecksumAlgorithm) meta.ChecksumAlgorithm {
	if a == meta.NoChecksum {
		return meta.CRC64NVME
	}
	return a
}

func newHash(a meta.ChecksumAlgorithm) hash.Hash {
	switch a {
	case meta.CRC32:
		return crc32.NewIEEE()
	case meta.CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case meta.SHA1:
		return sha1.New()
	case meta.SHA256:
		return sha256.New()
	}
	return crc64nvme.New()
}

// Hasher makes Digests and knows how many are in use at once.
type Hasher struct {
	active atomic.Int64

	mu     sync.Mutex     // guards what follows
	simd   md5simd.Server // made when first needed
	lanes  int            // made so far
	idle   []md5simd.Hasher
	closed bool
}

// NewHasher returns a Hasher.
func NewHasher() *Hasher { return &Hasher{} }

// Close frees what the Hasher keeps. Its Digests must be closed before.
func (h *Hasher) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, lane := range h.idle {
		lane.Close()
	}
	if h.simd != nil {
		h.simd.Close()
	}
	h.simd, h.idle = nil, nil
}

// New returns a Digest of a body of size bytes, -1 if that is unknown. NoChecksum stands for CRC64NVME.
func (h *Hasher) New(a meta.ChecksumAlgorithm, size int64) *Digest {
	d := &Digest{hasher: h, algorithm: orDefault(a), sum: newHash(a)}
	if h.active.Add(1) >= simdStreams && (size < 0 || size >= simdBytes) {
		d.lane = h.takeLane()
		d.md5 = d.lane
	}
	if d.lane == nil {
		d.md5 = md5.New()
	}
	return d
}

// takeLane returns a hash that shares the vector unit, nil if there is none. Lanes are used again: the
// server never forgets one, closed or not, and slows down with their number.
func (h *Hasher) takeLane() md5simd.Hasher {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil
	case len(h.idle) > 0:
		lane := h.idle[len(h.idle)-1]
		h.idle = h.idle[:len(h.idle)-1]
		return lane
	case h.lanes == simdLanes:
		return nil
	case h.simd == nil:
		h.simd = md5simd.NewServer()
	}
	h.lanes++
	return h.simd.NewHash()
}

func (h *Hasher) giveLane(lane md5simd.Hasher) {
	lane.Reset()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		lane.Close()
		return
	}
	h.idle = append(h.idle, lane)
}

// Digest computes the MD5 and one checksum of what is written to it. It is not safe for concurrent use.
type Digest struct {
	hasher    *Hasher
	algorithm meta.ChecksumAlgorithm
	md5       hash.Hash
	lane      md5simd.Hasher // md5, where it is shared; nil otherwise
	sum       hash.Hash
}

// Write implements io.Writer and never fails.
func (d *Digest) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		part := rest[:min(len(rest), piece)]
		d.sum.Write(part)
		d.md5.Write(part)
		rest = rest[len(part):]
	}
	return len(p), nil
}

// Sum returns the sum of what was written.
func (d *Digest) Sum() Sum {
	s := Sum{Checksum: meta.Checksum{Algorithm: d.algorithm, Value: d.sum.Sum(nil)}}
	copy(s.MD5[:], d.md5.Sum(nil))
	return s
}

// Close ends the use of the Digest, which has to happen exactly once.
func (d *Digest) Close() {
	d.hasher.active.Add(-1)
	if d.lane != nil {
		d.hasher.giveLane(d.lane)
	}
}
