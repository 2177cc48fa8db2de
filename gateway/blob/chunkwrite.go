package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"kintsugi/erasure"
	"kintsugi/internal/pace"
	"kintsugi/internal/plant"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// chunkWrite codes one chunk and makes it durable.
type chunkWrite struct {
	s      *Store
	blob   placement.BlobID
	chunk  uint32
	data   *buffer // one reference is ours
	length int64   // bytes of the chunk
	sink   io.Writer

	// Of the attempt that runs, and in the end of the one that succeeded.
	attempt uint8
	code    erasure.Params
	epoch   uint64

	exclude []placement.DriveID // drives that failed this chunk
	stale   uint64              // of the map that the last attempt should have had; 0: none newer
	leases  bool                // more than m drives of the last attempt had no lease: they will get them
	padded  int64               // data is zero from length up to here
	err     error
	done    chan struct{} // closed at the end, if it runs in a goroutine of its own
}

// maxAttempts bounds how often a chunk is coded anew: every time at least one more drive is excluded.
const maxAttempts = 8

// attemptShift is where the attempt lies in the chunk number of a ShardID.
const attemptShift = 24

func (c *chunkWrite) start(ctx context.Context) {
	c.done = make(chan struct{})
	go func() {
		defer close(c.done)
		c.run(ctx)
	}()
}

func (c *chunkWrite) wait() error {
	if c.done != nil {
		<-c.done
	}
	return c.err
}

// run writes the chunk, in a narrower code if drives fail meanwhile.
func (c *chunkWrite) run(ctx context.Context) {
	defer c.data.release()
	c.padded = c.length
	for {
		c.err = c.try(ctx)
		if c.err == nil {
			c.s.metrics.chunksWritten.Inc()
			c.s.metrics.bytesWritten.Add(float64(c.length))
			return
		}
		if !errors.Is(c.err, errQuorum) {
			return
		}
		if c.attempt++; c.attempt == maxAttempts {
			c.err = fmt.Errorf("%w: %w", ErrTooFewDrives, c.err)
			return
		}
		c.s.config.Logger.Warn("chunk is coded anew after drives failed it", slog.String("blob", c.blob.String()),
			slog.Int("chunk", int(c.chunk)), slog.Int("attempt", int(c.attempt)), slog.Any("error", c.err))
		c.awaitMap(ctx)
		if c.leases {
			_ = pace.Pause(ctx, leasePause) // the next attempt tells if ctx has ended
		}
	}
}

// leasePause is how long an attempt waits for the leases of storage nodes, while the coordinator changes.
const leasePause = 400 * time.Millisecond

// mapTimeout bounds the wait for a newer map, which is on its way to everybody.
const mapTimeout = 3 * time.Second

// awaitMap waits for the map that drives have refused the last attempt for the want of.
func (c *chunkWrite) awaitMap(ctx context.Context) {
	end := time.Now().Add(mapTimeout)
	for c.s.cluster.Map().Epoch < c.stale && time.Now().Before(end) {
		if pace.Pause(ctx, 5*time.Millisecond) != nil {
			return
		}
	}
}

// errQuorum: so many drives failed this attempt that its quorum was missed. Another may do.
var errQuorum = errors.New("write quorum missed")

// try places, codes and writes the chunk once.
func (c *chunkWrite) try(ctx context.Context) error {
	m := c.s.cluster.Map()
	number := c.chunk | uint32(c.attempt)<<attemptShift
	partition := m.Partition(c.blob, number)
	a, err := c.s.assign(m, partition, c.exclude)
	if err != nil {
		return err
	}
	c.code, c.epoch = a.code, m.Epoch
	c.s.countAssignment(m, &a)

	size := erasure.ShardSize(a.code, c.length)
	parity, err := c.s.scratchPool.get(ctx, max(1, int64(a.code.M)*size))
	if err != nil {
		return err
	}
	defer parity.release()
	shards, err := c.encode(parity, size)
	if err != nil {
		return err
	}
	r := &shardRound{
		s: c.s, m: m, assignment: a, shards: shards, buffers: [2]*buffer{c.data, parity}, exclude: c.exclude,
		header: shardstore.Header{
			ID: placement.ShardID{Blob: c.blob, Chunk: number}, Partition: partition, Epoch: m.Epoch,
			K: uint8(a.code.K), M: uint8(a.code.M), ChunkSize: uint32(c.length),
		},
	}
	r.launchAll()
	if err := c.feedSink(); err != nil {
		r.forget()
		r.discard()
		return err
	}
	err = r.wait(ctx)
	c.exclude, c.stale, c.leases = r.exclude, r.stale, len(r.fenced) > m.M
	if !c.leases {
		c.exclude = append(c.exclude, r.fenced...)
	}
	if err != nil {
		r.discard()
	}
	return err
}

// feedSink shows a small body to the sink while its shards are on their way.
func (c *chunkWrite) feedSink() error {
	if c.sink == nil {
		return nil
	}
	_, err := c.sink.Write(c.data.b[:c.length])
	c.sink = nil
	if err != nil {
		return fmt.Errorf("blob: sink: %w", err)
	}
	return nil
}

// encode pads the data in its buffer, which is not touched below what earlier attempts padded: calls that
// they left behind may still read it. It computes the parity into its own buffer.
func (c *chunkWrite) encode(parity *buffer, size int64) ([][]byte, error) {
	code, err := c.s.codes.Code(c.code)
	if err != nil {
		return nil, err
	}
	if end := int64(c.code.K) * size; end > c.padded {
		clear(c.data.b[c.padded:end])
		c.padded = end
	}
	shards := make([][]byte, c.code.Shards())
	for i := range shards {
		b, at := c.data.b, int64(i)*size
		if i >= c.code.K {
			b, at = parity.b, int64(i-c.code.K)*size
		}
		shards[i] = b[at : at+size : at+size]
	}
	err = code.Encode(shards)
	if plant.Is(plant.SwappedShards) && c.code.K > 1 {
		shards[0], shards[1] = shards[1], shards[0]
	}
	return shards, err
}
