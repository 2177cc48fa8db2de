package erasure

// ChunkSize is the length, in bytes, of every chunk of a blob but its last.
const ChunkSize = 8 << 20

// Shards of large chunks are whole disk blocks, so that they are written from
// and read into the chunk's own buffer with O_DIRECT; small ones are only padded
// to what the vector instructions like.
const (
	blockSize  = 4096
	vectorSize = 64
	largeShard = 64 << 10 // from here on a shard is rounded up to blockSize
)

// ShardSize is the length in bytes of each shard of a chunk of chunkSize bytes.
//
// Data shard i is the bytes [i*S, (i+1)*S) of the chunk, which is padded with
// zeros to K*S: the shards are contiguous in one buffer, so coding copies nothing
// and a range of a chunk touches few shards.
func ShardSize(p Params, chunkSize int64) int64 {
	k := int64(p.K)
	size := (chunkSize + k - 1) / k
	if size >= largeShard {
		return roundUp(size, blockSize)
	}
	return roundUp(size, vectorSize)
}

func roundUp(n, multiple int64) int64 { return (n + multiple - 1) / multiple * multiple }
