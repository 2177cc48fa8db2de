package shardstore

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"

	"github.com/zeebo/xxh3"
)

// hintWriter lists the records of a segment as they become durable. The list
// has a temporary name until the segment is sealed or the store is closed.
// It is a cache: an error only means that the segment is scanned next time.
type hintWriter struct {
	root *os.Root
	name string
	file *os.File
	buf  *bufio.Writer
	hash *xxh3.Hasher
	err  error
}

// hintBuffer is small because there is one for each store.
const hintBuffer = 4 << 10

func newHintWriter(root *os.Root, seg *segment, drive uint64) *hintWriter {
	w := &hintWriter{root: root, name: seg.name + hintSuffix}
	w.file, w.err = root.OpenFile(w.name+tempSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if w.err != nil {
		return w
	}
	w.hash = xxh3.NewSeed(drive)
	w.buf = bufio.NewWriterSize(w.file, hintBuffer)
	var head [hintEntrySize]byte
	putHintHead(head[:], drive, seg.gen)
	w.write(head[:])
	return w
}

func putHintHead(b []byte, drive uint64, gen uint32) {
	le := binary.LittleEndian
	copy(b, hintMagic)
	le.PutUint16(b[4:], formatVersion)
	le.PutUint64(b[8:], drive)
	le.PutUint32(b[16:], gen)
}

func (w *hintWriter) write(b []byte) {
	if w.err != nil {
		return
	}
	_, w.err = w.buf.Write(b)
	_, _ = w.hash.Write(b) // never fails
}

// add lists one record.
func (w *hintWriter) add(r *record) {
	var b [hintEntrySize]byte
	putHintEntry(b[:], r)
	w.write(b[:])
}

// finish ends the list and gives it its name. The store goes on without it after an error.
func (w *hintWriter) finish(t hintTrailer) error {
	var b [hintEntrySize]byte
	t.encode(b[:])
	w.write(b[:56])
	if w.err == nil {
		binary.LittleEndian.PutUint64(b[56:], w.hash.Sum64())
		_, w.err = w.buf.Write(b[56:])
	}
	if w.err == nil {
		w.err = w.buf.Flush()
	}
	if w.file != nil {
		if err := w.file.Close(); w.err == nil {
			w.err = err
		}
		if w.err == nil {
			w.err = w.root.Rename(w.name+tempSuffix, w.name)
		} else {
			_ = removeFile(w.root, w.name+tempSuffix)
		}
	}
	return w.err
}

// abandon drops the list.
func (w *hintWriter) abandon() {
	if w.file != nil {
		_ = w.file.Close()
		_ = removeFile(w.root, w.name+tempSuffix)
	}
}

// hintTrailer is how far a hint reaches.
type hintTrailer struct {
	sealed  bool
	end     int64 // records from here on are not listed
	maxSeq  uint64
	durable uint64
}

func (t hintTrailer) encode(b []byte) {
	le := binary.LittleEndian
	copy(b, hintEndMagic)
	if t.sealed {
		b[4] = 1
	}
	le.PutUint64(b[8:], uint64(t.end))
	le.PutUint64(b[16:], t.maxSeq)
	le.PutUint64(b[24:], t.durable)
}

func putHintEntry(b []byte, r *record) {
	le := binary.LittleEndian
	b[0], b[1], b[2], b[3] = byte(r.kind), r.K, r.M, r.ID.Index
	copy(b[4:20], r.ID.Blob[:])
	le.PutUint32(b[20:], r.ID.Chunk)
	le.PutUint32(b[24:], r.Partition)
	le.PutUint32(b[28:], r.ChunkSize)
	le.PutUint64(b[32:], r.Epoch)
	le.PutUint64(b[40:], r.seq)
	le.PutUint32(b[48:], r.size)
	le.PutUint32(b[52:], r.written)
	le.PutUint32(b[56:], r.off)
}

func getHintEntry(b []byte, gen uint32) record {
	le := binary.LittleEndian
	r := record{kind: kind(b[0]), gen: gen}
	r.K, r.M, r.ID.Index = b[1], b[2], b[3]
	copy(r.ID.Blob[:], b[4:20])
	r.ID.Chunk, r.Partition, r.ChunkSize = le.Uint32(b[20:]), le.Uint32(b[24:]), le.Uint32(b[28:])
	r.Epoch, r.seq = le.Uint64(b[32:]), le.Uint64(b[40:])
	r.size, r.written, r.off = le.Uint32(b[48:]), le.Uint32(b[52:]), le.Uint32(b[56:])
	return r
}

// readHint calls each for every listed record. It checks the whole file before the first call.
func readHint(root *os.Root, name string, drive uint64, gen uint32, each func(*record)) (hintTrailer, error) {
	f, err := root.Open(name)
	if err != nil {
		return hintTrailer{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return hintTrailer{}, err
	}
	t, err := checkHint(f, st.Size(), drive, gen)
	if err != nil {
		return hintTrailer{}, err
	}
	in := bufio.NewReaderSize(io.NewSectionReader(f, hintEntrySize, st.Size()-2*hintEntrySize), 64<<10)
	var b [hintEntrySize]byte
	for {
		if _, err := io.ReadFull(in, b[:]); err == io.EOF {
			return t, nil
		} else if err != nil {
			return hintTrailer{}, err
		}
		r := getHintEntry(b[:], gen)
		each(&r)
	}
}

// checkHint verifies a hint of the given size and returns its trailer.
func checkHint(f io.ReaderAt, size int64, drive uint64, gen uint32) (hintTrailer, error) {
	if size < 2*hintEntrySize || size%hintEntrySize != 0 {
		return hintTrailer{}, errFormat
	}
	hash := xxh3.NewSeed(drive)
	if _, err := io.Copy(hash, io.NewSectionReader(f, 0, size-sumSize)); err != nil {
		return hintTrailer{}, err
	}
	var head, want, b [hintEntrySize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return hintTrailer{}, err
	}
	if _, err := f.ReadAt(b[:], size-hintEntrySize); err != nil {
		return hintTrailer{}, err
	}
	le := binary.LittleEndian
	putHintHead(want[:], drive, gen)
	if head != want || string(b[:4]) != hintEndMagic || le.Uint64(b[56:]) != hash.Sum64() {
		return hintTrailer{}, errFormat
	}
	t := hintTrailer{sealed: b[4] == 1, end: int64(le.Uint64(b[8:])), maxSeq: le.Uint64(b[16:]), durable: le.Uint64(b[24:])}
	if t.end < segmentHeadSize || t.end > maxSegmentSize {
		return hintTrailer{}, errFormat
	}
	return t, nil
}
