package audit

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

// TestGoldenRecord reads what the first release wrote.
func TestGoldenRecord(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "shardstore", "testdata", "record-v1.hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	r, ok := decodeRecord(b, 0x1122334455667788)
	if !ok || r.id.Chunk != 3 || r.id.Index != 4 || r.k != 4 || r.m != 2 || r.size != 70000 || r.seq != 77 || r.durable != 70 ||
		r.gen != 5 || r.off != 8192 || r.partition != 99 || r.chunkSize != 8<<20 || r.kind != kindPut {
		t.Errorf("%+v, %v", r, ok)
	}
	if _, ok := decodeRecord(b, 1); ok {
		t.Error("a record of another drive")
	}
}

var testDrive = placement.DriveID{0xd0, 15: 1}

func openStore(t *testing.T, dir string) *shardstore.Store {
	t.Helper()
	s, err := shardstore.Open(dir, shardstore.Config{Drive: testDrive, SegmentSize: 1 << 20, GrowBytes: 256 << 10, TidyInterval: 5 * time.Millisecond, CompactBytesPerSecond: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// healthy lists what a store says that it has.
func healthy(t *testing.T, s *shardstore.Store) map[placement.ShardID]uint32 {
	t.Helper()
	list, err := s.List(t.Context(), 7, placement.ShardID{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	all := map[placement.ShardID]uint32{}
	for _, info := range list {
		all[info.ID] = uint32(info.Size)
	}
	return all
}

// found is the same as the drives say.
func found(r *Report) map[placement.ShardID]uint32 {
	all := map[placement.ShardID]uint32{}
	for id, shards := range r.Chunks {
		for _, s := range shards {
			if s.State == Healthy {
				all[placement.ShardID{Blob: id.Blob, Chunk: id.Chunk, Index: s.Index}] = s.Size
			}
		}
	}
	return all
}

// churn does something to a store at random.
func churn(t *testing.T, s *shardstore.Store, r *rand.Rand, n int) {
	h := shardtest.Header(1 + r.IntN(n)) // no list has the zero id
	switch r.IntN(5) {
	case 0:
		if err := s.Drop(t.Context(), []placement.ShardID{h.ID}); err != nil {
			t.Error(err)
		}
	case 1:
		if r.IntN(4) > 0 {
			return
		}
		if err := s.Delete(t.Context(), []placement.ShardID{h.ID}); err != nil {
			t.Error(err)
		}
	default:
		size := []int{0, 100, 5000, 70000, 150000}[r.IntN(5)]
		_ = s.Put(t.Context(), h, shardtest.Payload(h.ID, size)) // a tombstone may forbid it
	}
}

// TestAgreesWithTheStore compares an audit with what the store knows, after much has come and gone.
func TestAgreesWithTheStore(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, filepath.Join(dir, "shards"))
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 6 {
		for range 100 {
			churn(t, s, r, 150)
		}
		want := healthy(t, s)
		if round%2 == 1 { // closed, and open
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		report, err := Read(t.Context(), []string{dir}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := found(report); !reflect.DeepEqual(got, want) {
			t.Fatalf("round %d: %d shards, the store has %d", round, len(got), len(want))
		}
		if report.Drives[0].Drive != testDrive.String() || report.Drives[0].Damaged != 0 {
			t.Errorf("%+v", report.Drives[0])
		}
		if round%2 == 1 {
			s = openStore(t, filepath.Join(dir, "shards"))
		}
	}
}

// TestWhileTheStoreWorks audits a drive that is written, compacted and recycled at the same time: what was there all along is found.
func TestWhileTheStoreWorks(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, filepath.Join(dir, "shards"))
	const steady = 1000
	want := map[placement.ShardID]uint32{}
	for n := range 60 {
		h := shardtest.Header(steady + n)
		size := 1000 + 3000*n
		shardtest.Put(t, s, h, size)
		want[h.ID] = uint32(size)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for w := range uint64(2) {
		working.Go(func() {
			r := rand.New(rand.NewPCG(w, 3))
			for ctx.Err() == nil {
				churn(t, s, r, 100)
			}
		})
	}
	defer working.Wait()
	defer cancel()
	for range 10 {
		report, err := Read(t.Context(), []string{dir}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := found(report)
		for id, size := range want {
			if got[id] != size {
				t.Fatalf("shard %s is missing", id)
			}
		}
		if report.Drives[0].Damaged > 0 {
			t.Fatalf("%d are damaged", report.Drives[0].Damaged)
		}
	}
}

// TestDamageIsFound flips one bit of each shard in turn.
func TestDamageIsFound(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	for n := range 30 {
		shardtest.Put(t, s, shardtest.Header(n), 100+5000*n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := segmentNames(dir)
	if err != nil {
		t.Fatal(err)
	}
	flipped := 0
	for _, name := range names {
		seg, err := openSegment(name)
		if err != nil {
			t.Fatal(err)
		}
		defer seg.file.Close()
		seg.done = func(int64) {}
		err = seg.scan(t.Context(), testDrive, func(r *record, intact bool) {
			if r.kind != kindPut || r.id.Index%2 == 0 || r.seq > 25 { // the last ones may count as torn
				return
			}
			shardtest.Flip(t, name, int64(r.off)+r.payloadAt()+int64(r.size)/2)
			flipped++
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sum, err := Audit(t.Context(), []string{dir}, nil)
	if err != nil || sum.Damaged != uint64(flipped) || sum.Drives[0].Shards != 30-uint64(flipped) || flipped == 0 {
		t.Errorf("%d flipped: %+v, %v", flipped, sum, err)
	}
}

func TestSummary(t *testing.T) {
	shard := func(index int, state State) Shard {
		return Shard{Index: uint8(index), State: state, Size: 10, k: 2, m: 2, chunkSize: 20}
	}
	for _, c := range []struct {
		name   string
		shards []Shard
		want   Summary
	}{
		{"whole", []Shard{shard(0, Healthy), shard(1, Healthy), shard(2, Healthy), shard(3, Healthy)},
			Summary{Chunks: 1, Bytes: 20, Whole: 1, Live: map[int]uint64{4: 1}, Lost: map[int]uint64{0: 1}}},
		{"a copy", []Shard{shard(0, Healthy), shard(1, Healthy), shard(2, Healthy), shard(2, Healthy)},
			Summary{Chunks: 1, Bytes: 20, Copies: 1, Live: map[int]uint64{3: 1}, Lost: map[int]uint64{1: 1}}},
		{"damaged", []Shard{shard(0, Healthy), shard(1, Healthy), shard(2, Damaged), shard(3, Damaged)},
			Summary{Chunks: 1, Bytes: 20, AtRisk: 1, Live: map[int]uint64{2: 1}, Lost: map[int]uint64{2: 1}}},
		{"too few", []Shard{shard(0, Healthy)}, Summary{Chunks: 1, Bytes: 20, Unreadable: 1}},
		{"deleted, and a drive was away", []Shard{shard(0, Healthy), shard(1, Deleted)}, Summary{Deleted: 1}},
		{"a copy was deleted", []Shard{shard(0, Healthy), shard(0, Deleted), shard(1, Healthy)},
			Summary{Chunks: 1, Bytes: 20, AtRisk: 1, Live: map[int]uint64{2: 1}, Lost: map[int]uint64{2: 1}}},
		{"gone", []Shard{shard(1, Deleted)}, Summary{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Report{Chunks: map[ChunkID][]Shard{{}: c.shards}}
			got := r.Summary()
			if c.want.Live == nil {
				c.want.Live, c.want.Lost = map[int]uint64{}, map[int]uint64{}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	if _, err := Audit(t.Context(), []string{filepath.Join(t.TempDir(), "none")}, nil); err == nil {
		t.Error("a directory that is not there")
	}
	dir := t.TempDir()
	openStore(t, dir)
	if _, err := Audit(t.Context(), []string{dir, dir}, nil); err == nil {
		t.Error("a drive twice")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Audit(ctx, []string{dir}, nil); err == nil {
		t.Error("a cancelled audit")
	}
}

func TestProgress(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	shardtest.Put(t, s, shardtest.Header(1), 500000)
	var done, total int64
	if _, err := Audit(t.Context(), []string{dir}, func(d, n int64) { done, total = d, n }); err != nil || done != total || total == 0 {
		t.Errorf("%d of %d, %v", done, total, err)
	}
}

// FuzzSegment has an audit read any bytes.
func FuzzSegment(f *testing.F) {
	dir := f.TempDir()
	s, err := shardstore.Open(dir, shardstore.Config{Drive: testDrive, SegmentSize: 256 << 10, GrowBytes: 64 << 10, ReserveBytes: 64 << 10})
	if err != nil {
		f.Fatal(err)
	}
	for n := range 3 {
		h := shardtest.Header(n)
		if err := s.Put(context.Background(), h, shardtest.Payload(h.ID, 100)); err != nil {
			f.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	names, err := segmentNames(dir)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 8192)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "seg-00000001"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Read(t.Context(), []string{dir}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for id, shards := range r.Chunks {
			for _, s := range shards {
				if s.State == Healthy && int(s.Size) > len(b) {
					t.Fatalf("shard %d of %v is longer than all there is", s.Index, id)
				}
			}
		}
	})
}
