package membership

import (
	"slices"

	"kintsugi/placement"
)

// transitions collects what nodes say of partitions that move, until the map can say that they have moved. One goroutine at a time.
type transitions struct {
	m       *placement.Map
	since   []uint64            // by partition: the epoch since which its homes are the present ones, as far as is known
	cleaned map[uint32]struct{} // complete at their present homes
}

// setMap keeps the reports of partitions whose homes stay as they are.
func (t *transitions) setMap(m *placement.Map) {
	old := t.m
	t.m = m
	if old == nil || m.Epoch != old.Epoch+1 || len(t.since) != m.Partitions {
		t.since = slices.Repeat([]uint64{m.Epoch}, m.Partitions)
		t.cleaned = map[uint32]struct{}{}
		return
	}
	for p := range uint32(m.Partitions) {
		if !slices.Equal(old.Homes(p), m.Homes(p)) {
			t.since[p] = m.Epoch
			delete(t.cleaned, p)
		}
	}
}

// report takes note of a node's reports. One that was made under other homes than the present ones says nothing.
func (t *transitions) report(reports []Clean) {
	if t.m == nil {
		return
	}
	for _, c := range reports {
		for _, p := range c.Partitions {
			if int(p) < len(t.since) && c.Epoch >= t.since[p] && c.Epoch <= t.m.Epoch && t.m.Previous(p) != nil {
				t.cleaned[p] = struct{}{}
			}
		}
	}
}

// complete lists the partitions that have moved, in order, and whether no others are moving.
func (t *transitions) complete() (partitions []uint32, all bool) {
	for p := range t.cleaned {
		if t.m.Previous(p) != nil {
			partitions = append(partitions, p)
		}
	}
	slices.Sort(partitions)
	return partitions, len(partitions) > 0 && len(partitions) == len(t.m.Open())
}
