package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"kintsugi/meta"
	"kintsugi/meta/state/lsm"
)

// store is what a reader reads: a view or a transaction.
type store interface {
	Get(key []byte, use func(value []byte) error) (bool, error)
	Iterator(upper []byte) *lsm.Iterator
}

// reader reads the records of one group. Every value is verified.
type reader struct {
	store store
	group uint16
	codec meta.Codec
}

// load calls use with what the record of key holds, valid during the call, and tells whether there is one.
func (r *reader) load(key []byte, use func([]byte) error) (bool, error) {
	return r.store.Get(key, func(value []byte) error {
		content, err := open(key, value)
		if err != nil {
			return err
		}
		return use(content)
	})
}

// decode loads the CBOR of key into v.
func (r *reader) decode(key []byte, v any) (bool, error) {
	return r.load(key, func(content []byte) error { return r.unmarshal(content, v) })
}

func (r *reader) unmarshal(content []byte, v any) error {
	if err := r.codec.Decode(content, v); err != nil {
		return fmt.Errorf("%w: %w", meta.ErrCorrupt, err)
	}
	return nil
}

// number loads a number; 0 if there is none.
func (r *reader) number(key []byte) (uint64, error) {
	var n uint64
	_, err := r.load(key, func(content []byte) error {
		if len(content) != 8 {
			return fmt.Errorf("a number of %d bytes: %w", len(content), meta.ErrCorrupt)
		}
		n = binary.LittleEndian.Uint64(content)
		return nil
	})
	return n, err
}

// exists tells whether key has a record, without reading it.
func (r *reader) exists(key []byte) (bool, error) {
	return r.load(key, func([]byte) error { return nil })
}

// scan calls visit for the records whose keys begin with prefix, from key from (nil: the first) on, in order,
// until it returns false. Both arguments of visit are valid during the call.
func (r *reader) scan(prefix, from []byte, visit func(key, content []byte) (bool, error)) error {
	it := r.store.Iterator(behind(prefix))
	defer it.Close()
	if from == nil {
		from = prefix
	}
	for ok := it.Seek(from); ok; ok = it.Next() {
		content, err := open(it.Key(), it.Value())
		if err != nil {
			return err
		}
		if more, err := visit(it.Key(), content); err != nil || !more {
			return err
		}
	}
	return it.Err()
}

// any tells whether a record's key begins with prefix.
func (r *reader) any(prefix []byte) (bool, error) {
	found := false
	err := r.scan(prefix, nil, func(_, _ []byte) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
}

// tx executes the commands of one entry. Its reads see its own writes.
type tx struct {
	reader
	txn     *lsm.Txn
	machine *Machine
	at      time.Time // of the request
	index   uint64    // Raft's
	serial  uint16    // of the sequences given out for this entry
	written int       // records written or deleted by this entry
	fault   error     // the first failure of the store: not the command's fault
}

// sequence returns the next of the numbers that grow with every use in the group.
func (x *tx) sequence() uint64 {
	n := x.index<<16 | uint64(x.serial)
	x.serial++
	return n
}

// failed remembers a failure of the store.
func (x *tx) failed(err error) error {
	if err != nil && x.fault == nil {
		x.fault = err
	}
	return err
}

func (x *tx) decode(key []byte, v any) (bool, error) {
	ok, err := x.reader.decode(key, v)
	return ok, x.failed(err)
}

func (x *tx) number(key []byte) (uint64, error) {
	n, err := x.reader.number(key)
	return n, x.failed(err)
}

func (x *tx) exists(key []byte) (bool, error) {
	ok, err := x.reader.exists(key)
	return ok, x.failed(err)
}

func (x *tx) any(prefix []byte) (bool, error) {
	ok, err := x.reader.any(prefix)
	return ok, x.failed(err)
}

func (x *tx) scan(prefix, from []byte, visit func(key, content []byte) (bool, error)) error {
	return x.failed(x.reader.scan(prefix, from, visit))
}

// encode writes the CBOR of v under key.
func (x *tx) encode(key []byte, v any) error {
	var sum [sumSize]byte
	b := bytes.NewBuffer(make([]byte, 0, 256))
	b.Write(sum[:])
	if err := x.codec.AppendTo(b, v); err != nil {
		return x.failed(err)
	}
	x.put(key, b.Bytes())
	return nil
}

// content writes bytes under key.
func (x *tx) content(key, content []byte) {
	value := make([]byte, sumSize+len(content))
	copy(value[sumSize:], content)
	x.put(key, value)
}

func (x *tx) setNumber(key []byte, n uint64) {
	value := make([]byte, sumSize+8)
	binary.LittleEndian.PutUint64(value[sumSize:], n)
	x.put(key, value)
}

// put seals and writes value, whose first bytes are room for the checksum. The store keeps both slices.
func (x *tx) put(key, value []byte) {
	seal(key, value)
	x.written++
	x.txn.Put(key, value)
}

func (x *tx) remove(key []byte) {
	x.written++
	x.txn.Delete(key)
}
