package storagenode

import (
	"context"
	"errors"
	"slices"
	"sync"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// survey is where the shards of one chunk are at this moment, as their drives say.
type survey struct {
	chunk     chunkID
	partition uint32
	homes     []placement.DriveID
	holdings  []holding
	tombs     []int // shards of which a tombstone was found
	unseen    bool  // a drive of the map could not be asked
	corrupt   bool  // a drive has a damaged shard
	unread    bool  // a drive that has a shard could not be read now
}

// surveyor asks all drives of the map.
type surveyor struct {
	cluster Cluster
	me      placement.DriveID
	local   Drive
	census  *census
}

// question is what one drive is asked: which of these shards of a chunk it has.
type question struct {
	drive placement.DriveID
	ids   []placement.ShardID
}

// peer returns a drive, nil if it is down.
func (s surveyor) peer(id placement.DriveID) Peer {
	if id == s.me {
		return s.local
	}
	return s.cluster.Peer(id)
}

// survey asks the homes first, and for what is not there all other drives.
func (s surveyor) survey(ctx context.Context, m *placement.Map, chunk chunkID) (*survey, error) {
	v := newSurvey(m, chunk)
	questions := make([]question, 0, len(v.homes))
	for i, home := range v.homes {
		if !home.IsZero() {
			questions = append(questions, question{home, []placement.ShardID{chunk.shard(i)}})
		}
	}
	s.ask(ctx, v, questions)
	s.ask(ctx, v, s.furtherQuestions(ctx, m, v))
	return v, ctx.Err()
}

func newSurvey(m *placement.Map, chunk chunkID) *survey {
	v := &survey{chunk: chunk, partition: m.Partition(chunk.blob, chunk.chunk)}
	v.homes = m.Homes(v.partition)
	return v
}

// furtherQuestions are those to the other drives about what is not at home. If the chunk can be read and nobody says
// that it was deleted, those that have nothing of its partition are left out.
func (s surveyor) furtherQuestions(ctx context.Context, m *placement.Map, v *survey) []question {
	shards, sound := m.Slots(), false
	if len(v.holdings) > 0 {
		c, holdings := agreed(v.holdings)
		shards = c.shards()
		sound = distinct(holdings, c) >= int(c.k) && len(v.tombs) == 0
	}
	var missing []int
	for i := range shards {
		if !has(v.holdings, placement.DriveID{}, i) {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var questions []question
	for _, d := range m.Drives {
		if sound && !slices.Contains(v.homes, d.ID) && !s.mayHave(ctx, m, d.ID, v.partition) {
			continue
		}
		var ids []placement.ShardID
		for _, i := range missing {
			if i >= len(v.homes) || v.homes[i] != d.ID {
				ids = append(ids, v.chunk.shard(i))
			}
		}
		if len(ids) > 0 {
			questions = append(questions, question{d.ID, ids})
		}
	}
	return questions
}

// mayHave tells whether a drive may have anything of a partition. One that is down may.
func (s surveyor) mayHave(ctx context.Context, m *placement.Map, drive placement.DriveID, partition uint32) bool {
	peer := s.peer(drive)
	if peer == nil || drive == s.me {
		return true
	}
	digest, err := s.census.digest(ctx, drive, peer, m.Partitions, partition, surveyAge)
	return err != nil || digest.Count > 0
}

// ask puts questions, to drives behind connections at the same time, and notes the answers in their order.
func (s surveyor) ask(ctx context.Context, v *survey, questions []question) {
	answers := make([][]Found, len(questions))
	var asking sync.WaitGroup
	for i, q := range questions {
		peer := s.peer(q.drive)
		if peer == nil {
			continue
		}
		get := func() {
			answers[i], _ = Stats(ctx, peer, q.ids) // who cannot be asked is unseen
		}
		if _, far := peer.(Stater); far && len(questions) > 1 {
			asking.Go(get)
		} else {
			get()
		}
	}
	asking.Wait()
	for i, q := range questions {
		if len(answers[i]) < len(q.ids) {
			v.unseen = true
		}
		for n, found := range answers[i] {
			v.note(q.drive, q.ids[n], found)
		}
	}
}

// note takes in what one drive says about one shard.
func (v *survey) note(drive placement.DriveID, id placement.ShardID, found Found) {
	switch {
	case found.Err == nil:
		v.holdings = append(v.holdings, holding{drive, found.Info})
	case errors.Is(found.Err, shardstore.ErrDeleted):
		v.tombs = append(v.tombs, int(id.Index))
	case errors.Is(found.Err, shardstore.ErrCorrupt):
		v.corrupt = true
	case !errors.Is(found.Err, shardstore.ErrNotFound):
		v.unseen = true
	}
}

// isDeleted tells whether the chunk was deleted: a shard has a tombstone and is
// nowhere else. A tombstone of a shard that another drive has was only for a copy.
func (v *survey) isDeleted() bool {
	return slices.ContainsFunc(v.tombs, func(i int) bool { return !has(v.holdings, placement.DriveID{}, i) })
}

// remove forgets a holding that could not be read.
func (v *survey) remove(drive placement.DriveID, i int, err error) {
	if !errors.Is(err, shardstore.ErrNotFound) && !errors.Is(err, shardstore.ErrCorrupt) {
		v.unread = true
	}
	v.holdings = slices.DeleteFunc(v.holdings, func(h holding) bool {
		return h.drive == drive && int(h.info.ID.Index) == i
	})
}

// sources returns one holding of each shard, homes first, but for shard except.
func (v *survey) sources(except int) []holding {
	if len(v.holdings) == 0 {
		return nil
	}
	_, holdings := agreed(v.holdings)
	var sources []holding
	for _, h := range holdings {
		i := int(h.info.ID.Index)
		if i != except && !slices.ContainsFunc(sources, func(s holding) bool { return s.info.ID.Index == h.info.ID.Index }) {
			sources = append(sources, h)
		}
	}
	return sources
}
