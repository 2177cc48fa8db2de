package lsm

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
)

// writeBuffer is how much of a table is written at once, bytes.
const writeBuffer = 256 << 10

// tableWriter writes a table. Keys come in order.
type tableWriter struct {
	id      uint64
	file    *os.File
	out     *bufio.Writer
	offset  int64
	entries []byte // of the open block
	last    []byte // the last key
	index   []byte
	hashes  []uint32
}

func newTableWriter(path string, id uint64) (*tableWriter, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &tableWriter{
		id: id, file: file, out: bufio.NewWriterSize(file, writeBuffer),
		entries: make([]byte, 0, 2*blockSize),
	}, nil
}

func (w *tableWriter) add(e *entry) error {
	if len(w.entries) > 0 && len(w.entries)+len(e.key)+len(e.value) > blockSize {
		if err := w.endBlock(); err != nil {
			return err
		}
	}
	previous := w.last
	if len(w.entries) == 0 {
		previous = nil // every block can be read alone
	}
	w.entries = appendEntry(w.entries, previous, e)
	w.last = append(w.last[:0], e.key...)
	w.hashes = append(w.hashes, filterHash(e.key))
	return nil
}

func (w *tableWriter) endBlock() error {
	if len(w.entries) == 0 {
		return nil
	}
	w.index = appendBlock(w.index, block{last: w.last, length: len(w.entries)})
	sum := sumAt(w.entries, w.id, w.offset)
	if err := w.write(binary.LittleEndian.AppendUint64(w.entries, sum)); err != nil {
		return err
	}
	w.entries = w.entries[:0]
	return nil
}

func (w *tableWriter) write(b []byte) error {
	n, err := w.out.Write(b)
	w.offset += int64(n)
	return err
}

// finish makes the table durable and opens it.
func (w *tableWriter) finish() (*table, error) {
	if err := w.endBlock(); err != nil {
		return nil, err
	}
	f := footer{id: w.id, index: w.offset, filter: w.offset + int64(len(w.index)), keys: uint64(len(w.hashes))}
	tail := append(w.index, makeFilter(w.hashes)...)
	f.indexSum = sumAt(tail, w.id, f.index)
	if err := w.write(tail); err != nil {
		return nil, err
	}
	if err := w.write(f.encode(w.offset)); err != nil {
		return nil, err
	}
	if err := w.out.Flush(); err != nil {
		return nil, err
	}
	if err := w.file.Sync(); err != nil { // never repeated: a failure fails the database
		return nil, err
	}
	t, err := readTable(w.file, w.id)
	if err != nil {
		return nil, fmt.Errorf("reading back table %d: %w", w.id, err)
	}
	return t, nil
}

// abort removes a table that is not finished.
func (w *tableWriter) abort() {
	_ = w.file.Close()
	_ = os.Remove(w.file.Name())
}
