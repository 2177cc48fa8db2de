package faultdisk

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPowerCut(t *testing.T) {
	dir, drives := t.TempDir(), start(t)
	for _, c := range []struct {
		name string
		do   func(d drive)
		want map[string]string
	}{
		{"nothing", func(drive) {}, map[string]string{"shards/old": "0123456789"}},
		{"overwritten", func(d drive) { d.write("shards/old", "abc", 3) }, map[string]string{"shards/old": "0123456789"}},
		{"synced", func(d drive) { d.write("shards/old", "abc", 3, syncFile) }, map[string]string{"shards/old": "012abc6789"}},
		{"synced by another handle", func(d drive) {
			d.write("shards/old", "abc", 3)
			d.write("shards/old", "", 0, syncFile)
			d.write("shards/old", "xyz", 0)
		}, map[string]string{"shards/old": "012abc6789"}},
		{"twice", func(d drive) { d.write("shards/old", "abc", 3); d.write("shards/old", "de", 4) }, map[string]string{"shards/old": "0123456789"}},
		{"longer", func(d drive) { d.write("shards/old", "abc", 9) }, map[string]string{"shards/old": "0123456789"}},
		{"longer, synced, longer", func(d drive) { d.write("shards/old", "abc", 9, syncFile); d.write("shards/old", "d", 12) }, map[string]string{"shards/old": "012345678abc"}},
		{"shorter", func(d drive) { d.must(os.Truncate(d.path("shards/old"), 4)) }, map[string]string{"shards/old": "0123456789"}},
		{"emptied and filled", func(d drive) { d.must(os.WriteFile(d.path("shards/old"), []byte("ab"), 0o600)) }, map[string]string{"shards/old": "0123456789"}},
		{"reserved", func(d drive) {
			d.write("shards/old", "", 0, func(f *os.File) error { return unix.Fallocate(int(f.Fd()), 0, 0, 20) }, syncFile)
			d.write("shards/old", "abc", 12)
		}, map[string]string{"shards/old": "0123456789" + strings.Repeat("\x00", 10)}},
		{"created", func(d drive) { d.write("meta/x", "x", 0, syncFile) }, map[string]string{"meta/x": "-"}},
		{"created, name synced", func(d drive) { d.write("meta/x", "x", 0); d.syncDir("meta") }, map[string]string{"meta/x": ""}},
		{"created, all synced", func(d drive) { d.write("meta/x", "x", 0, syncFile); d.syncDir("meta") }, map[string]string{"meta/x": "x"}},
		{"removed", func(d drive) { d.must(os.Remove(d.path("shards/old"))) }, map[string]string{"shards/old": "0123456789"}},
		{"removed, synced", func(d drive) { d.must(os.Remove(d.path("shards/old"))); d.syncDir("shards") }, map[string]string{"shards/old": "-"}},
		{"overwritten and removed", func(d drive) { d.write("shards/old", "abc", 3); d.must(os.Remove(d.path("shards/old"))) }, map[string]string{"shards/old": "0123456789"}},
		{"replaced", func(d drive) {
			d.write("shards/new", "new", 0, syncFile)
			d.must(os.Rename(d.path("shards/new"), d.path("shards/old")))
		}, map[string]string{"shards/old": "0123456789", "shards/new": "-"}},
		{"replaced, synced", func(d drive) {
			d.write("shards/new", "new", 0, syncFile)
			d.must(os.Rename(d.path("shards/new"), d.path("shards/old")))
			d.syncDir("shards")
		}, map[string]string{"shards/old": "new", "shards/new": "-"}},
		{"directory", func(d drive) {
			d.must(os.Mkdir(d.path("a"), 0o700))
			d.write("a/x", "x", 0, syncFile)
			d.syncDir("a")
		}, map[string]string{"a/x": "-"}},
		{"directory, synced", func(d drive) {
			d.must(os.Mkdir(d.path("a"), 0o700))
			d.syncDir(".")
			d.write("a/x", "x", 0, syncFile)
			d.syncDir("a")
		}, map[string]string{"a/x": "x"}},
		{"lost sync", func(d drive) {
			d.set(Faults{LostSyncs: true})
			d.write("shards/old", "abc", 3, syncFile)
			d.write("meta/x", "x", 0, syncFile)
			d.syncDir("meta")
		}, map[string]string{"shards/old": "0123456789", "meta/x": "-"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := mountIn(t, drives, filepath.Join(dir, c.name))
			c.do(d)
			d.must(d.drives.Cut(d.dir, false, 0))
			d.has(c.want)
			d.write("shards/old", "!", 0, syncFile) // it works as before
			d.must(d.drives.Cut(d.dir, false, 0))
		})
	}
}

// Whatever becomes of what was not synced, what was is there, and each sector is one or the other.
func TestTornCut(t *testing.T) {
	d := newDrive(t)
	const sectors = 64
	fates := map[string]bool{}
	for seed := range uint64(20) {
		was, is := bytes.Repeat([]byte("a"), sectors*sectorSize), bytes.Repeat([]byte("b"), sectors*sectorSize)
		d.write("shards/old", string(was), 0, func(f *os.File) error { return f.Truncate(sectors * sectorSize) }, syncFile)
		d.write("shards/old", string(is), 0)
		d.must(d.drives.Cut(d.dir, true, seed))
		got, err := os.ReadFile(d.path("shards/old"))
		d.must(err)
		for s := range slices.Chunk(got, sectorSize) {
			if !bytes.Equal(s, was[:sectorSize]) && !bytes.Equal(s, is[:sectorSize]) {
				t.Fatalf("a sector is torn: %q", s)
			}
		}
		fates[string(got[:1])+string(got[len(got)/2:][:1])] = true
		if len(got) != len(was) {
			t.Errorf("it has %d bytes", len(got))
		}
	}
	if len(fates) < 3 {
		t.Errorf("only %v happened", fates)
	}
}
