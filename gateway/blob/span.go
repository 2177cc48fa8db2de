package blob

import (
	"fmt"

	"kintsugi/erasure"
	"kintsugi/meta"
	"kintsugi/placement"
)

// span is a range of the bytes of one chunk.
type span struct {
	blob   placement.BlobID
	number uint32 // chunk number of the ShardIDs: with the attempt
	code   erasure.Params
	length int64 // of the chunk
	shard  int64 // bytes of each of its shards
	lo, hi int64
}

// first and last are the data shards that the span touches.
func (p *span) first() int { return int(p.lo / p.shard) }
func (p *span) last() int  { return int((p.hi - 1) / p.shard) }

// piece is the part of data shard i that lies in the span: columns [from, to).
func (p *span) piece(i int) (from, to int64) {
	start := int64(i) * p.shard
	return max(p.lo-start, 0), min(p.hi-start, p.shard)
}

// columns is the smallest range of columns with every piece in it: what is needed of other shards to make up for any.
func (p *span) columns() (from, to int64) {
	if p.first() != p.last() {
		return 0, p.shard
	}
	return p.piece(p.first())
}

// cursor walks over a range of the concatenation of blobs.
type cursor struct {
	blobs []meta.Blob
	index int   // of the blob
	off   int64 // within the blob
	left  int64 // bytes to go
}

// newCursor checks the records before anything is read by them.
func newCursor(blobs []meta.Blob, off, n int64) (cursor, error) {
	total := int64(0)
	for i := range blobs {
		if err := validate(&blobs[i]); err != nil {
			return cursor{}, err
		}
		total += blobs[i].Size
	}
	if off < 0 || n < 0 || off > total || n > total-off {
		return cursor{}, fmt.Errorf("%w: %d bytes from %d of %d", ErrRange, n, off, total)
	}
	c := cursor{blobs: blobs, off: off, left: n}
	c.settle()
	return c, nil
}

// settle moves on to the blob that holds the next byte.
func (c *cursor) settle() {
	for c.index < len(c.blobs) && c.off >= c.blobs[c.index].Size {
		c.off -= c.blobs[c.index].Size
		c.index++
	}
}

// rest returns the span from the next byte to the end of its chunk or of the range. left must not be 0.
func (c *cursor) rest() span {
	b := &c.blobs[c.index]
	chunk := c.off / b.ChunkSize
	start := chunk * b.ChunkSize
	p := span{blob: b.ID, number: uint32(chunk), length: min(b.ChunkSize, b.Size-start), lo: c.off - start}
	p.hi = min(p.length, p.lo+c.left)
	past := uint32(0)
	for _, run := range b.Runs {
		if past += run.Chunks; uint32(chunk) < past {
			p.code = erasure.Params{K: int(run.K), M: int(run.M)}
			p.number |= uint32(run.Attempt) << attemptShift
			break
		}
	}
	p.shard = erasure.ShardSize(p.code, p.length)
	return p
}

// advance moves on by n bytes, at most to the end of the chunk.
func (c *cursor) advance(n int64) {
	c.off += n
	c.left -= n
	c.settle()
}

// validate refuses a record that contradicts itself.
func validate(b *meta.Blob) error {
	chunks := int64(0)
	for _, run := range b.Runs {
		if err := (erasure.Params{K: int(run.K), M: int(run.M)}).Validate(); err != nil {
			return fmt.Errorf("%w %s: %w", ErrInvalidBlob, b.ID, err)
		}
		chunks += int64(run.Chunks)
	}
	if b.Size < 0 || b.ChunkSize <= 0 || b.ChunkSize > maxChunkSize || chunks > maxChunks || chunks != (b.Size+b.ChunkSize-1)/b.ChunkSize {
		return fmt.Errorf("%w %s: %d bytes in %d chunks of %d", ErrInvalidBlob, b.ID, b.Size, chunks, b.ChunkSize)
	}
	return nil
}
