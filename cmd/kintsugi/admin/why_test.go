package admin

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"kintsugi/meta"
	"kintsugi/meta/membership"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// testLook is a chunk of 4+2 in partition 7 with all shards at home.
func testLook(f *Facts) look {
	l := look{blob: placement.BlobID{0xb1}, number: 0, partition: 7, k: 4, m: 2, epoch: 1, homes: f.Map.Homes(7), previous: f.Map.Previous(7)}
	for i, home := range l.homes {
		l.sightings = append(l.sightings, sighting{i, home, nil})
	}
	return l
}

// lose replaces what the home of a shard said.
func (l *look) lose(shard int, err error) { l.sightings[shard].err = err }

func TestWhy(t *testing.T) {
	notFound := &shardstore.Error{Err: shardstore.ErrNotFound}
	for _, c := range []struct {
		name   string
		spoil  func(*testing.T, *Facts, *look)
		health Health
		live   int
		note   string // of some shard
		want   string // in the conclusion
	}{
		{"all well", func(*testing.T, *Facts, *look) {}, Healthy, 6, "", "all shards"},
		{"home down", func(_ *testing.T, f *Facts, l *look) { f.killHome(l, 0) }, Degraded, 5, "has been down for 40 s", "down for 40 s"},
		{"two homes down", func(_ *testing.T, f *Facts, l *look) { f.killHome(l, 0); f.killHome(l, 3) }, AtRisk, 4, "down", "next lost shard"},
		{"three homes down", func(_ *testing.T, f *Facts, l *look) {
			for i := range 3 {
				f.killHome(l, i)
			}
		}, Unavailable, 3, "down", "NOT readable"},
		{"missing", func(_ *testing.T, _ *Facts, l *look) { l.lose(2, notFound) }, Degraded, 5, "kintsugi admin rebuild", "less redundancy"},
		{"missing, repair under way", func(_ *testing.T, f *Facts, l *look) {
			l.lose(2, notFound)
			f.memberOfDrive(l.homes[2]).Beat.Repair = membership.Repair{PendingShards: 1}
		}, Degraded, 5, "under way", ""},
		{"damaged", func(_ *testing.T, _ *Facts, l *look) { l.lose(5, &shardstore.Error{Err: shardstore.ErrCorrupt}) }, Degraded, 5, "damaged on", "damaged on"},
		{"hangs", func(_ *testing.T, _ *Facts, l *look) { l.lose(1, errors.New("timeout")) }, Degraded, 5, "does not answer: timeout", ""},
		{"forgotten", func(_ *testing.T, _ *Facts, l *look) { l.lose(1, &shardstore.Error{Err: shardstore.ErrDeleted}) }, Degraded, 5, "told to forget", ""},
		{"at a substitute", func(_ *testing.T, f *Facts, l *look) {
			home := l.homes[4]
			f.killHome(l, 4)
			l.sightings = append(l.sightings, sighting{4, other(f, l), nil})
			_ = home
		}, Healthy, 6, "not at its home", "all shards"},
		{"a narrow code", func(_ *testing.T, _ *Facts, l *look) {
			l.k = 2
			l.sightings = l.sightings[:4]
		}, Healthy, 4, "", ""},
		{"full home", func(_ *testing.T, f *Facts, l *look) {
			l.lose(2, notFound)
			f.memberOfDrive(l.homes[2]).Beat.Drives[0].Free = 0
		}, Degraded, 5, "is full", ""},
		{"vacant slot", func(_ *testing.T, _ *Facts, l *look) {
			l.homes = append([]placement.DriveID{}, l.homes...)
			l.homes[5] = placement.DriveID{}
			l.sightings = l.sightings[:5]
		}, Degraded, 5, "too few", ""},
		{"filled by a transition", func(_ *testing.T, _ *Facts, l *look) {
			l.previous = append([]placement.DriveID{}, l.homes...)
			l.lose(2, notFound)
		}, Degraded, 5, "transition", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := testFacts(t, 9)
			l := testLook(f)
			c.spoil(t, f, &l)
			chunk := judgeChunk(l, driveMap(f), now)
			if chunk.Health != c.health || chunk.Live != c.live {
				t.Errorf("%s with %d live shards, want %s with %d", chunk.Health, chunk.Live, c.health, c.live)
			}
			notes := ""
			for _, s := range chunk.Shards {
				if s.State != shardHealthy && s.Note == "" {
					t.Errorf("shard %d is %s and nothing says why", s.Index, s.State)
				}
				notes += s.Note + "\n"
			}
			if !strings.Contains(notes, c.note) {
				t.Errorf("notes are %q, want one with %q", notes, c.note)
			}
			w := Why{Chunks: 1, Detail: []ChunkState{chunk}}
			w.conclude()
			if !strings.Contains(w.Conclusion, c.want) || w.Health != c.health {
				t.Errorf("conclusion of %s is %q, want %q", w.Health, w.Conclusion, c.want)
			}
		})
	}
}

