package history

import "testing"

func TestKeyNames(t *testing.T) {
	for key := range int32(100) {
		if got, ok := ParseKey(KeyName(key)); !ok || got != key {
			t.Errorf("%s is %d, %v", KeyName(key), got, ok)
		}
	}
	for _, name := range []string{"", "f01/", "f01/000002", "f1/000001", "f01/1", "f01/-00001", "f01/000001/x"} {
		if key, ok := ParseKey(name); ok {
			t.Errorf("%q is %d", name, key)
		}
	}
}

func TestBook(t *testing.T) {
	var b Book
	key := b.NewKey()
	if v, _ := b.Current(key); v != NoVersion {
		t.Errorf("a new key has version %d", v)
	}
	version := b.NewVersion(key, 7)
	if _, known := b.Version(key, version+1); known {
		t.Error("a version is known that nobody wrote")
	}
	b.Note(Op{Key: key, Kind: Put, Version: version})
	if _, same := b.Learn(key, version, "x"); !same {
		t.Error("the first ETag is refused")
	}
	if before, same := b.Learn(key, version, "y"); same || before != "x" {
		t.Error("another ETag is taken")
	}
	b.Note(Op{Key: key, Kind: Put, Version: version + 1, Outcome: Timeout})
	if v, what := b.Current(key); v != version || what != (Version{7, "x"}) {
		t.Errorf("current is %d, %+v", v, what)
	}
	if ops, doubts := b.Burden(key); ops != 2 || doubts != 1 {
		t.Errorf("%d operations, %d in doubt", ops, doubts)
	}
	b.Note(Op{Key: key, Kind: Delete})
	if v, _ := b.Current(key); v != NoVersion {
		t.Errorf("a deleted key has version %d", v)
	}
}

func TestKinds(t *testing.T) {
	for _, k := range Kinds() {
		if got, ok := ParseKind(k.String()); !ok || got != k {
			t.Errorf("%s is %v", k, got)
		}
		if k.Reads() == k.Writes() && k != List {
			t.Errorf("%s reads %v and writes %v", k, k.Reads(), k.Writes())
		}
	}
}
