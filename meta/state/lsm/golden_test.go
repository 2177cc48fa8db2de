package lsm

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden writes what the golden files of version 1 have: a change of the format would show.
func TestGolden(t *testing.T) {
	w, err := newTableWriter(filepath.Join(t.TempDir(), "table"), 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []entry{
		{key: []byte("bucket/a"), value: []byte("one")},
		{key: []byte("bucket/b"), deleted: true},
		{key: []byte("c"), value: bytes.Repeat([]byte{0x55}, blockSize)},
	} {
		if err := w.add(&e); err != nil {
			t.Fatal(err)
		}
	}
	table, err := w.finish()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(table.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	// The middle of the long value is left out.
	compareGolden(t, "table-1", append(bytes.Clone(got[:100]), got[blockSize:]...))
	m := manifest{nextID: 9, tables: []manifestEntry{{id: 8, size: 100, footerSum: 1}, {id: 7, size: table.size, footerSum: 2}}}
	compareGolden(t, "manifest-1", m.encode())
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got  %x\nwant %x", name, got, want)
	}
}