func driveMap(f *Facts) map[placement.DriveID]*driveFacts {
	drives := map[placement.DriveID]*driveFacts{}
	all := f.drives()
	for i := range all {
		drives[all[i].ID] = &all[i]
	}
	return drives
}

// killHome takes the node of a shard's home down; it answers nothing then.
func (f *Facts) killHome(l *look, shard int) {
	f.kill(f.memberOfDrive(l.homes[shard]).Beat.Node.Name)
	for i, s := range l.sightings {
		if s.drive == l.homes[shard] {
			l.sightings = append(l.sightings[:i:i], l.sightings[i+1:]...)
			return
		}
	}
}

func (f *Facts) memberOfDrive(id placement.DriveID) *membership.NodeStatus {
	d, _ := f.Map.Drive(id)
	return f.member(d.Node)
}

// other is a drive that is no home of the chunk.
func other(f *Facts, l *look) placement.DriveID {
	for _, d := range f.Map.Drives {
		home := false
		for _, h := range l.homes {
			home = home || h == d.ID
		}
		if !home {
			return d.ID
		}
	}
	return placement.DriveID{}
}

func TestWriteWhy(t *testing.T) {
	f := testFacts(t, 9)
	well, bad := testLook(f), testLook(f)
	bad.chunk, bad.number = 1, 1
	f.killHome(&bad, 0)
	bad.lose(2, &shardstore.Error{Err: shardstore.ErrCorrupt})
	w := Why{Bucket: "photos", Key: "2024/a.jpg", Version: "null", Size: 9 << 20, ETag: "abc", Modified: now, Chunks: 2}
	w.Merge(Why{Detail: []ChunkState{judgeChunk(well, driveMap(f), now)}, Next: 1})
	w.Merge(Why{Detail: []ChunkState{judgeChunk(bad, driveMap(f), now)}})
	var out bytes.Buffer
	if err := WriteWhy(&out, w, Assess(*f).Drives, false); err != nil {
		t.Fatal(err)
	}
	golden(t, "why", out.Bytes())
}

func TestChunksOf(t *testing.T) {
	a, b := placement.BlobID{1}, placement.BlobID{2}
	blobs := []meta.Blob{
		{ID: a, Runs: []meta.Run{{Chunks: 2, K: 4, M: 2}, {Chunks: 1, K: 2, M: 2, Attempt: 3}}},
		{ID: b, Runs: []meta.Run{{Chunks: 2, K: 4, M: 2}}},
	}
	all, total := chunksOf(blobs, 0, 100)
	want := []chunkRef{
		{a, 0, blobs[0].Runs[0]}, {a, 1, blobs[0].Runs[0]}, {a, 2 | 3<<24, blobs[0].Runs[1]},
		{b, 0, blobs[1].Runs[0]}, {b, 1, blobs[1].Runs[0]},
	}
	if total != 5 || len(all) != 5 {
		t.Fatalf("%d of %d chunks", len(all), total)
	}
	for i, ref := range all {
		if ref != want[i] {
			t.Errorf("chunk %d is %+v, want %+v", i, ref, want[i])
		}
	}
	for from := range 6 {
		for limit := range 6 {
			page, total := chunksOf(blobs, from, limit)
			end := min(5, from+limit)
			if total != 5 || len(page) != max(0, end-from) || len(page) > 0 && page[0] != all[from] {
				t.Errorf("from %d, at most %d: %d chunks of %d", from, limit, len(page), total)
			}
		}
	}
}

func TestVersionID(t *testing.T) {
	for _, text := range []string{"null", "00000000000004d2"} {
		id, err := parseVersion(text)
		if err != nil || versionText(*id) != text {
			t.Errorf("%s: got %v, %v", text, id, err)
		}
	}
	for _, text := range []string{"4d2", "x", "00000000000004d2f"} {
		if _, err := parseVersion(text); !errors.Is(err, ErrRefused) {
			t.Errorf("%s is accepted: %v", text, err)
		}
	}
}
