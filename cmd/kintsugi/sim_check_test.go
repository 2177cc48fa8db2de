package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kintsugi/bench/chaos/history"
	"kintsugi/bench/chaos/oracle"
	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/placement"
	"kintsugi/storagenode/audit"
	"kintsugi/storagenode/shardstore"
)

// heal ends all faults and brings every process back.
func (c *simCluster) heal() {
	c.note("heal everything")
	c.net.Heal()
	c.calm()
	for _, name := range c.names(rpc.Gateway | rpc.Storage | rpc.Meta) {
		c.net.Thaw(c.processes[name].ip)
		if c.running(name) == nil {
			c.note("start %s", name)
			c.start(name)
		}
	}
}

// whole waits until every chunk that is wanted has all of its shards where the ring says, and nothing else of it is anywhere.
// Where no operation has failed there is nothing of what is not wanted either.
func (c *simClients) whole(limit time.Duration) {
	c.t.Helper()
	begun := time.Now()
	c.await("full redundancy", limit, c.trouble)
	c.note("whole after %v", time.Since(begun))
}

// trouble tells what is not as it should be.
func (c *simClients) trouble() error {
	n := c.running(c.names(rpc.Storage)[0])
	m := n.view.Map()
	if open := len(m.Open()); open > 0 {
		return fmt.Errorf("%d partitions are moving", open)
	}
	for _, d := range m.Drives {
		if d.State != placement.Up && d.Weight > 0 {
			return fmt.Errorf("drive %s is %v", d.ID, d.State)
		}
	}
	if err := c.voters(); err != nil {
		return err
	}
	wanted, err := c.wanted()
	if err != nil {
		return err
	}
	chunks, err := c.chunks(m)
	if err != nil {
		return err
	}
	for id, chunk := range chunks {
		if !wanted[id.Blob] && (c.untidy || c.busy) {
			continue
		}
		if err := chunk.trouble(wanted[id.Blob]); err != nil {
			return fmt.Errorf("chunk %v: %w: %s", id, err, c.describe(m, id))
		}
		delete(wanted, id.Blob)
	}
	return nil
}

// voters tells whether a metadata group lacks one of its three replicas.
func (c *simCluster) voters() error {
	var hosts []uint64
	for _, name := range c.names(rpc.Meta) {
		hosts = append(hosts, c.running(name).host.id())
	}
	for _, name := range c.names(rpc.Meta) {
		member := c.running(name).host.running.Load()
		if member == nil {
			return fmt.Errorf("%s has no replica", name)
		}
		groups := member.Status(c.t.Context())
		for _, g := range groups {
			if len(g.Voters) != simMetas || slices.ContainsFunc(g.Voters, func(id uint64) bool { return !slices.Contains(hosts, id) }) {
				return fmt.Errorf("group %d as %s sees it: voters %v, hosts %v", g.Group, name, g.Voters, hosts)
			}
		}
		if len(groups) == 0 {
			return fmt.Errorf("%s tells nothing of its groups", name)
		}
	}
	return nil
}

// describe tells what each drive says of the shards of a chunk.
func (c *simCluster) describe(m *placement.Map, id audit.ChunkID) string {
	p := m.Partition(id.Blob, id.Chunk)
	text := fmt.Sprintf("partition %d, homes %v", p, m.Homes(p))
	for _, name := range c.names(rpc.Storage) {
		for drive, store := range c.running(name).view.current.Load().stores {
			text += fmt.Sprintf("; %s %s (%+v):", name, drive, c.running(name).repair.status())
			for i := range uint8(m.Slots()) {
				info, err := store.Stat(c.t.Context(), placement.ShardID{Blob: id.Blob, Chunk: id.Chunk, Index: i})
				switch {
				case err == nil:
					text += fmt.Sprintf(" %d (%d+%d, epoch %d, written %d)", i, info.K, info.M, info.Epoch, info.Written)
				case errors.Is(err, shardstore.ErrDeleted):
					text += fmt.Sprintf(" %d deleted", i)
				case !errors.Is(err, shardstore.ErrNotFound):
					text += fmt.Sprintf(" %d %v", i, err)
				}
			}
		}
	}
	return text
}

