package state

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state/lsm"
)

// A snapshot stream, little endian:
//
//	0:8   magic "KSTSNAP1"
//	8:10  group
//	then frames: payload length (4, not 0), payload, xxh3 of the payload seeded with the frame's number (8)
//	end   0 (4), number of records (8), xxh3 of those 12 bytes seeded with the frame's number (8)
//
// A payload is records: varint key length, key without the group, varint value length,
// value with its checksum. Keys ascend through the stream.
const (
	snapshotMagic = "KSTSNAP1"
	frameSize     = 64 << 10
	maxFrameSize  = 4 << 20
	restoreBatch  = 512 << 10 // bytes of one transaction
)

var errFrame = errors.New("damaged snapshot stream")

// Snapshot pins the state of group.
func (m *Machine) Snapshot(group uint32) (raftgroup.Snapshot, error) {
	if err := m.Err(); err != nil {
		return nil, err
	}
	view := m.db.View()
	r := reader{store: view, group: machineGroup, codec: m.codec}
	var p position
	if _, err := r.decode(slotKey(machineGroup, kindPosition, uint16(group)), &p); err != nil {
		view.Release()
		return nil, m.fail(err)
	}
	return &snapshot{machine: m, view: view, group: uint16(group), at: p.raft()}, nil
}

type snapshot struct {
	machine *Machine
	view    *lsm.View
	group   uint16
	at      raftgroup.Position
}

func (s *snapshot) Position() raftgroup.Position { return s.at }

func (s *snapshot) Close() error {
	s.view.Release()
	return nil
}

// WriteTo streams the records. Each is verified on the way.
func (s *snapshot) WriteTo(w io.Writer) (n int64, err error) {
	defer s.machine.recovered(&err)
	f := &frameWriter{w: bufio.NewWriterSize(w, frameSize)}
	f.write(binary.LittleEndian.AppendUint16([]byte(snapshotMagic), s.group))
	prefix := binary.BigEndian.AppendUint16(nil, s.group)
	it := s.view.Iterator(behind(prefix))
	defer it.Close()
	for ok := it.Seek(prefix); ok && f.err == nil; ok = it.Next() {
		if _, err := open(it.Key(), it.Value()); err != nil {
			return f.n, s.machine.fail(err)
		}
		f.add(it.Key()[2:], it.Value())
	}
	if err := it.Err(); err != nil {
		return f.n, s.machine.fail(err)
	}
	return f.n, f.end()
}

type frameWriter struct {
	w       *bufio.Writer
	payload []byte
	frames  uint64
	records uint64
	n       int64
	err     error // the first
}

func (f *frameWriter) write(b []byte) {
	if f.err == nil {
		var n int
		n, f.err = f.w.Write(b)
		f.n += int64(n)
	}
}

func (f *frameWriter) add(key, value []byte) {
	f.payload = binary.AppendUvarint(f.payload, uint64(len(key)))
	f.payload = append(f.payload, key...)
	f.payload = binary.AppendUvarint(f.payload, uint64(len(value)))
	f.payload = append(f.payload, value...)
	f.records++
	if len(f.payload) >= frameSize {
		f.flush()
	}
}

func (f *frameWriter) flush() {
	if len(f.payload) == 0 {
		return
	}
	f.write(binary.LittleEndian.AppendUint32(nil, uint32(len(f.payload))))
	f.write(f.payload)
	f.sum(f.payload)
	f.payload = f.payload[:0]
}

func (f *frameWriter) sum(b []byte) {
	f.write(binary.LittleEndian.AppendUint64(nil, xxh3.HashSeed(b, f.frames)))
	f.frames++
}

func (f *frameWriter) end() error {
	f.flush()
	last := binary.LittleEndian.AppendUint64(make([]byte, 4), f.records)
	f.write(last)
	f.sum(last)
	if f.err != nil {
		return f.err
	}
	return f.w.Flush()
}

// frameReader reads what a frameWriter wrote.
type frameReader struct {
	r       *bufio.Reader
	payload []byte // the rest of the frame
	frames  uint64
	records uint64
	buffer  []byte
}

func newFrameReader(r io.Reader, group uint16) (*frameReader, error) {
	f := &frameReader{r: bufio.NewReaderSize(r, frameSize)}
	head := make([]byte, len(snapshotMagic)+2)
	if _, err := io.ReadFull(f.r, head); err != nil {
		return nil, err
	}
	if string(head[:8]) != snapshotMagic || binary.LittleEndian.Uint16(head[8:]) != group {
		return nil, errFrame
	}
	return f, nil
}

