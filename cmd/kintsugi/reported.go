package main

import (
	"slices"
	"sync"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// reported is the drives that the beats of a process tell of. It is apart from the shelf, whose lock is held while
// a drive is opened or closed: that takes long where the drive is large, and for ever where it hangs, and no beat may wait for it.
type reported struct {
	mu     sync.Mutex // guards drives
	drives []reportedDrive
}

// reportedDrive is a drive that is open.
type reportedDrive struct {
	id    placement.DriveID
	dir   string
	store *shardstore.Store
	fresh bool
}

// add takes in the drive that was opened in b.
func (r *reported) add(b *bay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drives = append(r.drives, reportedDrive{b.driveID(), b.dir, b.store, b.fresh})
}

func (r *reported) remove(id placement.DriveID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drives = slices.DeleteFunc(r.drives, func(d reportedDrive) bool { return d.id == id })
}

func (r *reported) list() []reportedDrive {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.drives)
}
