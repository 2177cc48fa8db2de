package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"kintsugi/internal/drive"
	"kintsugi/internal/sealed"
	"kintsugi/meta/membership"
)

// clusterRecord is what a process with drives remembers of its cluster, in every drive: any one of them is enough.
type clusterRecord struct {
	// Host is the id under which a metadata node was there when the cluster was founded, until its replica has been made: an id
	// that others may count on must not be lost, nor be used again once it has voted.
	Host     uint64
	Founding *membership.Founding
	Peers    []membership.Node // when they were last heard of: to find each other when all start at once
}

var clusterKind = sealed.Kind{Name: "kintsugi-cluster", Version: 1}

func clusterRecordPath(dir string) string { return filepath.Join(dir, drive.ClusterName) }

// readClusterRecord returns what the records of all drives say together; a zero one if there is none anywhere.
func readClusterRecord(dirs []string) (clusterRecord, error) {
	var sum clusterRecord
	var worst error
	read := false
	for _, dir := range dirs {
		var r clusterRecord
		err := clusterKind.Read(clusterRecordPath(dir), &r)
		switch {
		case err == nil && read:
			sum = sum.and(r)
		case err == nil:
			sum, read = r, true
		case !errors.Is(err, fs.ErrNotExist):
			worst = fmt.Errorf("%s: %w", clusterRecordPath(dir), err)
		}
	}
	if read {
		worst = nil
	}
	return sum, worst
}

// and joins the records of two drives, one of which may have been away while the other's was written.
func (r clusterRecord) and(other clusterRecord) clusterRecord {
	if r.Founding == nil && other.Founding != nil {
		r, other = other, r
	}
	if r.Founding != nil && other.Founding != nil && other.Host == 0 {
		r.Host = 0 // the replica was made: it may have voted, and must not be founded again
	}
	return r
}

// write keeps r in dir.
func (r clusterRecord) write(dir string) error { return clusterKind.Write(clusterRecordPath(dir), r) }