// next returns the next record, valid until the next call; io.EOF at the end of a complete stream.
func (f *frameReader) next() (key, value []byte, err error) {
	if len(f.payload) == 0 {
		if err := f.frame(); err != nil {
			return nil, nil, err
		}
	}
	key, rest, ok := cutBytes(f.payload)
	if !ok || len(key) == 0 {
		return nil, nil, errFrame
	}
	value, rest, ok = cutBytes(rest)
	if !ok {
		return nil, nil, errFrame
	}
	f.payload = rest
	f.records++
	return key, value, nil
}

func (f *frameReader) frame() error {
	var head [4]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return cutShort(err)
	}
	size := int(binary.LittleEndian.Uint32(head[:]))
	if size > maxFrameSize {
		return errFrame
	}
	if size == 0 {
		return f.last()
	}
	payload, err := f.summed(size, nil)
	f.payload = payload
	return err
}

// last reads the end of the stream.
func (f *frameReader) last() error {
	last, err := f.summed(8, make([]byte, 4))
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(last[4:]) != f.records {
		return errFrame
	}
	return io.EOF
}

// summed reads n bytes and the sum of head and them.
func (f *frameReader) summed(n int, head []byte) ([]byte, error) {
	f.buffer = append(f.buffer[:0], head...)
	f.buffer = append(f.buffer, make([]byte, n+8)...)
	if _, err := io.ReadFull(f.r, f.buffer[len(head):]); err != nil {
		return nil, cutShort(err)
	}
	content := f.buffer[:len(head)+n]
	if binary.LittleEndian.Uint64(f.buffer[len(content):]) != xxh3.HashSeed(content, f.frames) {
		return nil, errFrame
	}
	f.frames++
	return content, nil
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func cutBytes(b []byte) (head, rest []byte, ok bool) {
	length, n := binary.Uvarint(b)
	if n <= 0 || length > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(length)], b[n+int(length):], true
}

// Restore replaces the state of group. Until its end the group has no position, neither here nor after a crash.
func (m *Machine) Restore(group uint32, at raftgroup.Position, r io.Reader) (err error) {
	if err := m.Err(); err != nil {
		return err
	}
	defer m.recovered(&err)
	g := uint16(group)
	m.mu.Lock()
	delete(m.positions, g)
	m.mu.Unlock()
	delete(m.buckets, g)
	delete(m.requests, g)
	if err := m.clear(g); err != nil {
		return m.fail(err)
	}
	if err := m.fill(g, r); err != nil {
		return fmt.Errorf("restore group %d: %w", group, err)
	}
	txn := m.db.Begin()
	defer txn.Release()
	x := &tx{reader: reader{store: txn, group: machineGroup, codec: m.codec}, txn: txn, machine: m}
	if err := x.encode(slotKey(machineGroup, kindPosition, g), newPosition(at)); err != nil {
		return m.fail(err)
	}
	if err := m.db.Commit(txn); err != nil {
		return m.fail(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.positions[g] = at
	return nil
}

// clear removes the position of a group, durably, and then its records.
func (m *Machine) clear(group uint16) error {
	txn := m.db.Begin()
	txn.Delete(slotKey(machineGroup, kindPosition, group))
	err := m.db.Commit(txn)
	txn.Release()
	if err != nil {
		return err
	}
	if err := m.db.Flush(); err != nil {
		return err
	}
	prefix := binary.BigEndian.AppendUint16(nil, group)
	for from := prefix; from != nil; {
		if from, err = m.clearSome(from, behind(prefix)); err != nil {
			return err
		}
	}
	return nil
}

// clearSome removes a transaction's worth of records and returns where to go on, nil at the end.
func (m *Machine) clearSome(from, upper []byte) (next []byte, err error) {
	txn := m.db.Begin()
	defer txn.Release()
	it := txn.View.Iterator(upper)
	defer it.Close()
	for ok := it.Seek(from); ok; ok = it.Next() {
		if txn.Bytes() >= restoreBatch {
			next = bytes.Clone(it.Key())
			break
		}
		txn.Delete(bytes.Clone(it.Key()))
	}
	if err := it.Err(); err != nil {
		return nil, err
	}
	return next, m.db.Commit(txn)
}

// fill writes the records of a stream.
func (m *Machine) fill(group uint16, r io.Reader) error {
	f, err := newFrameReader(r, group)
	if err != nil {
		return err
	}
	for done := false; !done; {
		txn := m.db.Begin()
		done, err = fillSome(txn, group, f)
		if err == nil {
			err = m.fail(m.db.Commit(txn))
		}
		txn.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func fillSome(txn *lsm.Txn, group uint16, f *frameReader) (done bool, err error) {
	for txn.Bytes() < restoreBatch {
		key, value, err := f.next()
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		k := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(key)), group), key...)
		if _, err := open(k, value); err != nil {
			return false, errors.Join(errFrame, meta.ErrFormat)
		}
		txn.Put(k, bytes.Clone(value))
	}
	return false, nil
}
