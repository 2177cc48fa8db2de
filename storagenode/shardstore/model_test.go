package shardstore_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
	"kintsugi/storagenode/shardstore/shardtest"
)

var modelSeed = flag.Uint64("seed", 0, "seed of TestModel; 0: a new one")

// TestModel does the same random things to a disk store and to the one in
// memory, reopens the former now and then, with and without its lists, and
// compares all that they answer.
func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	m := &model{T: t, r: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), want: shardstore.NewMemory()}
	m.got = openAt(t, m.dir, small)
	for range 1000 {
		m.step()
	}
	m.compare()
	m.got.Close()
}

type model struct {
	*testing.T
	r    *rand.Rand
	dir  string
	got  *shardstore.Store
	want *shardstore.Memory
}

// modelShards is small, so that shards are written, deleted and dropped again and again.
const modelShards = 400

func (m *model) header() shardstore.Header {
	n := m.r.IntN(modelShards)
	h := shardtest.Header(n / 2) // two shards of each chunk
	h.ID.Index = uint8(n % 2)
	h.Partition = uint32(h.ID.Blob[15]) % 3
	return h
}

func (m *model) step() {
	switch op := m.r.IntN(100); {
	case op < 60:
		h := m.header()
		p := shardtest.Payload(h.ID, []int{10, 3000, 20000, 80000}[h.ID.Blob[15]%4])
		m.same("put", m.got.Put(m.Context(), h, p), m.want.Put(m.Context(), h, p))
	case op < 63:
		ids := m.some()
		m.same("delete", m.got.Delete(m.Context(), ids), m.want.Delete(m.Context(), ids))
	case op < 75:
		ids := m.some()
		m.same("drop", m.got.Drop(m.Context(), ids), m.want.Drop(m.Context(), ids))
	case op < 92:
		h := m.header()
		_, got := m.got.Stat(m.Context(), h.ID)
		_, want := m.want.Stat(m.Context(), h.ID)
		m.same("stat", got, want)
	case op < 95:
		m.got.Retire()
	case op < 98:
		tidy(m.T, m.got)
	case op < 99:
		m.got.Close()
		m.got = openAt(m.T, m.dir, small)
	default:
		m.compare()
		m.got.Close()
		removeHints(m.T, m.dir)
		m.got = openAt(m.T, m.dir, small)
		m.compare()
	}
}

// some picks a few shards.
func (m *model) some() []placement.ShardID {
	var list []placement.ShardID
	for range m.r.IntN(5) {
		list = append(list, m.header().ID)
	}
	return list
}

func (m *model) same(op string, got, want error) {
	m.Helper()
	for _, target := range []error{nil, shardstore.ErrNotFound, shardstore.ErrDeleted} {
		if errors.Is(got, target) != errors.Is(want, target) {
			m.Fatalf("%s: got %v, want %v", op, got, want)
		}
	}
}

func (m *model) compare() {
	m.Helper()
	for p := range uint32(3) {
		got, err := m.got.List(m.Context(), p, placement.ShardID{}, 1000)
		if err != nil {
			m.Fatal(err)
		}
		want, _ := m.want.List(m.Context(), p, placement.ShardID{}, 1000)
		for i := range got {
			got[i].Written = 0
		}
		for i := range want {
			want[i].Written = 0
		}
		if !slices.Equal(got, want) {
			m.Fatalf("partition %d: lists of %d and %d differ", p, len(got), len(want))
		}
		gotDigest, _ := m.got.Digest(m.Context(), p)
		wantDigest, _ := m.want.Digest(m.Context(), p)
		if gotDigest != wantDigest {
			m.Fatalf("partition %d: %+v, want %+v", p, gotDigest, wantDigest)
		}
		for _, info := range want {
			shardtest.Want(m.T, m.got, info.ID, int(info.Size))
		}
	}
	g, w := m.got.Usage(), m.want.Usage()
	if g.Shards != w.Shards || g.Tombstones != w.Tombstones || g.Corrupt != 0 {
		m.Fatalf("usage %+v, want %+v", g, w)
	}
}
