package meta

import (
	"bytes"
	"context"

	"kintsugi/placement"
)

// ClusterMap returns the current map, or nil if none was ever set.
func (c *Client) ClusterMap(ctx context.Context) (*placement.Map, error) {
	data, err := as[[]byte](c.consensus.Query(ctx, 0, ClusterMapQuery{}, Linearizable))
	if err != nil || data == nil {
		return nil, err
	}
	m := new(placement.Map)
	if err := codec.Decode(data, m); err != nil {
		return nil, err
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// SetClusterMap replaces the map by one whose epoch is the next; the first may have any. Else ErrStaleEpoch.
func (c *Client) SetClusterMap(ctx context.Context, m *placement.Map) error {
	var b bytes.Buffer
	if err := codec.AppendTo(&b, m); err != nil {
		return err
	}
	_, err := c.propose(ctx, 0, OpSetClusterMap, SetClusterMap{Epoch: m.Epoch, Map: b.Bytes()})
	return err
}
