package storagenode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"kintsugi/erasure"
	"kintsugi/internal/directio"
	"kintsugi/internal/pace"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// repairer gets a drive's own shard of a chunk: from a drive that has it, or else from k others.
type repairer struct {
	surveyor
	codes   *erasure.Cache
	pace    *pace.Pace
	memory  *semaphore.Weighted
	buffers directio.Pool
	metrics *Metrics
	log     *slog.Logger
	hint    func(placement.ShardID)

	bytesRead, bytesWritten atomic.Uint64 // from other drives; to the own one
}

const (
	// window is how much of each source is read at once, in bytes: it bounds the
	// memory of a rebuild to a shard and k windows.
	window = 256 << 10
	// repairMemory bounds the buffers of one drive's repairs, in bytes; a larger repair goes alone.
	repairMemory = 12 << 20
)

var errLocal = errors.New("own drive") // a failure to write to it, or to read its state

// repair does what a task asks for.
func (r *repairer) repair(ctx context.Context, m *placement.Map, t task) (outcome, error) {
	if t.intact {
		if out, ok := r.repairAlone(ctx, m, t); ok {
			return out, nil
		}
	}
	v, err := r.survey(ctx, m, t.chunk)
	if err != nil {
		return failed, err
	}
	slot := slices.Index(v.homes, r.me)
	if err := r.dropDamaged(ctx, m, v, slot); err != nil {
		return failed, err
	}
	switch {
	case v.isDeleted() && r.dropRemains(ctx, v):
		return deleted, nil
	case slot < 0:
		return present, nil
	case v.isDeleted(): // what is left of it stays as long as a drive of the map cannot be asked; nobody has to get what others lack
		return deleted, nil
	case has(v.holdings, r.me, slot):
		return r.checkOwn(v, slot)
	case len(v.holdings) == 0 && (v.unseen || v.corrupt):
		return unrecoverable, nil
	case len(v.holdings) == 0:
		return deleted, nil // nobody knows it
	}
	c, _ := agreed(v.holdings)
	if slot >= c.shards() {
		return present, nil
	}
	out, err := r.fetch(ctx, m, v, slot)
	if out == copied || out == rebuilt {
		r.dropCopies(ctx, m, v, slot)
	}
	return out, err
}

// repairAlone is the short way for a chunk of which all other homes had their shards a moment ago: it asks none of them
// what it has, but only reads. Where that does not work out it is not ok, and the survey has to tell why.
func (r *repairer) repairAlone(ctx context.Context, m *placement.Map, t task) (out outcome, ok bool) {
	v := newSurvey(m, t.chunk)
	slot := slices.Index(v.homes, r.me)
	c := t.code
	if slot < 0 || slot >= c.shards() || len(v.homes) < c.shards() {
		return failed, false
	}
	own := t.chunk.shard(slot)
	if _, err := r.local.Stat(ctx, own); !errors.Is(err, shardstore.ErrNotFound) && !errors.Is(err, shardstore.ErrCorrupt) || errors.Is(err, shardstore.ErrDeleted) {
		return failed, false
	}
	r.ask(ctx, v, r.copyQuestions(ctx, m, v, own))
	for i, home := range v.homes[:c.shards()] {
		if i == slot || home.IsZero() || r.peer(home) == nil {
			continue
		}
		h := shardstore.Header{ID: t.chunk.shard(i), Partition: v.partition, K: c.k, M: c.m, ChunkSize: c.chunkSize}
		v.holdings = append(v.holdings, holding{home, shardstore.Info{Header: h, Size: t.bytes}})
	}
	if len(v.tombs) > 0 || len(v.holdings) < int(c.k) {
		return failed, false
	}
	out, err := r.fetch(ctx, m, v, slot)
	if err != nil || out != copied && out != rebuilt {
		return out, false
	}
	r.dropCopies(ctx, m, v, slot)
	return out, true
}

// copyQuestions ask who may have a copy of the own shard: the home before the open transition, and substitutes.
func (r *repairer) copyQuestions(ctx context.Context, m *placement.Map, v *survey, own placement.ShardID) []question {
	previous := m.Previous(v.partition)
	var questions []question
	for _, d := range m.Drives {
		before := int(own.Index) < len(previous) && previous[own.Index] == d.ID
		if d.ID == r.me || slices.Contains(v.homes, d.ID) && !before {
			continue
		}
		if r.peer(d.ID) != nil && (before || r.mayHave(ctx, m, d.ID, v.partition)) {
			questions = append(questions, question{d.ID, []placement.ShardID{own}})
		}
	}
	return questions
}

// checkOwn is for a shard that is there: it must be of the same code as the others.
func (r *repairer) checkOwn(v *survey, slot int) (outcome, error) {
	if c, holdings := agreed(v.holdings); !has(holdings, r.me, slot) {
		return failed, fmt.Errorf("shard %s is of another code than the others, which have %d+%d", v.chunk.shard(slot), c.k, c.m)
	}
	return present, nil
}

