package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"kintsugi/gateway/blob"
	"kintsugi/gateway/blob/blobtest"
	"kintsugi/meta"
	"kintsugi/storagenode/shardstore"
)

// small keeps chunks small, so that a test of many chunks is quick, and is patient with drives: on a busy
// machine a goroutine may not get to run for long.
func small() blob.Config {
	c := impatient()
	c.WriteHedge, c.WriteGiveUp = 5*time.Second, 10*time.Second
	return c
}

// impatient has the hedge times of production, for tests in virtual time.
func impatient() blob.Config {
	return blob.Config{ChunkSize: 256 << 10, MinChunkSize: 256 << 10, ReadWindow: 128 << 10}
}

func open(t testing.TB, c blob.Cluster, config blob.Config) *blob.Store {
	t.Helper()
	s, err := blob.New(config, c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func random(n int) []byte {
	b := make([]byte, n)
	var seed [32]byte
	seed[0], seed[1], seed[2] = byte(n), byte(n>>8), byte(n>>16)
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

func write(t testing.TB, s *blob.Store, body []byte) meta.Blob {
	t.Helper()
	b, err := s.Write(t.Context(), blobtest.BlobID(), bytes.NewReader(body), int64(len(body)), nil)
	if err != nil {
		t.Fatalf("Write of %d bytes: %v", len(body), err)
	}
	return b
}

func read(s *blob.Store, off, n int64, blobs ...meta.Blob) ([]byte, error) {
	r, err := s.Read(context.Background(), blobs, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out bytes.Buffer
	if _, err := r.WriteTo(&out); err != nil {
		return out.Bytes(), err
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return nil, fmt.Errorf("Read after WriteTo: %d, %v", n, err)
	}
	return out.Bytes(), nil
}

func mustRead(t testing.TB, s *blob.Store, body []byte, b meta.Blob) {
	t.Helper()
	got, err := read(s, 0, int64(len(body)), b)
	if err != nil {
		t.Fatalf("read %d bytes: %v", len(body), err)
	}
	if !bytes.Equal(got, body) {
		t.Fatalf("read %d bytes that differ from the %d written", len(got), len(body))
	}
}

func TestRoundTrip(t *testing.T) {
	const chunk = 256 << 10
	for _, code := range []struct{ drives, k, m int }{{1, 1, 0}, {2, 1, 1}, {3, 2, 1}, {4, 2, 2}, {6, 4, 2}, {9, 4, 2}, {16, 8, 4}} {
		t.Run(fmt.Sprintf("%d drives %d+%d", code.drives, code.k, code.m), func(t *testing.T) {
			s := open(t, blobtest.NewCluster(t, code.drives, code.k, code.m), small())
			for _, size := range []int{0, 1, 63, 4097, chunk - 1, chunk, chunk + 1, 3*chunk + 12345} {
				body := random(size)
				mustRead(t, s, body, write(t, s, body))
			}
		})
	}
}

// A chunk that just fits one of the sizes that buffers have leaves no room for its padding there.
func TestPaddingHasRoom(t *testing.T) {
	for _, code := range []struct{ k, m int }{{3, 1}, {4, 2}, {8, 4}, {40, 8}} {
		t.Run(fmt.Sprintf("%d+%d", code.k, code.m), func(t *testing.T) {
			s := open(t, blobtest.NewCluster(t, code.k+code.m, code.k, code.m), blob.Config{})
			for class := 16 << 10; class <= 2<<20; class *= 2 {
				for _, size := range []int{class - 1, class + class/16 - 1, class + class/16, class*3/2 + class*3/32 - 1} {
					body := random(size)
					mustRead(t, s, body, write(t, s, body))
				}
			}
		})
	}
}

func TestUnknownSize(t *testing.T) {
	const chunk = 512 << 10
	s := open(t, blobtest.NewCluster(t, 6, 4, 2), blob.Config{ChunkSize: chunk, MinChunkSize: chunk})
	for _, size := range []int{0, 1, 256 << 10, 256<<10 + 1, chunk - 1, chunk, chunk + 1, 2 * chunk} {
		body := random(size)
		var sink bytes.Buffer
		b, err := s.Write(t.Context(), blobtest.BlobID(), io.MultiReader(bytes.NewReader(body)), -1, &sink)
		if err != nil {
			t.Fatalf("Write of %d bytes: %v", size, err)
		}
		if b.Size != int64(size) || !bytes.Equal(sink.Bytes(), body) {
			t.Errorf("size %d: recorded %d, the sink saw %d bytes", size, b.Size, sink.Len())
		}
		mustRead(t, s, body, b)
	}
}

// endReader fails where the end of the body should be.
type endReader struct {
	r   io.Reader
	err error
}

func (e endReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err == io.EOF {
		err = e.err
	}
	return n, err
}

func TestBodyErrors(t *testing.T) {
	boom := errors.New("signature mismatch")
	body := random(700 << 10)
	for _, c := range []struct {
		name string
		body io.Reader
		size int64
		want error
	}{
		{"short", bytes.NewReader(body), int64(len(body)) + 1, io.ErrUnexpectedEOF},
		{"short is a size error", bytes.NewReader(body), int64(len(body)) + 1, blob.ErrSize},
		{"long", bytes.NewReader(body), int64(len(body)) - 1, blob.ErrSize},
		{"verification fails at the end", endReader{bytes.NewReader(body), boom}, int64(len(body)), boom},
		{"verification fails, size unknown", endReader{bytes.NewReader(body), boom}, -1, boom},
		{"cut short, size unknown", endReader{bytes.NewReader(body), io.ErrUnexpectedEOF}, -1, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := blobtest.NewCluster(t, 6, 4, 2)
			s := open(t, cluster, small())
			id := blobtest.BlobID()
			_, err := s.Write(t.Context(), id, c.body, c.size, io.Discard)
			if !errors.Is(err, c.want) {
				t.Errorf("Write: %v, want %v", err, c.want)
			}
			eventually(t, func() bool { return len(cluster.Shards(id)) == 0 }, "its shards are removed")
		})
	}
}

func TestRanges(t *testing.T) {
	s := open(t, blobtest.NewCluster(t, 6, 4, 2), small())
	first, second := random(600<<10+17), random(300<<10)
	blobs := []meta.Blob{write(t, s, first), write(t, s, nil), write(t, s, second)}
	all := append(append([]byte{}, first...), second...)
	for _, c := range []struct{ off, n int }{
		{0, 0}, {0, 1}, {0, len(all)}, {len(all), 0}, {len(all) - 1, 1}, {256<<10 - 1, 2}, {len(first) - 5, 10}, {100_000, 500_000}, {65_536, 65_536}, {70_001, 3},
	} {
		got, err := read(s, int64(c.off), int64(c.n), blobs...)
		if err != nil || !bytes.Equal(got, all[c.off:c.off+c.n]) {
			t.Errorf("range %+v: %d bytes, %v", c, len(got), err)
		}
	}
	for _, c := range []struct{ off, n int64 }{{-1, 1}, {0, int64(len(all)) + 1}, {int64(len(all)), 1}, {1, -1}} {
		if _, err := read(s, c.off, c.n, blobs...); !errors.Is(err, blob.ErrRange) {
			t.Errorf("range %+v: %v, want ErrRange", c, err)
		}
	}
}

func TestReadIntoSlices(t *testing.T) {
	s := open(t, blobtest.NewCluster(t, 6, 4, 2), small())
	body := random(777_777)
	r, err := s.Read(t.Context(), []meta.Blob{write(t, s, body)}, 0, int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.MultiReader(r)) // hides WriteTo
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
}

func TestInvalidRecords(t *testing.T) {
	s := open(t, blobtest.NewCluster(t, 6, 4, 2), small())
	good := write(t, s, random(300<<10))
	for name, spoil := range map[string]func(*meta.Blob){
		"no chunk size":  func(b *meta.Blob) { b.ChunkSize = 0 },
		"too few chunks": func(b *meta.Blob) { b.Runs = nil },
		"no data shard":  func(b *meta.Blob) { b.Runs = []meta.Run{{Chunks: 2, K: 0, M: 2}} },
		"negative size":  func(b *meta.Blob) { b.Size = -1 },
	} {
		b := good
		spoil(&b)
		if _, err := read(s, 0, 1, b); !errors.Is(err, blob.ErrInvalidBlob) {
			t.Errorf("%s: Read: %v", name, err)
		}
		if err := s.Remove(t.Context(), b); !errors.Is(err, blob.ErrInvalidBlob) {
			t.Errorf("%s: Remove: %v", name, err)
		}
	}
}

func TestRemove(t *testing.T) {
	cluster := blobtest.NewCluster(t, 6, 4, 2)
	s := open(t, cluster, small())
	kept, body := write(t, s, random(300<<10)), random(900<<10)
	gone := write(t, s, body)
	if err := s.Remove(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if n := len(cluster.Shards(gone.ID)); n != 0 {
		t.Errorf("%d shards are left", n)
	}
	if n := len(cluster.Shards(kept.ID)); n != 12 {
		t.Errorf("the other blob has %d shards, want 12", n)
	}
	if _, err := read(s, 0, 1, gone); !errors.Is(err, blob.ErrUnreadable) {
		t.Errorf("read of a removed blob: %v, want ErrUnreadable", err)
	}
	cluster.Drives[0].Fail()
	if err := s.Remove(t.Context(), kept); !errors.Is(err, shardstore.ErrFailed) {
		t.Errorf("Remove from a failed drive: %v, want its error", err)
	}
}

// TestScarceMemory: many bodies of unknown length, copies whose source is a Reader and readers that do not read
// share too little memory, and all come to an end.
func TestScarceMemory(t *testing.T) {
	config := small()
	config.WriteMemory, config.ScratchMemory, config.ReadMemory = 600<<10, 600<<10, 300<<10
	config.ChunkSize = 512 << 10
	s := open(t, blobtest.NewCluster(t, 6, 4, 2), config)
	body := random(600_000)
	source := write(t, s, body)
	for range 8 { // hold the read memory until the end
		r, err := s.Read(t.Context(), []meta.Blob{source}, 0, source.Size)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			r, err := s.Read(t.Context(), []meta.Blob{source}, 0, source.Size)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			size := source.Size
			if i%2 == 0 {
				size = -1
			}
			b, err := s.Write(t.Context(), blobtest.BlobID(), r, size, io.Discard)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := read(s, 0, b.Size, b); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
}
