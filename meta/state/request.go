package state

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"kintsugi/meta"
)

// rememberedRequests is how many of a group's last writes are known: a repetition comes within seconds, in which
// a group may execute thousands.
const rememberedRequests = 4096

// requests mirrors a group's records of kind 'r'.
type requests struct {
	last  uint64 // number of the last one
	slots map[[16]byte]uint16
	ids   [rememberedRequests][16]byte // by slot
}

// requestID tells writes apart; it has a length of 0 where the client gave no id.
func requestID(id, bucket, key string, version *meta.VersionID) []byte {
	if id == "" {
		return nil
	}
	h := xxh3.New()
	for _, s := range []string{id, bucket, key} {
		_, _ = h.WriteString(s) // never fails
		_, _ = h.Write([]byte{0})
	}
	if version != nil {
		_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(*version)))
	}
	sum := h.Sum128().Bytes()
	return sum[:]
}

// requests returns the mirror, which it reads at first use.
func (x *tx) requests() (*requests, error) {
	if r := x.machine.requests[x.group]; r != nil {
		return r, nil
	}
	r := &requests{slots: make(map[[16]byte]uint16)}
	err := x.scan(keyOf(x.group, kindRequest, 0), nil, func(key, content []byte) (bool, error) {
		var req request
		if err := x.unmarshal(content, &req); err != nil {
			return false, err
		}
		r.set(groupOfSlot(key), [16]byte(req.ID))
		r.last = max(r.last, req.Number)
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	x.machine.requests[x.group] = r
	return r, nil
}

// executed returns the record of a write that was executed before, nil if it was not.
func (x *tx) executed(id []byte) (*request, error) {
	if id == nil {
		return nil, nil
	}
	r, err := x.requests()
	if err != nil {
		return nil, err
	}
	slot, ok := r.slots[[16]byte(id)]
	if !ok {
		return nil, nil
	}
	req := new(request)
	ok, err = x.decode(slotKey(x.group, kindRequest, slot), req)
	if err == nil && (!ok || !bytes.Equal(req.ID, id)) {
		err = x.failed(fmt.Errorf("request record %d: %w", slot, meta.ErrCorrupt))
	}
	return req, err
}

// remember keeps the result of a write in the place of the oldest one.
func (x *tx) remember(id []byte, req request) error {
	if id == nil {
		return nil
	}
	r, err := x.requests()
	if err != nil {
		return err
	}
	r.last++
	req.Number, req.ID = r.last, id
	slot := uint16(r.last % rememberedRequests)
	r.set(slot, [16]byte(id))
	return x.encode(slotKey(x.group, kindRequest, slot), req)
}

func (r *requests) set(slot uint16, id [16]byte) {
	if old := r.ids[slot]; r.slots[old] == slot {
		delete(r.slots, old)
	}
	r.ids[slot], r.slots[id] = id, slot
}
