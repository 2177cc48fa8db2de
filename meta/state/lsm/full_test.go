package lsm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFullDrive fills the drive under the database: reads go on, the ballast lets small
// writes through, and when there is room again everything is written.
func TestFullDrive(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("mounting a small file system: ", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	db, err := Open(filepath.Join(dir, "db"), Options{MemtableSize: 64 << 10, BallastBytes: 512 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	commit(t, db, map[string]string{"before": "full"})
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, bytes.Repeat([]byte{1}, 8<<20), 0o600); err == nil {
		t.Fatal("the drive is not full")
	}
	commit(t, db, map[string]string{"on": "ballast"})
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filler+"2", bytes.Repeat([]byte{1}, 8<<20), 0o600); err == nil {
		t.Fatal("the drive is not full")
	}
	want := map[string]string{"before": "full", "on": "ballast"}
	for i := range 100 {
		k, v := fmt.Sprint("while full ", i), string(bytes.Repeat([]byte{'x'}, 1000))
		commit(t, db, map[string]string{k: v})
		want[k] = v
	}
	v := db.View()
	equal(t, dump(t, v), want)
	v.Release()
	time.AfterFunc(300*time.Millisecond, func() { _, _ = os.Remove(filler), os.Remove(filler+"2") })
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	v = openTest(t, filepath.Join(dir, "db"), 0).View()
	defer v.Release()
	equal(t, dump(t, v), want)
}
