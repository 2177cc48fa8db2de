package sealed

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

type record struct {
	Name  string
	Count int
}

var kind = Kind{Name: "test-record", Version: 2}

func TestWriteThenRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	for _, want := range []record{{"first", 1}, {"second", 2}} {
		if err := kind.Write(path, want); err != nil {
			t.Fatal(err)
		}
		var got record
		if err := kind.Read(path, &got); err != nil || got != want {
			t.Errorf("Read = %+v, %v; want %+v", got, err, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v; want 0600", info.Mode(), err)
	}
}

func TestReadRefuses(t *testing.T) {
	good, err := kind.Encode(record{"x", 1})
	if err != nil {
		t.Fatal(err)
	}
	newer, err := Kind{Name: kind.Name, Version: 3}.Encode(record{"x", 1})
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrDamaged},
		{"cut", good[:len(good)-2], ErrDamaged},
		{"another kind", append([]byte("other"), good...), ErrDamaged},
		{"newer", newer, ErrFuture},
	}
	for _, c := range cases {
		if err := kind.Decode(c.data, new(record)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if err := kind.Read(filepath.Join(t.TempDir(), "none"), new(record)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	good, err := kind.Encode(record{"some name", 7})
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			var got record
			if err := kind.Decode(bad, &got); err == nil && got != (record{"some name", 7}) {
				t.Fatalf("byte %d bit %d: read as %+v", i, bit, got)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	good, err := kind.Encode(record{"x", 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		var r, back record
		if kind.Decode(data, &r) != nil {
			return
		}
		again, err := kind.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := kind.Decode(again, &back); err != nil || back != r {
			t.Fatalf("round trip: %+v, %v; want %+v", back, err, r)
		}
	})
}
