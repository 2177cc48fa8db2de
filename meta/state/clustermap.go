package state

import (
	"bytes"
	"encoding/binary"

	"kintsugi/meta"
)

// setClusterMap replaces the map by one with the next epoch. The record is the epoch, 8 bytes, and the map.
func (x *tx) setClusterMap(c meta.SetClusterMap) (any, error) {
	key := keyOf(x.group, kindMap, 0)
	epoch, old, err := x.clusterMap()
	if x.failed(err) != nil {
		return nil, err
	}
	if epoch == c.Epoch && bytes.Equal(old, c.Map) {
		return nil, nil // a repetition
	}
	if epoch != 0 && c.Epoch != epoch+1 {
		return nil, meta.ErrStaleEpoch
	}
	x.content(key, append(binary.LittleEndian.AppendUint64(nil, c.Epoch), c.Map...))
	return nil, nil
}

// clusterMap returns the epoch and the CBOR of the map; 0 and nil if there is none.
func (r *reader) clusterMap() (uint64, []byte, error) {
	var epoch uint64
	var data []byte
	_, err := r.load(keyOf(r.group, kindMap, 0), func(content []byte) error {
		if len(content) < 8 {
			return meta.ErrCorrupt
		}
		epoch = binary.LittleEndian.Uint64(content)
		data = bytes.Clone(content[8:])
		return nil
	})
	return epoch, data, err
}
