package shardrpc

import (
	"context"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
)

// Caller sends a call and waits for its answer, as *rpc.Client does. After it has returned it uses neither
// the call's body nor Into.
type Caller interface {
	Do(ctx context.Context, addr string, call *rpc.Call) (rpc.Reply, error)
}

// Options of a Drive. Zero values mean the defaults.
type Options struct {
	// ReadTimeout and WriteTimeout end calls whose context has no deadline, so that a node which was stopped does
	// not hold buffers for ever; 0 means 5 and 10 s.
	ReadTimeout  time.Duration
	WriteTimeout time.Duration
	// Epoch tells which cluster map this process has; it goes with what is asked for repair: a node must not take writes
	// under an older one once somebody has acted on its answers. Nil: it is not told.
	Epoch func() uint64
	// Stale is told that a write was refused because there is a newer map, of this epoch at least. It must not block.
	Stale func(epoch uint64)
}

// Drive is a drive of another process. It keeps to the contract of shardstore.Store. It is
// what gateway/blob and storagenode take for a drive.
type Drive struct {
	caller Caller
	addr   string
	id     placement.DriveID
	o      Options
}

// NewDrive returns a drive of the process at addr. It makes no connection yet.
func NewDrive(c Caller, addr string, id placement.DriveID, o Options) *Drive {
	if o.ReadTimeout <= 0 {
		o.ReadTimeout = 5 * time.Second
	}
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.Epoch == nil {
		o.Epoch = func() uint64 { return 0 }
	}
	if o.Stale == nil {
		o.Stale = func(uint64) {}
	}
	return &Drive{caller: c, addr: addr, id: id, o: o}
}

// do makes a call within a time.
func (d *Drive) do(ctx context.Context, limit time.Duration, call *rpc.Call) (rpc.Reply, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	return d.caller.Do(ctx, d.addr, call)
}

func (d *Drive) head(epoch uint64) head { return head{d.id, epoch} }

// Put makes a shard durable. It fails with storagenode.ErrFenced where the node has no lease, and with
// storagenode.ErrStaleMap where it knows better than h.Epoch.
func (d *Drive) Put(ctx context.Context, h shardstore.Header, payload []byte) error {
	if len(payload) > shardstore.MaxPayload {
		return &shardstore.Error{Drive: d.id, Shard: h.ID, Err: shardstore.ErrTooLarge}
	}
	var b [putSize]byte
	request := putRequest{d.id, h, sumOf(payload)}
	// A shard that is there already is left alone, so a second try does no harm.
	_, err := d.do(ctx, d.o.WriteTimeout, &rpc.Call{Method: MethodPut, Head: request.append(b[:0]), Body: payload, Idempotent: true})
	return d.noteStale(fromWire(d.id, h.ID, err))
}

// noteStale passes on which map is wanted.
func (d *Drive) noteStale(err error) error {
	if stale, ok := storagenode.StaleMap(err); ok {
		d.o.Stale(stale)
	}
	return err
}

// ReadAt fills p with verified bytes of a shard from off on.
func (d *Drive) ReadAt(ctx context.Context, id placement.ShardID, p []byte, off int64) error {
	if len(p) > shardstore.MaxPayload {
		return &shardstore.Error{Drive: d.id, Shard: id, Err: shardstore.ErrRange}
	}
	var b [readSize]byte
	request := readRequest{d.head(0), id, off, uint32(len(p))}
	reply, err := d.do(ctx, d.o.ReadTimeout, &rpc.Call{Method: MethodReadAt, Head: request.append(b[:0]), Into: p, Idempotent: true})
	if err == nil && (len(reply.Head) != sumSize || le.Uint64(reply.Head) != sumOf(p)) {
		err = ErrMangled
	}
	return fromWire(d.id, id, err)
}

// Stat tells what a shard is.
func (d *Drive) Stat(ctx context.Context, id placement.ShardID) (shardstore.Info, error) {
	found, err := d.Stats(ctx, []placement.ShardID{id})
	if err != nil {
		return shardstore.Info{}, err
	}
	return found[0].Info, found[0].Err
}

// Stats tells what each of many shards is.
func (d *Drive) Stats(ctx context.Context, ids []placement.ShardID) ([]storagenode.Found, error) {
	all := make([]storagenode.Found, 0, len(ids))
	for len(ids) > 0 {
		n := min(len(ids), maxIDs)
		request := idsRequest{d.head(d.o.Epoch()), ids[:n]}
		reply, err := d.read(ctx, MethodStats, request.append(make([]byte, 0, headSize+n*idSize)))
		if err == nil {
			all, err = d.appendFound(all, ids[:n], reply.Body)
		}
		if err != nil {
			return nil, fromWire(d.id, ids[0], err)
		}
		ids = ids[n:]
	}
	return all, nil
}

