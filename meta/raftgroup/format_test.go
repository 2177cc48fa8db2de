package raftgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/zeebo/xxh3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
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

// FuzzDecodeSpoolHead round-trips what it accepts.
func FuzzDecodeSpoolHead(f *testing.F) {
	for _, at := range []Position{{}, {Index: 7, Term: 3}, {Index: 1 << 40, Term: 9, Members: &raftpb.ConfState{Voters: []uint64{1, 2}, Learners: []uint64{3}}}} {
		p, err := encodeSpoolHead(5, at)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
		f.Add(p[:len(p)-1])
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		at, err := decodeSpoolHead(5, bytes.NewReader(p))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		again, err := encodeSpoolHead(5, at)
		must(t, err)
		second, err := decodeSpoolHead(5, bytes.NewReader(again))
		must(t, err)
		if at.Index != second.Index || at.Term != second.Term || !proto.Equal(at.Members, second.Members) {
			t.Errorf("%+v became %+v", at, second)
		}
	})
}

// TestSpoolHeadIsRefused flips every byte of a head, and takes it for another group's.
func TestSpoolHeadIsRefused(t *testing.T) {
	p, err := encodeSpoolHead(5, Position{Index: 7, Term: 3, Members: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}})
	must(t, err)
	for i := range p {
		spoilt := bytes.Clone(p)
		spoilt[i] ^= 1
		if _, err := decodeSpoolHead(5, bytes.NewReader(spoilt)); !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	if _, err := decodeSpoolHead(6, bytes.NewReader(p)); !errors.Is(err, ErrDamaged) {
		t.Errorf("another group: %v", err)
	}
}
