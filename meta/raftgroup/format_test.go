package raftgroup

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/zeebo/xxh3"
)

// reseal renews the checksum of a batch header.
func reseal(p []byte) { binary.LittleEndian.PutUint64(p[56:], xxh3.Hash(p[:56])) }

func testBatch() []byte {
	var b batch
	b.begin()
	b.add(record{group: 1, kind: kindEntry, index: 7, term: 3, data: []byte("hello")})
	b.add(record{group: 0, kind: kindHardState, index: 6, term: 3, data: make([]byte, 8)})
	b.add(record{group: 0, kind: kindStart, index: 2, term: 1})
	return bytes.Clone(b.seal(9, 4, 11, flagClosed, true))
}

func TestBatchGolden(t *testing.T) {
	p := testBatch()
	if len(p) != 8192 {
		t.Fatalf("%d bytes", len(p))
	}
	golden, err := os.ReadFile("testdata/batch.v1")
	must(t, err)
	if !bytes.Equal(p[:len(golden)], golden) {
		t.Errorf("version 1 is now written as\n%x, was\n%x", p[:len(golden)], golden)
	}
	var got []record
	h, err := decodeBatch(p, func(r record, _, _ int) error { got = append(got, r); return nil })
	must(t, err)
	if h.host != 9 || h.segment != 4 || h.sequence != 11 || h.flags != flagClosed || h.size() != 4096 {
		t.Errorf("header %+v", h)
	}
	if len(got) != 3 || string(got[0].data) != "hello" || got[0].index != 7 || got[1].kind != kindHardState || got[2].term != 1 {
		t.Errorf("records %+v", got)
	}
}

// TestBatchFlips flips every bit of a batch: none goes unnoticed, except in the padding.
func TestBatchFlips(t *testing.T) {
	p := testBatch()
	used := batchHeaderSize + recordSize(5) + recordSize(8) + recordSize(0)
	for i := range used * 8 {
		p[i/8] ^= 1 << (i % 8)
		if batchIntact(p) {
			t.Fatalf("bit %d of byte %d flipped unnoticed", i%8, i/8)
		}
		p[i/8] ^= 1 << (i % 8)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(testBatch()[:256])
	f.Add([]byte(batchMagic))
	f.Fuzz(func(t *testing.T, p []byte) {
		// With right checksums the parser is alone with the rest.
		if len(p) >= batchHeaderSize {
			copy(p, batchMagic)
			binary.LittleEndian.PutUint16(p[4:], batchVersion)
			length := min(int(binary.LittleEndian.Uint32(p[8:])), len(p)-batchHeaderSize)
			body := p[batchHeaderSize : batchHeaderSize+length]
			binary.LittleEndian.PutUint64(p[40:], xxh3.HashSeed(body, binary.LittleEndian.Uint64(p[32:])))
			reseal(p)
			p = append(p, make([]byte, 4096)...)
		}
		var b batch
		b.begin()
		h, err := decodeBatch(p, func(r record, _, size int) error {
			if size != recordSize(len(r.data)) {
				t.Errorf("record of %d bytes with %d of data", size, len(r.data))
			}
			b.add(r)
			return nil
		})
		if err != nil {
			return
		}
		again := b.seal(h.host, h.segment, h.sequence, h.flags, false)
		if _, err := decodeBatch(again, func(record, int, int) error { return nil }); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(appendRecord(nil, record{group: 1, kind: kindEntry, index: 7, term: 3, data: []byte("hello")}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) >= recordHeaderSize {
			end := recordHeaderSize + min(int64(binary.LittleEndian.Uint32(p[4:])), int64(len(p)-recordHeaderSize))
			binary.LittleEndian.PutUint32(p, uint32(xxh3.Hash(p[4:end])))
		}
		r, n, err := decodeRecord(p)
		if err != nil {
			return
		}
		if again := appendRecord(nil, r); len(again) != n || !bytes.Equal(again[:recordHeaderSize+len(r.data)], p[:recordHeaderSize+len(r.data)]) {
			t.Error("record does not round-trip")
		}
	})
}
