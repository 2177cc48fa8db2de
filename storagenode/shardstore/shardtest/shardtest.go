// Package shardtest is the contract of a shard store as a test suite: every
// implementation, on disk, in memory or behind a connection, passes it.
package shardtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// Store is what a shard store offers. See shardstore.Store for the meaning of each method.
type Store interface {
	Put(context.Context, shardstore.Header, []byte) error
	ReadAt(ctx context.Context, id placement.ShardID, p []byte, off int64) error
	Stat(context.Context, placement.ShardID) (shardstore.Info, error)
	Delete(context.Context, []placement.ShardID) error
	Drop(context.Context, []placement.ShardID) error
	List(ctx context.Context, partition uint32, after placement.ShardID, limit int) ([]shardstore.Info, error)
	Digest(ctx context.Context, partition uint32) (shardstore.Digest, error)
	Usage() shardstore.Usage
	Failed() <-chan struct{}
	Err() error
	Scrub(ctx context.Context, bytesPerSecond int64, report func(placement.ShardID, error)) error
	Close() error
}

// Run runs the suite; open returns a fresh empty store each time.
func Run(t *testing.T, open func(*testing.T) Store) {
	cases := []struct {
		name string
		test func(*testing.T, Store)
	}{
		{"round trip of every size", roundTrip},
		{"ranges", ranges},
		{"put again changes nothing", putAgain},
		{"unknown shard", unknown},
		{"delete forbids a rewrite", deleted},
		{"drop allows a rewrite", dropped},
		{"list in order by pages", list},
		{"digest of chunks", digest},
		{"usage counts", usage},
		{"many writers", writers},
		{"writers race deletes", race},
		{"cancelled context", cancelled},
		{"scrub finds nothing wrong", scrub},
		{"closed", closed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			defer s.Close()
			c.test(t, s)
		})
	}
}

// Header makes a header for shard number n of a test: another blob for each n.
func Header(n int) shardstore.Header {
	h := shardstore.Header{Partition: 7, Epoch: 3, K: 4, M: 2, ChunkSize: 1000}
	binary.BigEndian.PutUint64(h.ID.Blob[8:], uint64(n))
	h.ID.Chunk = uint32(n % 3)
	h.ID.Index = uint8(n % 6)
	return h
}

// Payload is n bytes that only this shard has.
func Payload(id placement.ShardID, n int) []byte {
	var seed [32]byte
	copy(seed[:], id.Blob[:])
	binary.LittleEndian.PutUint32(seed[16:], id.Chunk)
	seed[20] = id.Index
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(p) // never fails
	return p
}

// Put writes shard h with n bytes of Payload.
func Put(t testing.TB, s Store, h shardstore.Header, n int) {
	t.Helper()
	if err := s.Put(t.Context(), h, Payload(h.ID, n)); err != nil {
		t.Fatalf("Put(%v, %d bytes): %v", h.ID, n, err)
	}
}

// Want reads shard id and fails the test unless it holds n bytes of Payload.
func Want(t testing.TB, s Store, id placement.ShardID, n int) {
	t.Helper()
	got := make([]byte, n)
	if err := s.ReadAt(t.Context(), id, got, 0); err != nil {
		t.Fatalf("ReadAt(%v): %v", id, err)
	}
	if !bytes.Equal(got, Payload(id, n)) {
		t.Fatalf("ReadAt(%v): wrong bytes", id)
	}
}

// WantError fails the test unless err is target.
func WantError(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got %v, want %v", err, target)
	}
}

var sizes = []int{0, 1, 63, 64, 65, 1000, 4095, 4096, 4097, 16384, 65535, 65536, 65537, 131072, 200000, 1 << 20, 1<<20 + 4096}

func roundTrip(t *testing.T, s Store) {
	for n, size := range sizes {
		Put(t, s, Header(n), size)
	}
	for n, size := range sizes {
		h := Header(n)
		Want(t, s, h.ID, size)
		info, err := s.Stat(t.Context(), h.ID)
		if err != nil {
			t.Fatal(err)
		}
		if info.Header != h || info.Size != int64(size) || info.Written == 0 {
			t.Errorf("Stat = %+v, want %+v of %d bytes", info, h, size)
		}
	}
}

