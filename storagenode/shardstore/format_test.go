package shardstore

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"kintsugi/internal/directio"
	"kintsugi/placement"
)

// sampleRecord has a different value in every field.
func sampleRecord() record {
	r := record{kind: kindPut, size: 70000, written: 1234567890, seq: 77, durable: 70, gen: 5, off: 8192}
	r.Header = Header{ID: placement.ShardID{Chunk: 3, Index: 4}, Partition: 99, Epoch: 12, K: 4, M: 2, ChunkSize: 8 << 20}
	for i := range r.ID.Blob {
		r.ID.Blob[i] = byte(i + 1)
	}
	return r
}

// TestGolden pins the formats: a change of these bytes needs a new version.
func TestGolden(t *testing.T) {
	const drive = 0x1122334455667788
	r := sampleRecord()
	rec := make([]byte, headerSize+2*sumSize)
	putSums(rec[headerSize:], r.ID, make([]byte, r.size))
	r.encode(rec, drive)
	head := make([]byte, 44)
	full := make([]byte, segmentHeadSize)
	segmentHead{drive: placement.DriveID{9}, gen: 5, capacity: 1 << 28}.encode(full)
	copy(head, full)
	var entry, trailer [hintEntrySize]byte
	putHintEntry(entry[:], &r)
	hintTrailer{sealed: true, end: 4096, maxSeq: 7, durable: 6}.encode(trailer[:])
	for name, got := range map[string][]byte{
		"record-v1": rec, "segment-v1": head, "hint-entry-v1": entry[:], "hint-trailer-v1": trailer[:],
	} {
		path := filepath.Join("testdata", name+".hex")
		want, err := os.ReadFile(path)
		if os.Getenv("UPDATE_GOLDEN") != "" {
			want = []byte(hex.EncodeToString(got) + "\n")
			err = os.WriteFile(path, want, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(got) != string(bytes.TrimSpace(want)) {
			t.Errorf("%s: got %x", name, got)
		}
	}
}

func TestGeometry(t *testing.T) {
	cases := []struct {
		size, payload, length int64
	}{
		{0, 128, 128},
		{1, 192, 256},
		{64, 192, 256},
		{65, 192, 320},
		{65535, 192, 65728},
		{65536, 4096, 4096 + 65536},
		{65537, 4096, 4096 + 69632},
		{2 << 20, 4096, 4096 + 2<<20},
		{MaxPayload, 12288, 12288 + MaxPayload},
	}
	for _, c := range cases {
		if p, n := payloadOffset(c.size), recordLen(c.size); p != c.payload || n != c.length {
			t.Errorf("size %d: payload at %d, length %d, want %d, %d", c.size, p, n, c.payload, c.length)
		}
	}
}

// FuzzRecord feeds a header decoder hostile bytes; what it takes it writes back the same.
func FuzzRecord(f *testing.F) {
	const drive = 42
	r := sampleRecord()
	b := make([]byte, headerSize+2*sumSize)
	r.encode(b, drive)
	f.Add(b)
	r.kind, r.size = kindTombstone, 0
	r.encode(b, drive)
	f.Add(b)
	f.Add([]byte(recordMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r record
		if r.decode(b, drive) != nil {
			return
		}
		if r.length() < headerSize || !(r.kind == kindPut || r.size == 0) {
			t.Fatalf("accepted %+v", r)
		}
		out := make([]byte, headerSize+sumSize*blockCount(int64(r.size)))
		copy(out[headerSize:], b[headerSize:])
		var again record
		sums := r.sums
		r.encode(out, drive)
		if err := again.decode(out, drive); err != nil {
			t.Fatal(err)
		}
		again.sums, r.sums = sums, sums
		if again != r {
			t.Fatalf("%+v became %+v", r, again)
		}
	})
}

// FuzzSegmentHead does the same for the head of a segment.
func FuzzSegmentHead(f *testing.F) {
	b := make([]byte, segmentHeadSize)
	segmentHead{drive: placement.DriveID{1}, gen: 3, capacity: 1 << 20}.encode(b)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeSegmentHead(b)
		if err != nil {
			return
		}
		out := make([]byte, segmentHeadSize)
		h.encode(out)
		if again, err := decodeSegmentHead(out); err != nil || again != h {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

// FuzzHint gives the reader of lists hostile files.
func FuzzHint(f *testing.F) {
	const drive, gen = 42, 7
	dir := f.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { root.Close() })
	w := newHintWriter(root, &segment{name: "seg", gen: gen}, drive)
	r := sampleRecord()
	w.add(&r)
	if err := w.finish(hintTrailer{sealed: true, end: 8192, maxSeq: 9, durable: 8}); err != nil {
		f.Fatal(err)
	}
	valid, err := os.ReadFile(filepath.Join(dir, "seg"+hintSuffix))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	f.Add(valid[:hintEntrySize])
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := root.WriteFile("fuzz", b, 0o600); err != nil {
			t.Fatal(err)
		}
		calls := 0
		_, err := readHint(root, "fuzz", drive, gen, func(r *record) { calls++ })
		if err != nil && calls > 0 {
			t.Fatal("records of a list that is not whole")
		}
		if err == nil && calls != len(b)/hintEntrySize-2 {
			t.Fatalf("%d records of %d bytes", calls, len(b))
		}
	})
}

// FuzzScan hides records among hostile bytes. Those that are not overwritten are
// found, and nothing else is.
func FuzzScan(f *testing.F) {
	f.Add([]byte("KSHD"), uint16(0), uint16(3))
	f.Add(bytes.Repeat([]byte(recordMagic), 50), uint16(64), uint16(9))
	f.Add(make([]byte, 5000), uint16(128), uint16(64))
	const drive, gen = 42, 7
	f.Fuzz(func(t *testing.T, noise []byte, at, gap uint16) {
		path := filepath.Join(t.TempDir(), "seg")
		file := bytes.Repeat([]byte{0xa5}, int(gap)*packAlign)
		var want []uint32
		for n, size := range []uint32{100, 3000, 0, 70000, 64} {
			if size >= directLimit {
				file = append(file, make([]byte, int(directio.Align(int64(len(file))))-len(file))...)
			}
			r := record{kind: kindPut, size: size, gen: gen, off: uint32(len(file)), seq: uint64(n + 1)}
			rec := make([]byte, r.length())
			payload := rec[payloadOffset(int64(size)):][:size]
			for i := range payload {
				payload[i] = byte(rand.Uint32())
			}
			putSums(rec[headerSize:], r.ID, payload)
			r.encode(rec, drive)
			file = append(file, rec...)
			want = append(want, r.off)
		}
		hit := min(int(at)*7, len(file))
		copy(file[hit:], noise)
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		found := map[uint32]bool{}
		sc := scanner{disk: linuxDisk{}, file: in, drive: drive, gen: gen, verify: true, each: func(r *record, sound bool) {
			found[r.off] = sound
		}}
		if _, err := sc.run(0); err != nil {
			t.Fatal(err)
		}
		for i, off := range want {
			end := uint32(len(file))
			if i+1 < len(want) {
				end = want[i+1]
			}
			if untouched := hit >= int(end) || hit+len(noise) <= int(off); untouched && !found[off] {
				t.Errorf("record at %d not found", off)
			}
			delete(found, off)
		}
		if len(found) > 0 {
			t.Errorf("found %v", found)
		}
	})
}
