package drive

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kintsugi/internal/sealed"
)

func testIdentity() Identity {
	return Identity{
		Cluster: ID{1, 2, 3}, Drive: ID{4, 5, 6},
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Partitions: 1024, Groups: 8,
	}
}

func TestProbe(t *testing.T) {
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit := func(t *testing.T, dir string) {
		if err := Commit(dir, testIdentity()); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			commit(t, dir)
			for _, name := range names {
				data, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				data[len(data)/2] ^= 1
				write(name, string(data))(t, dir)
			}
		}
	}
	future := func(t *testing.T, dir string) {
		data, err := sealed.Kind{Name: identityKind.Name, Version: Version + 1}.Encode(testIdentity())
		if err != nil {
			t.Fatal(err)
		}
		write(identityName, string(data))(t, dir)
	}
	begin := func(t *testing.T, dir string) {
		if err := Begin(dir, testIdentity()); err != nil {
			t.Fatal(err)
		}
		write("half-made", "x")(t, dir)
	}
	cases := []struct {
		name    string
		prepare func(*testing.T, string)
		want    State
		err     error
	}{
		{"no directory", func(t *testing.T, dir string) { os.Remove(dir) }, Missing, nil},
		{"empty", func(*testing.T, string) {}, Empty, nil},
		{"fresh filesystem", func(t *testing.T, dir string) { os.Mkdir(filepath.Join(dir, "lost+found"), 0o700) }, Empty, nil},
		{"crash in the first write", write(".new-123", "kintsu"), Empty, nil},
		{"somebody's files", write("holiday.jpg", "x"), Missing, ErrNotADrive},
		{"member", commit, Member, nil},
		{"one copy damaged", flip(identityName), Member, nil},
		{"the other copy damaged", flip(copyName), Member, nil},
		{"both damaged", flip(identityName, copyName), Damaged, nil},
		{"both removed", func(t *testing.T, dir string) { write(lockName, "")(t, dir); write("data", "x")(t, dir) }, Damaged, nil},
		{"from the future", future, Damaged, ErrFuture},
		{"birth cut short", begin, Birth, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.prepare(t, dir)
			got, id, err := Probe(dir)
			if got != c.want || !errors.Is(err, c.err) {
				t.Fatalf("Probe = %v, %v; want %v, %v", got, err, c.want, c.err)
			}
			if (got == Member || got == Birth) && id != testIdentity() {
				t.Errorf("identity = %+v, want %+v", id, testIdentity())
			}
		})
	}
}

func commitAs(t *testing.T, dir string, id Identity) {
	t.Helper()
	if err := Commit(dir, id); err != nil {
		t.Fatal(err)
	}
}

func TestMendWritesTheDamagedCopyAgain(t *testing.T) {
	dir := t.TempDir()
	commitAs(t, dir, testIdentity())
	if err := os.Truncate(filepath.Join(dir, identityName), 3); err != nil {
		t.Fatal(err)
	}
	if err := Mend(dir, testIdentity()); err != nil {
		t.Fatal(err)
	}
	if _, err := readIdentity(dir, identityName); err != nil {
		t.Errorf("after Mend: %v", err)
	}
}

func TestUndoLeavesAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := Begin(dir, testIdentity()); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "meta", "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Undo(dir); err != nil {
		t.Fatal(err)
	}
	if state, _, err := Probe(dir); state != Empty || err != nil {
		t.Errorf("Probe = %v, %v; want Empty", state, err)
	}
}

func TestLockKeepsASecondProcessOff(t *testing.T) {
	dir := t.TempDir()
	held, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("second Lock = %v, want ErrInUse", err)
	}
	held.Close()
	again, err := Lock(dir)
	if err != nil {
		t.Fatalf("Lock after Close = %v", err)
	}
	again.Close()
}