func ranges(t *testing.T, s Store) {
	for n, size := range []int{5000, 300000} {
		h := Header(n)
		Put(t, s, h, size)
		want := Payload(h.ID, size)
		for _, r := range [][2]int{{0, 1}, {0, size}, {size - 1, 1}, {size, 0}, {1, size - 1}, {100, 4000}, {size / 4, size / 2}, {size / 2, size - size/2}} {
			got := make([]byte, r[1])
			if err := s.ReadAt(t.Context(), h.ID, got, int64(r[0])); err != nil {
				t.Fatalf("range %v: %v", r, err)
			}
			if !bytes.Equal(got, want[r[0]:r[0]+r[1]]) {
				t.Fatalf("range %v of %d: wrong bytes", r, size)
			}
		}
		for _, r := range [][2]int{{0, size + 1}, {size, 1}, {-1, 1}} {
			WantError(t, s.ReadAt(t.Context(), h.ID, make([]byte, r[1]), int64(r[0])), shardstore.ErrRange)
		}
	}
}

func putAgain(t *testing.T, s Store) {
	h := Header(1)
	Put(t, s, h, 5000)
	if err := s.Put(t.Context(), h, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	Want(t, s, h.ID, 5000)
}

func unknown(t *testing.T, s Store) {
	WantError(t, s.ReadAt(t.Context(), Header(1).ID, make([]byte, 1), 0), shardstore.ErrNotFound)
	_, err := s.Stat(t.Context(), Header(1).ID)
	WantError(t, err, shardstore.ErrNotFound)
	if list, err := s.List(t.Context(), 9, placement.ShardID{}, 10); err != nil || len(list) != 0 {
		t.Fatalf("List = %v, %v", list, err)
	}
}

func deleted(t *testing.T, s Store) {
	a, b := Header(1), Header(2)
	Put(t, s, a, 5000)
	ids := []placement.ShardID{a.ID, b.ID}
	for range 2 {
		if err := s.Delete(t.Context(), ids); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []shardstore.Header{a, b} {
		WantError(t, s.ReadAt(t.Context(), h.ID, make([]byte, 1), 0), shardstore.ErrNotFound)
		_, err := s.Stat(t.Context(), h.ID)
		WantError(t, err, shardstore.ErrDeleted)
		WantError(t, s.Put(t.Context(), h, make([]byte, 10)), shardstore.ErrDeleted)
	}
	if err := s.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

func dropped(t *testing.T, s Store) {
	a, b := Header(1), Header(2)
	Put(t, s, a, 5000)
	if err := s.Drop(t.Context(), []placement.ShardID{a.ID, b.ID}); err != nil {
		t.Fatal(err)
	}
	WantError(t, s.ReadAt(t.Context(), a.ID, make([]byte, 1), 0), shardstore.ErrNotFound)
	Put(t, s, a, 5000)
	Want(t, s, a.ID, 5000)
	if err := s.Delete(t.Context(), []placement.ShardID{a.ID}); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(t.Context(), []placement.ShardID{a.ID}); err != nil {
		t.Fatal(err)
	}
	WantError(t, s.Put(t.Context(), a, nil), shardstore.ErrDeleted)
}

func list(t *testing.T, s Store) {
	var want []placement.ShardID
	for n := range 50 {
		h := Header(n * 7919 % 50) // not in order
		h.Partition = uint32(h.ID.Blob[15]) % 2
		Put(t, s, h, 10)
		if h.Partition == 1 {
			want = append(want, h.ID)
		}
	}
	if err := s.Delete(t.Context(), want[:1]); err != nil {
		t.Fatal(err)
	}
	want = want[1:]
	slices.SortFunc(want, func(a, b placement.ShardID) int { return bytes.Compare(a.Blob[:], b.Blob[:]) })
	var got []placement.ShardID
	var after placement.ShardID
	for {
		page, err := s.List(t.Context(), 1, after, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, info := range page {
			if info.Partition != 1 || info.Size != 10 || info.K != 4 {
				t.Fatalf("List has %+v", info)
			}
			got = append(got, info.ID)
		}
		after = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Fatalf("List = %v, want %v", got, want)
	}
}

func digest(t *testing.T, s Store) {
	seen := map[uint64]bool{}
	check := func(want shardstore.Digest) {
		t.Helper()
		got, err := s.Digest(t.Context(), 7)
		if err != nil || !got.SameChunks(want) {
			t.Fatalf("Digest = %+v, %v, want %+v", got, err, want)
		}
		if seen[got.Shards] {
			t.Fatalf("Digest %+v does not tell that a shard came or went", got)
		}
		seen[got.Shards] = true
	}
	check(shardstore.Digest{})
	a, other := Header(1), Header(1)
	other.ID.Index++ // another shard of the same chunk
	b := Header(2)
	hash := func(h shardstore.Header) uint64 { return shardstore.ChunkHash(h.ID.Blob, h.ID.Chunk) }
	Put(t, s, a, 10)
	check(shardstore.Digest{Count: 1, Sum: hash(a), Bytes: 1000})
	Put(t, s, other, 10)
	check(shardstore.Digest{Count: 1, Sum: hash(a), Bytes: 1000})
	Put(t, s, b, 10)
	check(shardstore.Digest{Count: 2, Sum: hash(a) + hash(b), Bytes: 2000})
	if err := s.Delete(t.Context(), []placement.ShardID{a.ID}); err != nil {
		t.Fatal(err)
	}
	check(shardstore.Digest{Count: 2, Sum: hash(a) + hash(b), Bytes: 2000})
	if err := s.Drop(t.Context(), []placement.ShardID{other.ID}); err != nil {
		t.Fatal(err)
	}
	check(shardstore.Digest{Count: 1, Sum: hash(b), Bytes: 1000})
}

func usage(t *testing.T, s Store) {
	for n := range 10 {
		Put(t, s, Header(n), 5000)
	}
	if err := s.Delete(t.Context(), []placement.ShardID{Header(0).ID}); err != nil {
		t.Fatal(err)
	}
	u := s.Usage()
	if u.Shards != 9 || u.Tombstones != 1 || u.Corrupt != 0 || u.Full || u.CapacityBytes == 0 {
		t.Fatalf("Usage = %+v", u)
	}
	if u.LiveBytes < 9*5000 || u.UsedBytes < u.LiveBytes {
		t.Fatalf("Usage = %+v", u)
	}
}

func writers(t *testing.T, s Store) {
	const each = 20
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range each {
				n := w*each + i
				h := Header(n)
				if err := s.Put(t.Context(), h, Payload(h.ID, n*997%100000)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for n := range 8 * each {
		Want(t, s, Header(n).ID, n*997%100000)
	}
}

// race deletes every shard while it is being written. Whoever comes first, it is gone at the end.
func race(t *testing.T, s Store) {
	var wg sync.WaitGroup
	for n := range 50 {
		h := Header(n)
		wg.Go(func() {
			if err := s.Put(t.Context(), h, Payload(h.ID, n*3000)); err != nil && !errors.Is(err, shardstore.ErrDeleted) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := s.Delete(t.Context(), []placement.ShardID{h.ID}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for n := range 50 {
		_, err := s.Stat(t.Context(), Header(n).ID)
		WantError(t, err, shardstore.ErrNotFound)
	}
}

func cancelled(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := Header(1)
	WantError(t, s.Put(ctx, h, make([]byte, 10)), context.Canceled)
	WantError(t, s.ReadAt(ctx, h.ID, make([]byte, 10), 0), context.Canceled)
	WantError(t, s.Delete(ctx, []placement.ShardID{h.ID}), context.Canceled)
}

func scrub(t *testing.T, s Store) {
	for n, size := range sizes {
		Put(t, s, Header(n), size)
	}
	err := s.Scrub(t.Context(), 1<<30, func(id placement.ShardID, err error) { t.Errorf("%v: %v", id, err) })
	if err != nil {
		t.Fatal(err)
	}
}

func closed(t *testing.T, s Store) {
	Put(t, s, Header(1), 10)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	WantError(t, s.Put(t.Context(), Header(2), nil), shardstore.ErrFailed)
	WantError(t, s.ReadAt(t.Context(), Header(1).ID, make([]byte, 10), 0), shardstore.ErrFailed)
}
