package shardrpc

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"kintsugi/internal/directio"
	"kintsugi/internal/plant"
	"kintsugi/internal/rpc"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
)

// Store is a drive of this process, as *shardstore.Store is.
type Store interface {
	Put(context.Context, shardstore.Header, []byte) error
	ReadAt(ctx context.Context, id placement.ShardID, p []byte, off int64) error
	Stat(context.Context, placement.ShardID) (shardstore.Info, error)
	Delete(context.Context, []placement.ShardID) error
	Drop(context.Context, []placement.ShardID) error
	List(ctx context.Context, partition uint32, after placement.ShardID, limit int) ([]shardstore.Info, error)
	Digest(ctx context.Context, partition uint32) (shardstore.Digest, error)
	Usage() shardstore.Usage
}

// Fence tells whether writes may pass, as *storagenode.Fence does.
type Fence interface {
	// Admit is asked before a write and again before it is acknowledged.
	Admit(partition uint32, drive placement.DriveID, epoch uint64) error
	// AdmitDrop is asked before copies are removed that were too many under the map of an epoch.
	AdmitDrop(epoch uint64, ids []placement.ShardID) error
	// Heard is told under which map somebody acts.
	Heard(epoch uint64)
	// Await waits, for a while, for the newest map that it has heard of.
	Await(context.Context)
}

// ServerConfig of a Server. Only Drives is required.
type ServerConfig struct {
	// Drives returns a drive of this process, nil for one that is not here.
	Drives func(placement.DriveID) Store
	Fence  Fence                   // nil: everything passes
	Map    func() *placement.Map   // to check what writers say of a shard; nil: it is not
	Hint   func(placement.ShardID) // is told of shards that others miss here; nil: nobody
	// Memory bounds the payloads that are being written, and those being read, in bytes each; 0 means 64 MiB. Who gets none waits.
	Memory int64

	Logger     *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
}

// Server answers for the drives of this process.
type Server struct {
	cfg     ServerConfig
	buffers directio.Pool
	writes  *semaphore.Weighted
	reads   *semaphore.Weighted
	answers sync.Pool // of *[]byte: lists, digests
	metrics *metrics
}

// New returns a Server.
func New(cfg ServerConfig) (*Server, error) {
	cfg.Memory = cmp.Or(cfg.Memory, 64<<20)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Hint == nil {
		cfg.Hint = func(placement.ShardID) {}
	}
	if cfg.Fence == nil {
		cfg.Fence = noFence{}
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, writes: semaphore.NewWeighted(cfg.Memory), reads: semaphore.NewWeighted(cfg.Memory), metrics: m,
		answers: sync.Pool{New: func() any { return new([]byte) }},
	}, nil
}

// noFence lets everything pass.
type noFence struct{}

func (noFence) Admit(uint32, placement.DriveID, uint64) error { return nil }
func (noFence) AdmitDrop(uint64, []placement.ShardID) error   { return nil }
func (noFence) Heard(uint64)                                  {}
func (noFence) Await(context.Context)                         {}

// Handle adds the methods to a server.
func (s *Server) Handle(r *rpc.Server) {
	const cluster = rpc.Gateway | rpc.Storage | rpc.Meta
	for _, m := range []struct {
		method  rpc.Method
		allowed rpc.Role
		handler rpc.Handler
	}{
		{MethodPut, cluster, onDrive(s, decodePut, s.put)},
		{MethodReadAt, cluster, onDrive(s, decodeRead, s.readAt)},
		{MethodStats, cluster | rpc.Admin, onDrive(s, decodeIDs, s.stats)},
		{MethodDelete, cluster, onDrive(s, decodeIDs, s.delete)},
		{MethodDrop, cluster, onDrive(s, decodeIDs, s.drop)},
		{MethodList, cluster | rpc.Admin, onDrive(s, decodeList, s.list)},
		{MethodDigests, cluster | rpc.Admin, onDrive(s, decodeDigests, s.digests)},
		{MethodUsage, cluster | rpc.Admin, onDrive(s, decodeBare, s.usage)},
		{MethodHint, cluster, s.hint},
	} {
		r.Handle(m.method, m.allowed, func(ctx context.Context, r *rpc.Request) error { return toWire(m.handler(ctx, r)) })
	}
}

// onDrive is the handler of a method about one drive: serve is given what decode has read, and the drive.
func onDrive[R interface{ about() placement.DriveID }](s *Server, decode func([]byte) (R, error),
	serve func(context.Context, *rpc.Request, R, Store) error) rpc.Handler {
	return func(ctx context.Context, r *rpc.Request) error {
		request, err := decode(r.Head)
		if err != nil {
			return err
		}
		store := s.cfg.Drives(request.about())
		if store == nil {
			return fmt.Errorf("%w: %s", ErrNoDrive, request.about())
		}
		return serve(ctx, r, request, store)
	}
}

