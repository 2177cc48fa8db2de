package history

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Book knows what was written under every key: versions with their sizes and ETags. Its methods may be called at once.
type Book struct {
	mu   sync.Mutex // guards keys
	keys []*bookKey
}

type bookKey struct {
	versions []Version // versions[0] is NoVersion
	current  uint32    // as far as one knows: a hint for who makes requests, no truth
	doubts   int
	ops      int
}

// Version is one body of a key.
type Version struct {
	SizeBytes int64
	ETag      string // "" as long as no answer told it
}

// Prefixes is how many folders the keys are spread over.
const Prefixes = 16

// KeyName is the name of a key in the bucket.
func KeyName(key int32) string { return fmt.Sprintf("%s%06d", PrefixOf(key), key) }

// PrefixOf is the folder of a key.
func PrefixOf(key int32) string { return fmt.Sprintf("f%02d/", key%Prefixes) }

// ParseKey is the inverse of KeyName.
func ParseKey(name string) (int32, bool) {
	_, number, found := strings.Cut(name, "/")
	n, err := strconv.ParseInt(number, 10, 32)
	if !found || err != nil || n < 0 || KeyName(int32(n)) != name {
		return 0, false
	}
	return int32(n), true
}

// NewKey returns a key that was never used.
func (b *Book) NewKey() int32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys = append(b.keys, &bookKey{versions: make([]Version, 1)})
	return int32(len(b.keys) - 1)
}

// Keys is how many keys there are: 0 to Keys-1.
func (b *Book) Keys() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.keys)
}

// NewVersion names the body that a write is about to make.
func (b *Book) NewVersion(key int32, sizeBytes int64) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.keys[key]
	k.versions = append(k.versions, Version{SizeBytes: sizeBytes})
	return uint32(len(k.versions) - 1)
}

// Version returns what is known of a version; false if nobody ever wrote it.
func (b *Book) Version(key int32, version uint32) (Version, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if int(key) >= len(b.keys) || version == NoVersion || int(version) >= len(b.keys[key].versions) {
		return Version{}, false
	}
	return b.keys[key].versions[version], true
}

// Learn keeps the ETag of a version. It returns what it was told before, if that is another.
func (b *Book) Learn(key int32, version uint32, etag string) (before string, same bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := &b.keys[key].versions[version]
	if v.ETag == "" {
		v.ETag = etag
	}
	return v.ETag, v.ETag == etag
}

// Note takes the end of an operation into account.
func (b *Book) Note(o Op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.keys[o.Key]
	k.ops++
	switch {
	case o.Doubtful():
		k.doubts++
	case o.Partial:
	case o.Kind == Delete && o.Outcome == OK, o.Outcome == Absent:
		k.current = NoVersion
	case o.Outcome == OK:
		k.current = o.Version
	}
}

// Burden is how many operations on the key there were, and how many of them were writes that may have happened or not.
func (b *Book) Burden(key int32) (ops, doubts int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys[key].ops, b.keys[key].doubts
}

// Current is the version that the key probably has.
func (b *Book) Current(key int32) (uint32, Version) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.keys[key]
	return k.current, k.versions[k.current]
}
