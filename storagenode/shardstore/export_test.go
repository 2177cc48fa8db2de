package shardstore

import (
	"context"
	"os"
	"sync"

	"kintsugi/placement"
)

// Disk lets tests put faults between the store and the files.
type Disk = disk

// LinuxDisk is the real disk.
type LinuxDisk = linuxDisk

// WithDisk returns c with another disk.
func (c Config) WithDisk(d Disk) Config {
	c.disk = d
	return c
}

// Tidy does the housekeeper's work at once.
func (s *Store) Tidy() error { return s.tidyOnce(context.Background()) }

// Place is where a record is.
type Place struct {
	File                   string
	Header, Payload, Bytes int64
}

// Locate tells where the record of a shard or tombstone is.
func (s *Store) Locate(id placement.ShardID) (Place, bool) {
	e := s.index.get(id)
	seg := s.segmentOf(e.gen)
	if e.state == stateNone || seg == nil {
		return Place{}, false
	}
	defer seg.release()
	return Place{seg.name, int64(e.off), int64(e.off) + payloadOffset(int64(e.size)), e.length()}, true
}

// Retire ends the active segment.
func (s *Store) Retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active != nil {
		s.retire(s.active)
		s.active = nil
	}
}

// Forgotten tells whether nothing at all is remembered of a shard.
func (s *Store) Forgotten(id placement.ShardID) bool { return s.index.get(id).state == stateNone }

// FaultyDisk fails the calls that the tests ask it to.
type FaultyDisk struct {
	LinuxDisk
	mu     sync.Mutex // guards faults
	faults map[string]func() error
}

// Set makes calls of op (write, read, sync, allocate) answer what fault does, unless that is nil.
func (d *FaultyDisk) Set(op string, fault func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.faults == nil {
		d.faults = map[string]func() error{}
	}
	d.faults[op] = fault
}

func (d *FaultyDisk) fault(op string) error {
	d.mu.Lock()
	fault := d.faults[op]
	d.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault()
}

func (d *FaultyDisk) write(f *os.File, bufs [][]byte, off int64) error {
	if err := d.fault("write"); err != nil {
		return err
	}
	return d.LinuxDisk.write(f, bufs, off)
}

func (d *FaultyDisk) read(f *os.File, bufs [][]byte, off int64) error {
	if err := d.fault("read"); err != nil {
		return err
	}
	return d.LinuxDisk.read(f, bufs, off)
}

func (d *FaultyDisk) sync(f *os.File) error {
	if err := d.fault("sync"); err != nil {
		return err
	}
	return d.LinuxDisk.sync(f)
}

func (d *FaultyDisk) allocate(f *os.File, size int64) error {
	if err := d.fault("allocate"); err != nil {
		return err
	}
	return d.LinuxDisk.allocate(f, size)
}

// Hooks replace the writes and syncs of a disk.
type Hooks interface {
	WriteTo(f *os.File, bufs [][]byte, off int64) error
	SyncFile(f *os.File) error
}

// Hooked is the real disk but for h.
func Hooked(h Hooks) Disk { return hooked{h: h} }

type hooked struct {
	LinuxDisk
	h Hooks
}

func (d hooked) write(f *os.File, bufs [][]byte, off int64) error { return d.h.WriteTo(f, bufs, off) }
func (d hooked) sync(f *os.File) error                            { return d.h.SyncFile(f) }

// WriteTo and SyncFile are the real ones.
func WriteTo(d LinuxDisk, f *os.File, bufs [][]byte, off int64) error { return d.write(f, bufs, off) }
func SyncFile(d LinuxDisk, f *os.File) error                          { return d.sync(f) }