// fetch reads or rebuilds the shard of a slot and writes it to the own drive.
func (r *repairer) fetch(ctx context.Context, m *placement.Map, v *survey, slot int) (outcome, error) {
	_, holdings := agreed(v.holdings)
	info := holdings[0].info
	params := erasure.Params{K: int(info.K), M: int(info.M)}
	size := erasure.ShardSize(params, int64(info.ChunkSize))
	if params.Validate() != nil || size != info.Size || size > shardstore.MaxPayload {
		return unrecoverable, fmt.Errorf("shard of %d bytes does not fit its code %s and chunk of %d bytes", info.Size, params, info.ChunkSize)
	}
	need := min(size+int64(params.K)*min(size, window), repairMemory)
	if err := r.memory.Acquire(ctx, need); err != nil {
		return failed, err
	}
	defer r.memory.Release(need)
	payload := r.buffers.Get(size)
	defer r.buffers.Put(payload)
	out, err := r.load(ctx, v, slot, params, payload)
	if err != nil || out == unrecoverable {
		return out, err
	}
	h := shardstore.Header{
		ID: v.chunk.shard(slot), Partition: v.partition, Epoch: m.Epoch, K: info.K, M: info.M, ChunkSize: info.ChunkSize,
	}
	if err := r.pace.Wait(ctx, size); err != nil {
		return failed, err
	}
	switch err := r.local.Put(ctx, h, payload); {
	case errors.Is(err, shardstore.ErrDeleted):
		return deleted, nil
	case err != nil:
		return failed, fmt.Errorf("%w: %w", errLocal, err)
	}
	r.bytesWritten.Add(uint64(size))
	r.metrics.written(size)
	return out, nil
}

// load fills payload with the shard: as a copy if there is one, or rebuilt.
func (r *repairer) load(ctx context.Context, v *survey, slot int, params erasure.Params, payload []byte) (outcome, error) {
	_, holdings := agreed(v.holdings)
	for _, h := range holdings {
		if int(h.info.ID.Index) != slot {
			continue
		}
		err := r.read(ctx, h, payload, 0)
		if err == nil {
			return copied, nil
		}
		if ctx.Err() != nil {
			return failed, err
		}
		v.remove(h.drive, slot, err)
	}
	return r.rebuild(ctx, v, slot, params, payload)
}

// rebuild computes the shard window by window. A source that fails is replaced
// for the windows that are left: Reed-Solomon works byte by byte.
func (r *repairer) rebuild(ctx context.Context, v *survey, slot int, params erasure.Params, payload []byte) (outcome, error) {
	code, err := r.codes.Code(params)
	if err != nil {
		return unrecoverable, err
	}
	step := int64(len(payload))
	if code.SubChunks() == 1 {
		step = min(step, window)
	}
	for off := int64(0); off < int64(len(payload)); {
		out := payload[off:min(off+step, int64(len(payload)))]
		switch err := r.column(ctx, v, slot, code, out, off); {
		case err == nil:
			off += int64(len(out))
		case errors.Is(err, erasure.ErrTooFewShards) && v.unread:
			return failed, fmt.Errorf("sources of shard %s failed: %w", v.chunk.shard(slot), err)
		case errors.Is(err, erasure.ErrTooFewShards):
			return unrecoverable, nil
		case !errors.Is(err, errSource):
			return failed, err
		}
	}
	return rebuilt, nil
}

// errSource: a source could not be read and is not in the survey any more.
var errSource = errors.New("source failed")

// column computes the bytes of the shard from off on.
func (r *repairer) column(ctx context.Context, v *survey, slot int, code erasure.Code, out []byte, off int64) error {
	sources := v.sources(slot)
	available := make([]int, len(sources))
	for i, h := range sources {
		available[i] = int(h.info.ID.Index)
	}
	plan, err := code.RepairPlan([]int{slot}, available)
	if err != nil {
		return err
	}
	unit := int64(len(out) / code.SubChunks())
	pieces := make([][]byte, len(plan))
	from := make([]holding, len(plan))
	for i, part := range plan {
		from[i] = sources[slices.Index(available, part.Shard)]
		pieces[i] = r.buffers.Get(int64(part.Count) * unit)
	}
	defer func() {
		for _, p := range pieces {
			r.buffers.Put(p)
		}
	}()
	errs := make([]error, len(plan))
	var reading sync.WaitGroup
	for i, part := range plan {
		get := func() { errs[i] = r.read(ctx, from[i], pieces[i], off+int64(part.First)*unit) }
		if _, far := r.peer(from[i].drive).(Stater); far {
			reading.Go(get)
		} else {
			get()
		}
	}
	reading.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i, err := range errs {
		if err != nil {
			v.remove(from[i].drive, plan[i].Shard, err)
		}
	}
	if errors.Join(errs...) != nil {
		return errSource
	}
	return code.Repair([]int{slot}, plan, pieces, [][]byte{out})
}

