package lsm

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"testing"
)

func openTest(t testing.TB, dir string, size int64) *DB {
	t.Helper()
	db, err := Open(dir, Options{MemtableSize: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func commit(t testing.TB, db *DB, writes map[string]string, deletes ...string) {
	t.Helper()
	tx := db.Begin()
	defer tx.Release()
	for k, v := range writes {
		tx.Put([]byte(k), []byte(v))
	}
	for _, k := range deletes {
		tx.Delete([]byte(k))
	}
	if err := db.Commit(tx); err != nil {
		t.Fatal(err)
	}
}

func dump(t testing.TB, v *View) map[string]string {
	t.Helper()
	got := make(map[string]string)
	it := v.Iterator(nil)
	defer it.Close()
	last := ""
	for ok := it.Seek(nil); ok; ok = it.Next() {
		if k := string(it.Key()); k <= last && last != "" {
			t.Fatalf("key %q after %q", k, last)
		} else {
			last = k
		}
		got[last] = string(it.Value())
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

func equal(t testing.TB, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d keys, want %d", len(got), len(want))
	}
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("%q is %q, want %q", k, got[k], v)
		}
	}
}

// TestAgainstMap commits random batches with small memtables, so that all kinds of merges happen, and
// compares with a map, also through an old view and after reopening.
func TestAgainstMap(t *testing.T) {
	dir := t.TempDir()
	db := openTest(t, dir, 8<<10)
	want := make(map[string]string)
	var old *View
	var oldWant map[string]string
	for round := range 400 {
		writes := make(map[string]string)
		var deletes []string
		for range 10 {
			k := fmt.Sprintf("key%d", rand.IntN(700))
			if rand.IntN(3) == 0 {
				if _, ok := writes[k]; !ok {
					deletes = append(deletes, k)
				}
			} else {
				writes[k] = fmt.Sprint(round, string(bytes.Repeat([]byte{'v'}, rand.IntN(200))))
			}
		}
		for _, k := range deletes {
			delete(writes, k)
			delete(want, k)
		}
		for k, v := range writes {
			want[k] = v
		}
		commit(t, db, writes, deletes...)
		if round == 200 {
			old, oldWant = db.View(), make(map[string]string)
			for k, v := range want {
				oldWant[k] = v
			}
		}
	}
	check := func(db *DB) {
		t.Helper()
		v := db.View()
		defer v.Release()
		equal(t, dump(t, v), want)
		for i := range 700 {
			k := fmt.Sprintf("key%d", i)
			got := ""
			found, err := v.Get([]byte(k), func(b []byte) error { got = string(b); return nil })
			if err != nil || got != want[k] || found != (want[k] != "") {
				t.Fatalf("%s: %q %v %v, want %q", k, got, found, err, want[k])
			}
		}
	}
	check(db)
	equal(t, dump(t, old), oldWant)
	old.Release()
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	check(openTest(t, dir, 8<<10))
}

// TestSuffixLost copies the files of a running database at random moments: what reopens is always
// a prefix of what was committed, at least up to the last Flush.
func TestSuffixLost(t *testing.T) {
	dir := t.TempDir()
	db := openTest(t, dir, 4<<10)
	flushed := 0
	for n := 1; n <= 300; n++ {
		// Each commit sets the counter and one key of its own: a hole would show.
		commit(t, db, map[string]string{"counter": fmt.Sprint(n), fmt.Sprintf("k%04d", n): "x"})
		if n%100 == 0 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
			flushed = n
		}
		if n%60 != 0 {
			continue
		}
		copied := filepath.Join(t.TempDir(), "copy")
		if err := copyQuiet(db, copied); err != nil {
			t.Fatal(err)
		}
		v := openTest(t, copied, 4<<10).View()
		got := dump(t, v)
		v.Release()
		last := 0
		if len(got) > 0 {
			if _, err := fmt.Sscan(got["counter"], &last); err != nil {
				t.Fatal(err)
			}
		}
		if last < flushed || len(got) != last+min(last, 1) {
			t.Fatalf("counter %d, %d keys, flushed %d", last, len(got), flushed)
		}
	}
}

// copyQuiet copies the files at one moment between two changes of the manifest.
func copyQuiet(db *DB, to string) error {
	db.manifest.Lock()
	defer db.manifest.Unlock()
	return os.CopyFS(to, os.DirFS(db.dir))
}

// TestDamage flips each byte of small files in turn: the database refuses to open, or a read
// fails, or everything is right. Nothing is missing silently.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	db := openTest(t, dir, 1<<20)
	want := make(map[string]string)
	for i := range 40 {
		want[fmt.Sprintf("key%02d", i)] = fmt.Sprint("value", i)
	}
	commit(t, db, want)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			tryDamaged(t, dir, path, bad, want)
			if i%16 == 0 {
				tryDamaged(t, dir, path, good[:i], want)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func tryDamaged(t *testing.T, dir, path string, bad []byte, want map[string]string) {
	t.Helper()
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(dir, Options{})
	if errors.Is(err, ErrCorrupt) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	v := db.View()
	defer v.Release()
	for k, value := range want {
		got := ""
		found, err := v.Get([]byte(k), func(b []byte) error { got = string(b); return nil })
		if err == nil && (!found || got != value) {
			t.Fatalf("%s damaged: %s is %q, %v", filepath.Base(path), k, got, found)
		}
	}
}

// TestDamageWhileOpen flips a byte of a table in use: reads of it fail, the others are right.
func TestDamageWhileOpen(t *testing.T) {
	dir := t.TempDir()
	db := openTest(t, dir, 1<<20)
	writes := make(map[string]string)
	for i := range 1000 {
		writes[fmt.Sprintf("key%04d", i)] = string(bytes.Repeat([]byte{byte(i)}, 100))
	}
	commit(t, db, writes)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.tbl"))
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(names[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := 0; i < len(b); i += 1000 {
		if _, err := f.WriteAt([]byte{b[i] ^ 0x40}, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	v := db.View()
	defer v.Release()
	it := v.Iterator(nil)
	defer it.Close()
	for ok := it.Seek(nil); ok; ok = it.Next() {
		if writes[string(it.Key())] != string(it.Value()) {
			t.Fatal("wrong bytes")
		}
	}
	if !errors.Is(it.Err(), ErrCorrupt) {
		t.Fatalf("the scan ended with %v", it.Err())
	}
}

func TestVanished(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	db := openTest(t, dir, 1<<20)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	commit(t, db, map[string]string{"a": "b"})
	if err := db.Flush(); err == nil {
		t.Fatal("flushed into a directory that is gone")
	}
	select {
	case <-db.Failed():
	default:
		t.Fatal("not failed")
	}
}

func TestPickMerge(t *testing.T) {
	const unit = 4
	for _, c := range []struct {
		name  string
		sizes []int64
		i, j  int
	}{
		{"nothing", nil, 0, 0},
		{"three", []int64{4, 4, 4}, 0, 0},
		{"four", []int64{4, 4, 4, 4}, 0, 4},
		{"four over a large one", []int64{4, 4, 4, 4, 16}, 0, 4},
		{"the next tier", []int64{4, 16, 16, 16, 16}, 1, 5},
		{"a small one between", []int64{4, 16, 1, 16, 16}, 1, 5},
		{"all tiers full but one", []int64{4, 4, 4, 16, 16, 16, 64}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tables []*table
			for _, s := range c.sizes {
				tables = append(tables, &table{size: s})
			}
			if i, j := pickMerge(tables, unit); i != c.i || j != c.j {
				t.Errorf("got [%d, %d), want [%d, %d)", i, j, c.i, c.j)
			}
		})
	}
}

func FuzzTable(f *testing.F) {
	dir := f.TempDir()
	w, err := newTableWriter(filepath.Join(dir, "seed"), 1)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if err := w.add(&entry{key: []byte{byte('a' + i)}, value: []byte("value")}); err != nil {
			f.Fatal(err)
		}
	}
	if _, err := w.finish(); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(filepath.Join(dir, "seed"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		// Behind the checksums, every parser must stand any bytes.
		if m, err := decodeManifest(data); err == nil && !bytes.Equal(m.encode(), data) {
			t.Error("manifest does not round-trip")
		}
		if blocks, err := decodeIndex(data, 1<<20); err == nil {
			var b []byte
			for _, blk := range blocks {
				b = appendBlock(b, blk)
			}
			if again, err := decodeIndex(b, 1<<20); err != nil || len(again) != len(blocks) {
				t.Error("index does not round-trip")
			}
		}
		if len(data) >= footerSize {
			at := len(data) - footerSize
			_, _ = decodeFooter(data[at:], 1, int64(at))
		}
		var e entry
		for rest, ok := data, true; ok && len(rest) > 0; {
			rest, ok = decodeEntry(rest, &e)
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	db := openTest(b, b.TempDir(), 0)
	value := bytes.Repeat([]byte{1}, 4096)
	b.SetBytes(4096)
	n := 0
	for b.Loop() {
		n++
		tx := db.Begin()
		tx.Put(fmt.Appendf(nil, "key%010d", rand.IntN(1<<30)), bytes.Clone(value))
		if err := db.Commit(tx); err != nil {
			b.Fatal(err)
		}
		tx.Release()
	}
}

func BenchmarkGet(b *testing.B) {
	db := openTest(b, b.TempDir(), 0)
	var keys []string
	for i := range 20000 {
		k := fmt.Sprintf("key%06d", rand.IntN(1<<20))
		keys = append(keys, k)
		commit(b, db, map[string]string{k: string(bytes.Repeat([]byte{byte(i)}, 1000))})
	}
	sort.Strings(keys)
	if err := db.Flush(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		v := db.View()
		k := keys[rand.IntN(len(keys))]
		if ok, err := v.Get([]byte(k), func([]byte) error { return nil }); !ok || err != nil {
			b.Fatal(ok, err)
		}
		v.Release()
	}
}
