package admin

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// WhyRequest asks how one object is.
type WhyRequest struct {
	Request
	Bucket  string `json:"bucket"`
	Key     string `json:"key"`
	Version string `json:"versionId,omitempty"` // "": the current one
	From    int    `json:"from,omitempty"`      // chunk to begin with
	Max     int    `json:"max,omitempty"`       // chunks of this answer; 0: as many as the server likes
	Verify  bool   `json:"verify,omitempty"`    // read the shards instead of asking the drives' indexes
}

// Why explains one version of an object.
type Why struct {
	Format     int          `json:"format"`
	Bucket     string       `json:"bucket"`
	Key        string       `json:"key"`
	Version    string       `json:"versionId"`
	Size       int64        `json:"size"`
	ETag       string       `json:"etag"`
	Modified   time.Time    `json:"modified"`
	Inline     bool         `json:"inline"` // the body is kept with the metadata: there are no chunks
	Chunks     int          `json:"chunks"`
	By         WhyCounts    `json:"chunksByState"` // of those that were looked at
	Detail     []ChunkState `json:"detail"`
	Next       int          `json:"next,omitempty"` // From of the next request; 0: that was all
	Health     Health       `json:"health"`
	Conclusion string       `json:"conclusion"`
}

// WhyCounts counts chunks by their health.
type WhyCounts struct {
	Whole      int `json:"whole"`
	Degraded   int `json:"degraded"`
	AtRisk     int `json:"atRisk"`
	Unreadable int `json:"unreadable"`
}

// ChunkState is a chunk and where its shards are.
type ChunkState struct {
	Chunk     int          `json:"chunk"` // of the object, from 0
	Blob      string       `json:"blob"`
	Number    uint32       `json:"number"` // within the blob, as shards are named
	Partition uint32       `json:"partition"`
	Code      string       `json:"code"`
	Epoch     uint64       `json:"epoch"` // of the map under which it was written
	Live      int          `json:"liveShards"`
	Needed    int          `json:"neededShards"`
	Health    Health       `json:"health"`
	Moving    bool         `json:"moving"` // a transition of the partition is open
	Shards    []ShardState `json:"shards"`
}

// States of a shard.
const (
	shardHealthy     = "healthy"
	shardMissing     = "missing"     // no drive that answers has it
	shardCorrupt     = "corrupt"     // a drive has it, and it is damaged
	shardUnreachable = "unreachable" // a drive that should have it does not answer
)

// ShardState is one shard of a chunk.
type ShardState struct {
	Index    int      `json:"index"`
	State    string   `json:"state"`
	Home     string   `json:"home,omitempty"` // drive id; "": the slot is vacant
	Previous string   `json:"previousHome,omitempty"`
	On       []string `json:"on"`             // drives that have it, healthy
	Note     string   `json:"note,omitempty"` // what stands in the way
}

// look is a chunk, and what the drives said of its shards.
type look struct {
	chunk     int
	blob      placement.BlobID
	number    uint32
	partition uint32
	k, m      int
	epoch     uint64
	homes     []placement.DriveID
	previous  []placement.DriveID // nil: no transition is open
	sightings []sighting
}

// sighting is the answer of one live drive about one shard.
type sighting struct {
	shard int
	drive placement.DriveID
	err   error // nil: it is there and healthy
}

// judgeChunk says how a chunk is. It is pure.
func judgeChunk(l look, drives map[placement.DriveID]*driveFacts, now time.Time) ChunkState {
	c := ChunkState{
		Chunk: l.chunk, Blob: l.blob.String(), Number: l.number, Partition: l.partition,
		Code: fmt.Sprintf("%d+%d", l.k, l.m), Epoch: l.epoch, Needed: l.k, Moving: l.previous != nil,
	}
	for i := range l.k + l.m {
		s := judgeShard(&l, i, drives, now)
		if s.State == shardHealthy {
			c.Live++
		}
		c.Shards = append(c.Shards, s)
	}
	switch {
	case c.Live < l.k:
		c.Health = Unavailable
	case c.Live == l.k+l.m:
		c.Health = Healthy
	case c.Live == l.k:
		c.Health = AtRisk
	default:
		c.Health = Degraded
	}
	if c.Health == Unavailable {
		for i := range c.Shards {
			if s := &c.Shards[i]; s.State == shardMissing || s.State == shardCorrupt {
				s.Note += fmt.Sprintf("; it cannot be rebuilt: %d of %d shards can be reached", c.Live, l.k)
			}
		}
	}
	return c
}