func (s *Server) put(ctx context.Context, r *rpc.Request, request putRequest, store Store) error {
	h := request.header
	if err := s.checkHeader(&h, r.Size); err != nil {
		return err
	}
	s.cfg.Fence.Await(ctx)
	if err := s.cfg.Fence.Admit(h.Partition, request.drive, h.Epoch); err != nil {
		return err
	}
	need := min(int64(r.Size), s.cfg.Memory)
	if err := acquire(ctx, s.writes, need); err != nil {
		return err
	}
	defer s.writes.Release(need)
	payload := s.buffers.Get(int64(r.Size))
	defer s.buffers.Put(payload)
	if err := r.ReadBody(payload); err != nil {
		return err
	}
	if sumOf(payload) != request.sum {
		s.metrics.mangled.Inc()
		return ErrMangled
	}
	if plant.Is(plant.AckBeforeSync) {
		late := append(directio.Buffer(len(payload))[:0], payload...)
		time.AfterFunc(plant.SyncDelay, func() { _ = store.Put(context.Background(), h, late) })
		return nil
	}
	if err := store.Put(ctx, h, payload); err != nil {
		return err
	}
	s.metrics.written.Add(float64(r.Size))
	// The node may have been stopped meanwhile, and others gone on without it.
	return s.cfg.Fence.Admit(h.Partition, request.drive, h.Epoch)
}

// acquire waits for memory. Mostly there is some, and then the context's machinery is not touched.
func acquire(ctx context.Context, w *semaphore.Weighted, n int64) error {
	if w.TryAcquire(n) {
		return nil
	}
	return w.Acquire(ctx, n)
}

// checkHeader refuses a shard that could never be found again.
func (s *Server) checkHeader(h *shardstore.Header, size int) error {
	if size > shardstore.MaxPayload {
		return shardstore.ErrTooLarge
	}
	if s.cfg.Map == nil {
		return nil
	}
	if m := s.cfg.Map(); m != nil && m.Partition(h.ID.Blob, h.ID.Chunk) != h.Partition {
		return fmt.Errorf("%w: chunk is not of partition %d", ErrRequest, h.Partition)
	}
	return nil
}

func (s *Server) readAt(ctx context.Context, r *rpc.Request, request readRequest, store Store) error {
	size := int64(request.length)
	if size > shardstore.MaxPayload {
		return shardstore.ErrRange
	}
	need := min(size, s.cfg.Memory)
	if err := acquire(ctx, s.reads, need); err != nil {
		return err
	}
	defer s.reads.Release(need)
	p := s.buffers.Get(size)
	defer s.buffers.Put(p)
	if err := store.ReadAt(ctx, request.id, p, request.offset); err != nil {
		return err
	}
	s.metrics.read.Add(float64(size))
	var sum [sumSize]byte
	return r.Reply(le.AppendUint64(sum[:0], sumOf(p)), p)
}

func (s *Server) stats(ctx context.Context, r *rpc.Request, request idsRequest, store Store) error {
	s.cfg.Fence.Heard(request.epoch)
	return s.answer(r, func(b []byte) ([]byte, error) {
		for _, id := range request.ids {
			info, err := store.Stat(ctx, id)
			c := codeOf(err)
			if err != nil && (c == codeNone || c == codeFailed) {
				return b, err // of the drive, not of this shard
			}
			if err != nil {
				info = shardstore.Info{}
			}
			b = appendInfo(le.AppendUint16(b, uint16(c)), info)
		}
		return b, nil
	})
}

// answer replies with a body that fill appends to a buffer.
func (s *Server) answer(r *rpc.Request, fill func([]byte) ([]byte, error)) error {
	p := s.answers.Get().(*[]byte)
	defer s.answers.Put(p)
	b, err := fill((*p)[:0])
	*p = b
	if err != nil {
		return err
	}
	return r.Reply(nil, b)
}

func (s *Server) delete(ctx context.Context, _ *rpc.Request, request idsRequest, store Store) error {
	return store.Delete(ctx, request.ids)
}

func (s *Server) drop(ctx context.Context, _ *rpc.Request, request idsRequest, store Store) error {
	if request.epoch != 0 {
		if err := s.cfg.Fence.AdmitDrop(request.epoch, request.ids); err != nil {
			return err
		}
	}
	return store.Drop(ctx, request.ids)
}

func (s *Server) list(ctx context.Context, r *rpc.Request, request listRequest, store Store) error {
	s.cfg.Fence.Heard(request.epoch)
	list, err := store.List(ctx, request.partition, request.after, int(min(request.limit, maxList)))
	if err != nil {
		return err
	}
	return s.answer(r, func(b []byte) ([]byte, error) { return appendInfos(b, list), nil })
}

func (s *Server) digests(ctx context.Context, r *rpc.Request, request digestsRequest, store Store) error {
	s.cfg.Fence.Heard(request.epoch)
	digests, err := storagenode.Digests(ctx, store, request.partitions)
	if err != nil {
		return err
	}
	return s.answer(r, func(b []byte) ([]byte, error) {
		for _, d := range digests {
			b = appendDigest(b, d)
		}
		return b, nil
	})
}

func (s *Server) usage(_ context.Context, r *rpc.Request, _ head, store Store) error {
	return r.Reply(nil, appendUsage(nil, store.Usage()))
}

func (s *Server) hint(_ context.Context, r *rpc.Request) error {
	request, err := decodeIDs(r.Head)
	if err != nil {
		return err
	}
	for _, id := range request.ids {
		s.cfg.Hint(id)
	}
	return nil
}
