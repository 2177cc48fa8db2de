package replica

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"kintsugi/internal/directio"
	"kintsugi/internal/sealed"
)

// Names within a drive directory.
const (
	metaDir    = "meta" // all of the below
	logDir     = "log"
	stateDir   = "state"
	recordName = "replica"
)

var recordKind = sealed.Kind{Name: "kintsugi-replica", Version: 1}

// record is what a host knows of itself, kept in DIR/meta/replica.
type record struct {
	ID     uint64   // the host's Raft id, never used again
	Voters []uint64 // of the birth, if the host is one of them
	// Lineage has one random number for each time that survivors went on without a quorum. Of two
	// hosts the one whose lineage is the beginning of the other's is stale: it was left behind.
	Lineage []uint64
}

func recordPath(drive string) string { return filepath.Join(drive, metaDir, recordName) }

func readRecord(drive string) (record, error) {
	var r record
	err := recordKind.Read(recordPath(drive), &r)
	if err == nil && r.ID == 0 {
		err = fmt.Errorf("%s: %w: no id", recordPath(drive), sealed.ErrDamaged)
	}
	return r, err
}

func (r record) write(drive string) error { return recordKind.Write(recordPath(drive), r) }

// removeRecord makes sure that what is left of the host of a drive, should a crash leave some of it, is none.
func removeRecord(drive string) error {
	err := os.Remove(recordPath(drive))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return directio.SyncDir(filepath.Join(drive, metaDir))
}

// isStale tells whether r was left behind by a host with lineage newest.
func (r record) isStale(newest []uint64) bool {
	return len(r.Lineage) < len(newest) && slices.Equal(r.Lineage, newest[:len(r.Lineage)])
}

// newestLineage returns the longest lineage. It fails when two hosts went on
// without each other: whichever is kept, acknowledged writes of the other are lost.
func newestLineage(records map[string]record) ([]uint64, error) {
	var newest []uint64
	var holder string
	for drive, r := range records {
		if holder == "" || len(r.Lineage) > len(newest) {
			newest, holder = r.Lineage, drive
		}
	}
	for drive, r := range records {
		if !r.isStale(newest) && !slices.Equal(r.Lineage, newest) {
			return nil, fmt.Errorf("%s and %s each went on without the other and hold different metadata: start with the one to keep, then give the other back as an empty directory", holder, drive)
		}
	}
	return newest, nil
}

// newID returns a random Raft id: never zero, and new with certainty enough.
func newID() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])>>1 | 1
}