// read fills p from a holding. What turns out to be damaged is made known.
func (r *repairer) read(ctx context.Context, h holding, p []byte, off int64) error {
	peer := r.peer(h.drive)
	if peer == nil {
		return errSource
	}
	if err := r.pace.Wait(ctx, int64(len(p))); err != nil {
		return err
	}
	err := peer.ReadAt(ctx, h.info.ID, p, off)
	if errors.Is(err, shardstore.ErrCorrupt) {
		r.log.Warn("a shard is corrupt", slog.String("drive", h.drive.String()), slog.String("shard", h.info.ID.String()))
		r.hint(h.info.ID)
	}
	if err == nil {
		r.bytesRead.Add(uint64(len(p)))
		r.metrics.read(int64(len(p)))
	}
	return err
}

// dropCopies removes copies of the chunk's shards from drives that are not their
// homes, now that this drive has its own, if all other homes have theirs.
func (r *repairer) dropCopies(ctx context.Context, m *placement.Map, v *survey, slot int) {
	c, holdings := agreed(v.holdings)
	if m.Previous(v.partition) != nil {
		return
	}
	for i, home := range v.homes[:min(len(v.homes), c.shards())] {
		if i != slot && !home.IsZero() && !has(holdings, home, i) {
			return
		}
	}
	for _, h := range holdings {
		i := int(h.info.ID.Index)
		if i >= len(v.homes) || v.homes[i].IsZero() || v.homes[i] == h.drive {
			continue
		}
		if r.dropAt(ctx, m, h.drive, []placement.ShardID{h.info.ID}) == nil {
			r.metrics.surplus(1)
		}
	}
}

// dropRemains removes what drives that were away have kept of a chunk that was deleted meanwhile: tombstones are made
// for nothing else, and no id is used again. It tells whether it did; what it did not is left to the orphan sweep.
func (r *repairer) dropRemains(ctx context.Context, v *survey) bool {
	if v.unseen || v.corrupt || len(v.holdings) == 0 {
		return false
	}
	for _, h := range v.holdings {
		if peer := r.peer(h.drive); peer == nil || peer.Drop(ctx, []placement.ShardID{h.info.ID}) != nil {
			return false
		}
	}
	return true
}

// dropDamaged removes damaged shards of this drive that nobody needs: copies of what their homes have, and of chunks that were
// deleted. They are in no list, so nothing else would ever come by.
func (r *repairer) dropDamaged(ctx context.Context, m *placement.Map, v *survey, slot int) error {
	deleted := v.isDeleted() && !v.unseen
	var ids []placement.ShardID
	for i, home := range v.homes {
		if deleted || i != slot && has(v.holdings, home, i) {
			ids = append(ids, v.chunk.shard(i))
		}
	}
	found, err := Stats(ctx, r.local, ids)
	if err != nil {
		return err
	}
	var damaged []placement.ShardID
	for i, f := range found {
		if errors.Is(f.Err, shardstore.ErrCorrupt) {
			damaged = append(damaged, ids[i])
		}
	}
	if len(damaged) == 0 {
		return nil
	}
	return dropUnder(ctx, r.local, m.Epoch, damaged)
}

// dropSurplus removes those copies that still are copies when looked at once more.
func (r *repairer) dropSurplus(ctx context.Context, m *placement.Map, copies []copyOf) error {
	sure := map[placement.DriveID][]placement.ShardID{}
	for _, c := range copies {
		v, err := r.survey(ctx, m, chunkOf(c.shard))
		if err != nil {
			return err
		}
		r.ask(ctx, v, []question{{c.drive, []placement.ShardID{c.shard}}})
		if len(v.holdings) == 0 {
			continue
		}
		if slices.Contains(judge(v.homes, m.Previous(v.partition) != nil, r.me, v.holdings).surplus, c) {
			sure[c.drive] = append(sure[c.drive], c.shard)
		}
	}
	for drive, shards := range sure {
		switch err := r.dropAt(ctx, m, drive, shards); {
		case err == nil:
			r.metrics.surplus(len(shards))
		case !errors.Is(err, errSource):
			return err
		}
	}
	return nil
}

// dropAt drops shards that were surplus under the map m, unless something has changed for them since.
func (r *repairer) dropAt(ctx context.Context, m *placement.Map, drive placement.DriveID, shards []placement.ShardID) error {
	peer := r.peer(drive)
	if peer == nil {
		return errSource
	}
	if now := r.cluster.Map(); now != nil && now.Epoch != m.Epoch {
		for _, id := range shards {
			p := m.Partition(id.Blob, id.Chunk)
			if !slices.Equal(now.Homes(p), m.Homes(p)) {
				return errMoved
			}
		}
	}
	return dropUnder(ctx, peer, m.Epoch, shards)
}

// errMoved: the homes of a partition have changed since its shards were judged.
var errMoved = errors.New("partition has other homes by now")
