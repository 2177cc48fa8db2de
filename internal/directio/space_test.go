package directio

import (
	"errors"
	"os"
	"testing"
)

func TestSpace(t *testing.T) {
	dir := t.TempDir()
	at, err := SpaceAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	if at.Size <= 0 || at.Free < 0 || at.Free > at.Size {
		t.Errorf("got %+v", at)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if of, err := SpaceOf(f); err != nil || of.Size != at.Size {
		t.Errorf("of the open directory %+v, %v, want the size of %+v", of, err, at)
	}
	if _, err := SpaceAt(dir); err == nil {
		t.Error("no error for a directory that is gone")
	}
}

// A drive is taken away while somebody asks for its space.
func TestSpaceOfWhileItCloses(t *testing.T) {
	for range 50 {
		f, err := os.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan error, 1)
		go func() {
			_, err := SpaceOf(f)
			asked <- err
		}()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-asked; err != nil && !errors.Is(err, os.ErrClosed) {
			t.Fatal(err)
		}
		if _, err := SpaceOf(f); !errors.Is(err, os.ErrClosed) {
			t.Fatalf("of a closed file: %v", err)
		}
	}
}
