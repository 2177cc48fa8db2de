package state

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
)

// FuzzCommand gives any bytes to the decoder of commands and to the machine: it answers with an error or executes.
func FuzzCommand(f *testing.F) {
	for _, c := range []struct {
		op   meta.Op
		body any
	}{
		{meta.OpPutObject, meta.PutObject{Bucket: "b", Key: "k", Body: []byte("x")}},
		{meta.OpDeleteObjects, meta.DeleteObjects{Objects: []meta.DeleteObject{{Bucket: "b", Key: "k"}}}},
		{meta.OpPutPart, meta.PutPart{Bucket: "b", Key: "k", UploadID: "u", Part: meta.Part{Number: 1}}},
	} {
		cmd, err := meta.EncodeCommand(c.op, time.UnixMilli(1), c.body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(cmd)
	}
	m, err := Open(f.TempDir(), Config{})
	if err != nil {
		f.Fatal(err)
	}
	defer m.Close()
	bucket, err := meta.EncodeCommand(meta.OpPutBucket, time.UnixMilli(1), meta.PutBucket{Bucket: meta.Bucket{Name: "b", Incarnation: 1, Revision: 1}, Create: true})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := m.Apply([]raftgroup.Entry{{Index: 1, Term: 1, Data: bucket}}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		clear(m.buckets) // what the iteration before wrote was thrown away
		clear(m.requests)
		txn := m.db.Begin()
		defer txn.Release()
		x := &tx{reader: reader{store: txn, codec: m.codec}, txn: txn, machine: m}
		if len(data) > 0 {
			_ = x.entry(data)
		}
		if x.fault != nil {
			t.Fatal(x.fault)
		}
	})
}

// FuzzRecord gives any bytes to the decoders behind the checksum of a value.
func FuzzRecord(f *testing.F) {
	codec := meta.NewCodec()
	for _, v := range []any{
		record{Version: meta.Version{ETag: "x", Modified: time.UnixMilli(1)}},
		page{Parts: []meta.Part{{Number: 1}}}, garbage{}, request{ID: make([]byte, 16)}, position{Index: 1},
	} {
		var b bytes.Buffer
		if err := codec.AppendTo(&b, v); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var rec record
		if codec.Decode(data, &rec) == nil {
			rec.complete("key")
			var b bytes.Buffer
			if err := codec.AppendTo(&b, rec); err != nil {
				t.Fatal(err)
			}
			var again record
			if err := codec.Decode(b.Bytes(), &again); err != nil {
				t.Fatal(err)
			}
		}
		_ = codec.Decode(data, new(page))
		_ = codec.Decode(data, new(garbage))
		_ = codec.Decode(data, new(request))
		_ = codec.Decode(data, new(position))
		_, _, _ = cutEscaped(data)
	})
}

// FuzzSnapshot gives any bytes to the reader of snapshot streams: what it takes as complete is what a writer wrote.
func FuzzSnapshot(f *testing.F) {
	const group = 3
	var stream bytes.Buffer
	w := &frameWriter{w: bufio.NewWriter(&stream)}
	w.write(binary.LittleEndian.AppendUint16([]byte(snapshotMagic), group))
	w.add([]byte("key"), []byte("value"))
	w.flush()
	w.add([]byte("other"), nil)
	if err := w.end(); err != nil {
		f.Fatal(err)
	}
	f.Add(stream.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := newFrameReader(bytes.NewReader(data), group)
		if err != nil {
			return
		}
		read := uint64(0)
		for err == nil {
			if _, _, err = r.next(); err == nil {
				read++
			}
		}
		if err == io.EOF && read != r.records {
			t.Errorf("%d records were read of a stream of %d", read, r.records)
		}
	})
}

func TestEscape(t *testing.T) {
	keys := []string{"", "\x00", "\x00\x00", "\x00a", "\x01", "a", "a\x00", "a\x00\x00", "a\x00b", "a\x01", "a/", "aa", "\xff", "\xff\xff"}
	var last []byte
	for _, k := range keys {
		escaped := append(appendEscaped(nil, k), 0, 1)
		if bytes.Compare(last, escaped) >= 0 {
			t.Errorf("%q does not sort behind the key before", k)
		}
		got, rest, ok := cutEscaped(append(bytes.Clone(escaped), "rest"...))
		if !ok || got != k || string(rest) != "rest" {
			t.Errorf("%q came back as %q, %q, %v", k, got, rest, ok)
		}
		last = escaped
	}
}
