package main

import (
	"errors"
	"fmt"

	"kintsugi/internal/drive"
)

// probed is a drive directory as it was found.
type probed struct {
	dir   string
	state drive.State
	id    drive.Identity
	err   error
}

func probeAll(dirs []string) []probed {
	found := make([]probed, len(dirs))
	for i, dir := range dirs {
		state, id, err := drive.Probe(dir)
		found[i] = probed{dir, state, id, err}
	}
	return found
}

// judge tells whether the directories are a new cluster or whose drives they
// are. It refuses, before anything is touched, what must not be mixed or opened.
func judge(found []probed) (cluster drive.ID, fresh bool, err error) {
	owner := map[drive.ID]string{}
	first := -1
	for i, p := range found {
		if errors.Is(p.err, drive.ErrNotADrive) || errors.Is(p.err, drive.ErrFuture) {
			return cluster, false, p.err
		}
		if p.state != drive.Member && p.state != drive.Birth {
			continue
		}
		if p.state == drive.Member {
			if other, twice := owner[p.id.Drive]; twice {
				return cluster, false, fmt.Errorf("drives %s and %s have the same identity: one is a copy of the other; take the copy away", other, p.dir)
			}
			owner[p.id.Drive] = p.dir
		}
		if first < 0 || found[first].state == drive.Birth && p.state == drive.Member {
			first = i
		}
	}
	if len(owner) == 0 {
		return cluster, true, judgeFresh(found)
	}
	for _, p := range found {
		if (p.state == drive.Member || p.state == drive.Birth) && p.id.Cluster != found[first].id.Cluster {
			return cluster, false, fmt.Errorf("drive %s belongs to another cluster than %s: start them apart, or empty one", p.dir, found[first].dir)
		}
	}
	return found[first].id.Cluster, false, nil
}

// judgeFresh refuses to begin a new cluster beside something unreadable.
func judgeFresh(found []probed) error {
	for _, p := range found {
		if p.err != nil {
			return p.err
		}
		if p.state == drive.Damaged {
			return fmt.Errorf("drive %s: its identity cannot be read and no other drive of its cluster is named: name them all, or empty it", p.dir)
		}
	}
	return nil
}