// wanted returns the blobs that the metadata refers to.
func (c *simClients) wanted() (map[placement.BlobID]bool, error) {
	wanted := map[placement.BlobID]bool{}
	n := c.running("g1")
	for i := range simKeys {
		v, err := n.meta.Object(c.t.Context(), meta.GetObject{Bucket: simBucket, Key: simKey(i)})
		if err != nil && !errors.Is(err, meta.ErrNoSuchKey) {
			return nil, err
		}
		for _, b := range v.Blobs {
			wanted[b.ID] = true
		}
	}
	return wanted, nil
}

// simChunk is what drives have of a chunk.
type simChunk struct {
	shards map[uint8]bool // at home
	want   int
	stray  string // a shard that is elsewhere
}

func (s *simChunk) trouble(wanted bool) error {
	switch {
	case !wanted:
		return errors.New("it is not wanted any more and not gone")
	case s.stray != "":
		return errors.New(s.stray)
	case len(s.shards) < s.want:
		return fmt.Errorf("%d of %d shards", len(s.shards), s.want)
	}
	return nil
}

// chunks lists what is on all drives.
func (c *simCluster) chunks(m *placement.Map) (map[audit.ChunkID]*simChunk, error) {
	chunks := map[audit.ChunkID]*simChunk{}
	for _, name := range c.names(rpc.Storage) {
		for drive, store := range c.running(name).view.current.Load().stores {
			for p := range uint32(m.Partitions) {
				list, err := store.List(c.t.Context(), p, placement.ShardID{}, 1<<20)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				for _, s := range list {
					addShard(chunks, m.Homes(p), drive, s)
				}
			}
		}
	}
	return chunks, nil
}

func addShard(chunks map[audit.ChunkID]*simChunk, homes []placement.DriveID, drive placement.DriveID, s shardstore.Info) {
	id := audit.ChunkID{Blob: s.ID.Blob, Chunk: s.ID.Chunk}
	chunk := chunks[id]
	if chunk == nil {
		chunk = &simChunk{shards: map[uint8]bool{}, want: int(s.K) + int(s.M)}
		chunks[id] = chunk
	}
	if int(s.ID.Index) < len(homes) && homes[s.ID.Index] == drive {
		chunk.shards[s.ID.Index] = true
	} else {
		chunk.stray = fmt.Sprintf("shard %d is on drive %s, the homes are %v", s.ID.Index, drive, homes)
	}
}

// check reads every key through every gateway and judges all that clients saw.
func (c *simClients) check() {
	c.t.Helper()
	for at, name := range c.names(rpc.Gateway) {
		for i := range simKeys {
			ctx, cancel := context.WithTimeout(context.Background(), simTimeout)
			op := history.Op{Client: simLastClient, Endpoint: uint8(at), Key: int32(i), Begin: time.Since(c.began), Final: true}
			var err error
			if op.Version, err = c.get(ctx, c.running(name), simKey(i)); err != nil {
				c.t.Errorf("%s at %s: %v", simKey(i), name, err)
			}
			cancel()
			op.End = time.Since(c.began)
			c.saw(op, err, true)
		}
	}
	v := oracle.Linear(c.seen.Snapshot())
	for _, f := range v.Failures {
		c.t.Errorf("%s: %s\n%s", f.Key, f.Title, strings.Join(f.History, "\n"))
	}
	if v.Status != oracle.Passed {
		c.t.Errorf("%s: %s", v.Name, v.Summary)
	}
}

// simLastClient looks at every key when all others are done.
const simLastClient = 99

// auditDrives has the auditor, which shares no code with the stores, count the shards of what is wanted.
func (c *simClients) auditDrives() {
	c.t.Helper()
	wanted, err := c.wanted()
	if err != nil {
		c.t.Fatal(err)
	}
	chunks, err := c.chunks(c.running("n1").view.Map())
	if err != nil {
		c.t.Fatal(err)
	}
	var dirs []string
	for _, name := range c.names(rpc.Storage) {
		dirs = append(dirs, c.processes[name].dirs...)
	}
	r, err := audit.Read(c.t.Context(), dirs, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for id, chunk := range chunks {
		if !wanted[id.Blob] {
			continue
		}
		healthy := map[uint8]int{}
		for _, s := range r.Chunks[id] {
			if s.State == audit.Healthy {
				healthy[s.Index]++
			}
		}
		if len(healthy) != chunk.want || len(r.Chunks[id]) < chunk.want {
			c.t.Errorf("chunk %v: the auditor found %+v", id, r.Chunks[id])
		}
	}
}
