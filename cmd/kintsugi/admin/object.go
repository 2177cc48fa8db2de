package admin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"kintsugi/meta"
	"kintsugi/placement"
	"kintsugi/storagenode"
)

const (
	// maxWhyChunks bounds the chunks of one answer: an object may have a million.
	maxWhyChunks    = 500
	maxVerifyChunks = 16 // whose shards are read
	whyParallel     = 8  // chunks that are looked at side by side
	whyTimeout      = 5 * time.Second
	// attemptShift is where a chunk's number holds the attempt of its run: in its highest 8 bits.
	attemptShift = 24
	verifyPiece  = 1 << 20 // bytes read at once of a shard that is verified
)

// chunkRef is a chunk of an object.
type chunkRef struct {
	blob   placement.BlobID
	number uint32
	run    meta.Run
}

// chunksOf lists the chunks from the given one on, at most limit, and counts all.
func chunksOf(blobs []meta.Blob, from, limit int) (refs []chunkRef, total int) {
	for _, b := range blobs {
		n := 0 // chunks of the blob so far
		for _, run := range b.Runs {
			first := max(from-total, 0)
			for i := first; i < int(run.Chunks) && len(refs) < limit; i++ {
				refs = append(refs, chunkRef{b.ID, uint32(n+i) | uint32(run.Attempt)<<attemptShift, run})
			}
			n += int(run.Chunks)
			total += int(run.Chunks)
		}
	}
	return refs, total
}

// versionText is a version id as S3 clients see it; parseVersion reads it.
func versionText(id meta.VersionID) string {
	if id == meta.NullVersion {
		return "null"
	}
	return fmt.Sprintf("%016x", uint64(id))
}

func parseVersion(text string) (*meta.VersionID, error) {
	if text == "" {
		return nil, nil
	}
	id := meta.NullVersion
	if text != "null" {
		n, err := strconv.ParseUint(text, 16, 64)
		if err != nil || len(text) != 16 {
			return nil, refuse("version id %q: want what S3 calls it, 16 hexadecimal digits or null", text)
		}
		id = meta.VersionID(n)
	}
	return &id, nil
}

// why looks at the chunks of one object and at all that the drives say of their shards.
func (s *Server) why(ctx context.Context, r WhyRequest) (Why, error) {
	id, err := parseVersion(r.Version)
	if err != nil {
		return Why{}, err
	}
	v, err := s.cfg.Meta.Object(ctx, meta.GetObject{Bucket: r.Bucket, Key: r.Key, Version: id})
	if err != nil {
		return Why{}, objectError(err)
	}
	w := Why{
		Format: Format, Bucket: r.Bucket, Key: r.Key, Version: versionText(v.ID), Size: v.Size, ETag: v.ETag,
		Modified: v.Modified.UTC(), Inline: len(v.Blobs) == 0, Detail: []ChunkState{},
	}
	f := s.facts(nil)
	limit := maxWhyChunks
	if r.Verify {
		limit = maxVerifyChunks
	}
	if r.Max > 0 {
		limit = min(limit, r.Max)
	}
	from := max(r.From, 0)
	refs, total := chunksOf(v.Blobs, from, limit)
	w.Chunks = total
	if w.Detail, err = s.lookAt(ctx, &f, refs, from, r.Verify); err != nil {
		return Why{}, err
	}
	if end := from + len(refs); end < total {
		w.Next = end
	}
	w.conclude()
	return w, nil
}

// objectError makes what is no failure of the cluster an answer to the operator.
func objectError(err error) error {
	var marker *meta.MarkerError
	switch {
	case errors.As(err, &marker):
		return refuse("the version is a delete marker, put at %s: there is no body", time.UnixMilli(marker.Modified).UTC().Format(time.RFC3339))
	case errors.Is(err, meta.ErrNoSuchKey), errors.Is(err, meta.ErrNoSuchBucket), errors.Is(err, meta.ErrNoSuchVersion):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// lookAt asks the drives about chunks, some side by side.
func (s *Server) lookAt(ctx context.Context, f *Facts, refs []chunkRef, from int, verify bool) ([]ChunkState, error) {
	states := make([]ChunkState, len(refs))
	if f.Map == nil {
		return states[:0], nil
	}
	drives := map[placement.DriveID]*driveFacts{}
	all := f.drives()
	for i := range all {
		drives[all[i].ID] = &all[i]
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(whyParallel)
	for i, ref := range refs {
		g.Go(func() error {
			p := f.Map.Partition(ref.blob, ref.number)
			l := look{
				chunk: from + i, blob: ref.blob, number: ref.number, partition: p, k: int(ref.run.K), m: int(ref.run.M),
				epoch: ref.run.Epoch, homes: f.Map.Homes(p), previous: f.Map.Previous(p),
			}
			s.see(ctx, &l, verify)
			states[i] = judgeChunk(l, drives, f.Now)
			return ctx.Err()
		})
	}
	return states, g.Wait()
}

// see asks the homes for their shards, and for those that are not there all drives.
func (s *Server) see(ctx context.Context, l *look, verify bool) {
	m := s.cfg.Cluster.Map()
	for i := range l.k + l.m {
		asked := map[placement.DriveID]bool{}
		ask := func(id placement.DriveID) bool {
			peer := s.cfg.Cluster.Peer(id)
			if id.IsZero() || asked[id] || peer == nil {
				return false
			}
			asked[id] = true
			shard := placement.ShardID{Blob: l.blob, Chunk: l.number, Index: uint8(i)}
			err := lookAtShard(ctx, peer, shard, verify)
			l.sightings = append(l.sightings, sighting{i, id, err})
			return err == nil
		}
		if i < len(l.homes) && ask(l.homes[i]) {
			continue
		}
		if i < len(l.previous) {
			ask(l.previous[i])
		}
		for _, d := range m.Drives {
			ask(d.ID)
		}
	}
}

func lookAtShard(ctx context.Context, peer storagenode.Peer, id placement.ShardID, verify bool) error {
	ctx, cancel := context.WithTimeout(ctx, whyTimeout)
	defer cancel()
	info, err := peer.Stat(ctx, id)
	if err != nil || !verify {
		return err
	}
	buf := make([]byte, min(info.Size, verifyPiece))
	for off := int64(0); off < info.Size; off += int64(len(buf)) {
		piece := buf[:min(int64(len(buf)), info.Size-off)]
		if err := peer.ReadAt(ctx, id, piece, off); err != nil {
			return err
		}
	}
	return nil
}