func (d *Drive) appendFound(all []storagenode.Found, ids []placement.ShardID, body []byte) ([]storagenode.Found, error) {
	if len(body) != len(ids)*foundSize {
		return nil, malformed("answer to Stats")
	}
	for i, id := range ids {
		b := body[i*foundSize : (i+1)*foundSize]
		if c := code(le.Uint16(b)); c != codeNone {
			all = append(all, storagenode.Found{Err: fromWire(d.id, id, fromCode(c, nil))})
			continue
		}
		info, err := decodeInfo(b[2:])
		if err != nil || info.ID != id {
			return nil, malformed("answer to Stats")
		}
		all = append(all, storagenode.Found{Info: info})
	}
	return all, nil
}

// read makes a call that may be made again.
func (d *Drive) read(ctx context.Context, m rpc.Method, head []byte) (rpc.Reply, error) {
	return d.do(ctx, d.o.ReadTimeout, &rpc.Call{Method: m, Head: head, Idempotent: true})
}

// Delete forbids the shards for ever; those that it does not know, too.
func (d *Drive) Delete(ctx context.Context, ids []placement.ShardID) error {
	return d.remove(ctx, MethodDelete, d.o.Epoch(), ids)
}

// Drop removes shards without forbidding them, whatever the map says.
func (d *Drive) Drop(ctx context.Context, ids []placement.ShardID) error {
	return d.remove(ctx, MethodDrop, 0, ids)
}

// DropUnder removes shards, unless the drive may be at home to them under a newer map.
func (d *Drive) DropUnder(ctx context.Context, epoch uint64, ids []placement.ShardID) error {
	return d.noteStale(d.remove(ctx, MethodDrop, epoch, ids))
}

func (d *Drive) remove(ctx context.Context, m rpc.Method, epoch uint64, ids []placement.ShardID) error {
	for len(ids) > 0 {
		n := min(len(ids), maxIDs)
		request := idsRequest{d.head(epoch), ids[:n]}
		call := &rpc.Call{Method: m, Head: request.append(make([]byte, 0, headSize+n*idSize)), Idempotent: true}
		if _, err := d.do(ctx, d.o.WriteTimeout, call); err != nil {
			return fromWire(d.id, ids[0], err)
		}
		ids = ids[n:]
	}
	return nil
}

// List returns at most limit healthy shards of a partition after the given one, in order.
func (d *Drive) List(ctx context.Context, partition uint32, after placement.ShardID, limit int) ([]shardstore.Info, error) {
	var all []shardstore.Info
	for limit > 0 {
		n := min(limit, maxList)
		var b [listSize]byte
		request := listRequest{d.head(d.o.Epoch()), partition, after, uint32(n)}
		reply, err := d.read(ctx, MethodList, request.append(b[:0]))
		if err != nil {
			return nil, fromWire(d.id, after, err)
		}
		page, err := decodeInfos(reply.Body)
		if err != nil || len(page) > n {
			return nil, malformed("answer to List")
		}
		if all == nil {
			all = page
		} else {
			all = append(all, page...)
		}
		if len(page) < n {
			break
		}
		after, limit = page[len(page)-1].ID, limit-n
	}
	return all, nil
}

// Digest sums up a partition.
func (d *Drive) Digest(ctx context.Context, partition uint32) (shardstore.Digest, error) {
	digests, err := d.Digests(ctx, []uint32{partition})
	if err != nil {
		return shardstore.Digest{}, err
	}
	return digests[0], nil
}

// Digests sums up many partitions in one call.
func (d *Drive) Digests(ctx context.Context, partitions []uint32) ([]shardstore.Digest, error) {
	if len(partitions) > maxPartitions {
		return nil, malformed("too many partitions")
	}
	request := digestsRequest{d.head(d.o.Epoch()), partitions}
	reply, err := d.read(ctx, MethodDigests, request.append(make([]byte, 0, headSize+4*len(partitions))))
	if err != nil {
		return nil, fromWire(d.id, placement.ShardID{}, err)
	}
	return decodeDigestAnswer(reply.Body, len(partitions))
}

// Usage tells what the drive takes and holds.
func (d *Drive) Usage(ctx context.Context) (shardstore.Usage, error) {
	reply, err := d.read(ctx, MethodUsage, d.head(0).append(make([]byte, 0, headSize)))
	if err != nil {
		return shardstore.Usage{}, fromWire(d.id, placement.ShardID{}, err)
	}
	return decodeUsage(reply.Body)
}

// Hint tells the process at addr that shards are missing or damaged where they belong, at its drives.
func Hint(ctx context.Context, c Caller, addr string, ids []placement.ShardID) error {
	for len(ids) > 0 {
		n := min(len(ids), maxIDs)
		request := idsRequest{head{}, ids[:n]}
		call := &rpc.Call{Method: MethodHint, Head: request.append(make([]byte, 0, headSize+n*idSize)), Idempotent: true}
		if _, err := c.Do(ctx, addr, call); err != nil {
			return fromWire(placement.DriveID{}, ids[0], err)
		}
		ids = ids[n:]
	}
	return nil
}