func judgeShard(l *look, i int, drives map[placement.DriveID]*driveFacts, now time.Time) ShardState {
	s := ShardState{Index: i, State: shardMissing, On: []string{}}
	var home, previous placement.DriveID
	if i < len(l.homes) {
		home = l.homes[i]
	}
	if i < len(l.previous) {
		previous = l.previous[i]
	}
	s.Home, s.Previous = idText(home), idText(previous)
	var corrupt, silent []placement.DriveID
	var cause error
	for _, x := range l.sightings {
		switch {
		case x.shard != i || errors.Is(x.err, shardstore.ErrNotFound) && !errors.Is(x.err, shardstore.ErrDeleted):
		case x.err == nil:
			s.On = append(s.On, x.drive.String())
		case errors.Is(x.err, shardstore.ErrCorrupt):
			corrupt = append(corrupt, x.drive)
		default:
			silent, cause = append(silent, x.drive), x.err
		}
	}
	switch atHome := slices.Contains(s.On, s.Home); {
	case atHome:
		s.State = shardHealthy
	case len(s.On) > 0:
		s.State, s.Note = shardHealthy, "not at its home: "+l.excuse(home, drives, now)
	case len(corrupt) > 0:
		s.State, s.Note = shardCorrupt, "damaged on "+drives[corrupt[0]].name()+": its home rebuilds it from the others"
	case errors.Is(cause, shardstore.ErrDeleted):
		s.Note = "drive " + drives[silent[0]].name() + " was told to forget it"
	case len(silent) > 0:
		s.State, s.Note = shardUnreachable, fmt.Sprintf("drive %s does not answer: %v", drives[silent[0]].name(), cause)
	case isDown(home, drives):
		s.State, s.Note = shardUnreachable, l.excuse(home, drives, now)
	case isDown(previous, drives):
		s.State, s.Note = shardUnreachable, "its old home "+drives[previous].down(now)+"; its new one builds it from the others"
	default:
		s.Note = l.excuse(home, drives, now)
	}
	return s
}

// excuse says why a home has not got its shard.
func (l *look) excuse(home placement.DriveID, drives map[placement.DriveID]*driveFacts, now time.Time) string {
	d := drives[home]
	switch {
	case home.IsZero() || d == nil:
		return "its slot has no drive: there are too few for the code"
	case !d.live():
		return "drive " + d.down(now)
	case d.report.Capacity > 0 && d.report.Free == 0:
		return "drive " + d.name() + " is full"
	case l.previous != nil:
		return "drive " + d.name() + " is filled by a transition that is open"
	case d.member.Beat.Repair.PendingShards+d.member.Beat.Repair.PendingPartitions > 0:
		return "repair of drive " + d.name() + " is under way"
	}
	return "drive " + d.name() + " lacks it and is told so by the next read or comparison: kintsugi admin rebuild starts one"
}

// down says since when a drive cannot be reached.
func (d *driveFacts) down(now time.Time) string {
	switch {
	case d.isRemoved():
		return d.name() + " was removed"
	case d.member == nil:
		return d.name() + " has not been heard of"
	}
	return d.name() + " has been down for " + duration(now.Sub(d.member.Since))
}

func isDown(id placement.DriveID, drives map[placement.DriveID]*driveFacts) bool {
	d := drives[id]
	return d != nil && !d.live()
}

func idText(id placement.DriveID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

// Merge adds the next page, and concludes from all.
func (w *Why) Merge(page Why) {
	w.Detail = append(w.Detail, page.Detail...)
	w.Next = page.Next
	w.conclude()
}

// conclude counts the chunks and says what they mean together.
func (w *Why) conclude() {
	w.By, w.Health = WhyCounts{}, Healthy
	blame := []string{}
	for _, c := range w.Detail {
		switch c.Health {
		case Healthy:
			w.By.Whole++
		case Degraded:
			w.By.Degraded++
		case AtRisk:
			w.By.AtRisk++
		case Unavailable:
			w.By.Unreadable++
		}
		if c.Health.rank() > w.Health.rank() {
			w.Health = c.Health
			blame = blame[:0]
		}
		for _, s := range c.Shards {
			if c.Health == w.Health && s.State != shardHealthy && !slices.Contains(blame, s.Note) {
				blame = append(blame, s.Note)
			}
		}
	}
	w.Conclusion = conclusion(w, blame)
}

// maxBlame bounds the causes in a conclusion.
const maxBlame = 3

func conclusion(w *Why, blame []string) string {
	looked := count(len(w.Detail), "chunk")
	if len(w.Detail) < w.Chunks {
		looked = fmt.Sprintf("%d of %d chunks looked at", len(w.Detail), w.Chunks)
	}
	text := ""
	switch w.Health {
	case Healthy:
		if w.Inline {
			return "readable: the body is kept with the metadata, in every replica of its group"
		}
		return "readable: all shards of " + looked + " are there"
	case Degraded:
		text = fmt.Sprintf("readable, with less redundancy than it should have: %d of %s", w.By.Degraded, looked)
	case AtRisk:
		text = fmt.Sprintf("readable, but the next lost shard makes it unreadable: %d of %s", w.By.AtRisk, looked)
	default:
		text = fmt.Sprintf("NOT readable now: %d of %s have fewer shards than needed", w.By.Unreadable, looked)
	}
	for i, b := range blame {
		if i == maxBlame {
			return text + fmt.Sprintf("; and %d more", len(blame)-i)
		}
		text += "; " + b
	}
	return text
}
