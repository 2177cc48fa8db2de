package admin

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"kintsugi/meta/membership"
	"kintsugi/placement"
)

// Kinds of changes.
const (
	AddNode = "add-node" // a plan only: nodes add themselves
	Drain   = "drain"
	Undrain = "undrain"
	Remove  = "remove"
	Weight  = "weight"
)

// Change is what an operator wants of the cluster map.
type Change struct {
	Kind   string  `json:"kind"`
	Target string  `json:"target,omitempty"` // a node, or a drive: the beginning of its id, or NODE:DIR
	Drives int     `json:"drives,omitempty"` // of add-node
	Zone   string  `json:"zone,omitempty"`   // of add-node
	Weight *uint32 `json:"weight,omitempty"` // of weight and add-node; nil: that of a new drive
	// ForceLost removes what has not been drained because it is gone for ever.
	ForceLost bool `json:"forceLost,omitempty"`
}

// maxNewDrives bounds a plan for a new node.
const maxNewDrives = 1024

// Next returns the map after the change. It is what makes plans and changes alike, so that what
// is done is what was planned. Its errors wrap ErrRefused and say what to do.
func (c Change) Next(f *Facts) (*placement.Map, error) {
	if f.Map == nil {
		return nil, refuse("there is no cluster map yet: start enough nodes first")
	}
	if c.Kind == AddNode {
		return c.addNode(f)
	}
	targets, err := f.find(c.Target)
	if err != nil {
		return nil, err
	}
	next, err := c.edit(f.Map, targets)
	switch {
	case errors.Is(err, ErrRefused), errors.Is(err, ErrFormat):
		return nil, err
	case errors.Is(err, membership.ErrNotDrained):
		return nil, refuse("%w; kintsugi admin drain %s does that. If it is gone for ever, add --force-lost", err, c.Target)
	case err != nil:
		return nil, refuse("%w", err)
	case next == f.Map:
		return nil, refuse("nothing to change: %s is %s", c.Target, targets[0].state())
	}
	return next, nil
}

// edit makes the map, with what only the nodes know added to the rules of membership.
func (c Change) edit(m *placement.Map, targets []driveFacts) (*placement.Map, error) {
	ids := make([]placement.DriveID, len(targets))
	for i, d := range targets {
		ids[i] = d.ID
	}
	switch c.Kind {
	case Drain:
		return membership.Drain(m, ids)
	case Undrain:
		return membership.Undrain(m, ids)
	case Remove:
		for _, d := range targets {
			if c.ForceLost && d.live() {
				return nil, refuse("drive %s is there: --force-lost is for what is gone for ever; drain it: kintsugi admin drain %s", d.name(), c.Target)
			}
		}
		return membership.Remove(m, ids, c.ForceLost)
	case Weight:
		switch {
		case len(ids) > 1:
			return nil, refuse("%s has %d drives: change the weight of one at a time", c.Target, len(ids))
		case c.weight() == 0:
			return nil, refuse("weight 0 would empty the drive: kintsugi admin drain %s does that, and says when it is done", c.Target)
		}
		return membership.Weigh(m, ids[0], c.weight())
	}
	return nil, fmt.Errorf("%w: change %q", ErrFormat, c.Kind)
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// find returns the drives of the map that a target names.
func (f *Facts) find(target string) ([]driveFacts, error) {
	drives := f.drives()
	var ids []placement.DriveID
	for _, d := range drives {
		if d.inMap && d.report.Dir != "" && target == d.Node+":"+d.report.Dir {
			ids = append(ids, d.ID)
		}
	}
	if len(ids) == 0 {
		var err error
		if ids, err = membership.Select(f.Map, target); err != nil {
			if f.member(target) != nil {
				return nil, refuse("node %s has no drives in the cluster map: nothing to do; a metadata node or gateway is simply stopped", target)
			}
			return nil, refuse("%w: see kintsugi admin nodes, kintsugi admin drives", err)
		}
	}
	return slices.DeleteFunc(drives, func(d driveFacts) bool { return !slices.Contains(ids, d.ID) }), nil
}

func (c Change) weight() uint32 {
	if c.Weight == nil {
		return membership.DefaultWeight
	}
	return *c.Weight
}

// addNode is a plan only. Which slots move depends on the ids that the new drives will get; how many does
// not. Here the ids are made of the cluster's, so that a plan is the same each time.
func (c Change) addNode(f *Facts) (*placement.Map, error) {
	if c.Drives < 1 || c.Drives > maxNewDrives {
		return nil, refuse("--drives: want 1 to %d", maxNewDrives)
	}
	if c.weight() == 0 {
		return nil, refuse("--weight: a drive of weight 0 gets nothing")
	}
	node := c.Target
	if node == "" {
		node = "new"
	}
	if f.member(node) != nil {
		return nil, refuse("there is a node %s already: choose another --name", node)
	}
	var changes []placement.Change
	for i := range c.Drives {
		changes = append(changes, placement.AddDrive{Drive: placement.Drive{
			ID: plannedID(f.Map.Cluster, node, i), Node: node, Zone: c.Zone, Weight: c.weight(),
		}})
	}
	next, err := f.Map.With(changes...)
	if err != nil {
		return nil, refuse("%w", err)
	}
	return next, nil
}

func plannedID(cluster placement.ClusterID, node string, i int) placement.DriveID {
	b := append([]byte("planned drive "), cluster[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(i))
	sum := sha256.Sum256(append(b, node...))
	return placement.DriveID(sum[:16])
}
