package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/raft/v3/raftpb"

	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
	"kintsugi/meta/state"
)

const bucket = "bucket"

// driver feeds a machine as a Raft host does.
type driver struct {
	t testing.TB
	*state.Machine
	index map[uint32]uint64
}

func openDriver(t testing.TB, dir string, config state.Config) *driver {
	t.Helper()
	m, err := state.Open(dir, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	d := &driver{t: t, Machine: m, index: make(map[uint32]uint64)}
	for _, g := range m.Groups() {
		at, err := m.Applied(g)
		if err != nil {
			t.Fatal(err)
		}
		d.index[g] = at.Index
	}
	return d
}

func (d *driver) entry(group uint32, op meta.Op, body any) raftgroup.Entry {
	d.t.Helper()
	cmd, err := meta.EncodeCommand(op, time.UnixMilli(1_700_000_000_123), body)
	if err != nil {
		d.t.Fatal(err)
	}
	d.index[group]++
	return raftgroup.Entry{Group: group, Index: d.index[group], Term: 1, Data: cmd}
}

func (d *driver) apply(entries ...raftgroup.Entry) []any {
	d.t.Helper()
	results, err := d.Apply(entries)
	if err != nil {
		d.t.Fatal(err)
	}
	return results
}

func (d *driver) createBucket(group uint32) {
	d.t.Helper()
	b := meta.Bucket{Name: bucket, Revision: 1, Incarnation: 1}
	d.apply(d.entry(group, meta.OpPutBucket, meta.PutBucket{Bucket: b, Create: true}))
}

func putBody(key string, body []byte) meta.PutObject {
	return meta.PutObject{Bucket: bucket, Key: key, Body: body, Version: meta.Version{
		Size: int64(len(body)), ETag: "d41d8cd98f00b204e9800998ecf8427e", RequestID: key,
		Checksum: meta.Checksum{Algorithm: meta.CRC64NVME, Value: make([]byte, 8)},
		Headers:  meta.Headers{ContentType: "binary/octet-stream"},
	}}
}

func (d *driver) put(group uint32, key, body string) {
	d.t.Helper()
	for _, r := range d.apply(d.entry(group, meta.OpPutObject, putBody(key, []byte(body)))) {
		if err, ok := r.(error); ok {
			d.t.Fatal(err)
		}
	}
}

func (d *driver) get(group uint32, key string) (string, error) {
	v, err := d.Query(group, meta.GetObject{Bucket: bucket, Key: key, Body: true})
	if err != nil {
		return "", err
	}
	return string(v.(meta.Version).Body), nil
}

func (d *driver) want(group uint32, key, body string) {
	d.t.Helper()
	if got, err := d.get(group, key); err != nil || got != body {
		d.t.Fatalf("%s is %q, %v, want %q", key, got, err, body)
	}
}

func TestPositions(t *testing.T) {
	dir := t.TempDir()
	d := openDriver(t, dir, state.Config{})
	if at, err := d.Applied(3); err != nil || at.Index != 0 || at.Members != nil {
		t.Fatal(at, err)
	}
	members := &raftpb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}}
	d.apply(raftgroup.Entry{Group: 3, Index: 1, Term: 2, Members: members}, raftgroup.Entry{Group: 3, Index: 2, Term: 3})
	d.index[3] = 2
	d.createBucket(3)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openDriver(t, dir, state.Config{Groups: 4})
	at, err := d.Applied(3)
	if err != nil || at.Index != 3 || at.Term != 1 || len(at.Members.GetVoters()) != 3 || at.Members.GetLearners()[0] != 4 {
		t.Fatalf("%+v, %v", at, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(dir, state.Config{Groups: 3}); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("a group too many: %v", err)
	}
}

// TestBatchEqualsSingles executes the same entries in one transaction and one by one: replicas batch differently.
func TestBatchEqualsSingles(t *testing.T) {
	a, b := openDriver(t, t.TempDir(), state.Config{}), openDriver(t, t.TempDir(), state.Config{})
	var entries []raftgroup.Entry
	record := meta.Bucket{Name: bucket, Revision: 1, Incarnation: 1, Versioning: meta.VersioningSuspended}
	entries = append(entries, a.entry(0, meta.OpPutBucket, meta.PutBucket{Bucket: record, Create: true}))
	for i := range 200 {
		key := fmt.Sprint("key", i%7)
		switch i % 5 {
		case 3:
			entries = append(entries, a.entry(0, meta.OpDeleteObjects, meta.DeleteObjects{Objects: []meta.DeleteObject{{Bucket: bucket, Key: key}}}))
		case 4:
			record.Versioning, record.Revision = meta.Versioning(1+i/5%2), record.Revision+1
			entries = append(entries, a.entry(0, meta.OpPutBucket, meta.PutBucket{Bucket: record}))
		default:
			p := putBody(key, []byte(fmt.Sprint("body", i)))
			p.Version.RequestID = fmt.Sprint(i)
			p.Version.Headers.User = map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}
			entries = append(entries, a.entry(0, meta.OpPutObject, p))
		}
	}
	one := a.apply(entries...)
	for i := range entries {
		if got := b.apply(entries[i]); fmt.Sprintf("%+v", got[0]) != fmt.Sprintf("%+v", one[i]) {
			t.Fatalf("entry %d: %+v alone, %+v in a batch", i, got[0], one[i])
		}
	}
	if !bytes.Equal(stream(t, a, 0), stream(t, b, 0)) {
		t.Error("the states differ")
	}
}

// stream returns the snapshot of a group.
func stream(t *testing.T, d *driver, group uint32) []byte {
	t.Helper()
	s, err := d.Snapshot(group)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b bytes.Buffer
	if n, err := s.WriteTo(&b); err != nil || n != int64(b.Len()) {
		t.Fatal(n, err)
	}
	return b.Bytes()
}

func TestSnapshot(t *testing.T) {
	from, dir := openDriver(t, t.TempDir(), state.Config{MemtableSize: 64 << 10}), t.TempDir()
	for _, group := range []uint32{1, 2} {
		from.createBucket(group)
		for i := range 100 {
			from.put(group, fmt.Sprint("key", i), strings.Repeat("body", 1000))
		}
	}
	s, err := from.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	from.put(1, "later", "is not in the snapshot")
	var b bytes.Buffer
	if _, err := s.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if at := s.Position(); at.Index != 101 {
		t.Fatalf("position %d", at.Index)
	}
	to := openDriver(t, dir, state.Config{MemtableSize: 64 << 10})
	to.createBucket(1)
	to.put(1, "old", "goes away")
	to.createBucket(2)
	to.put(2, "other group", "stays")
	at := s.Position()
	if err := to.Restore(1, at, bytes.NewReader(b.Bytes()[:b.Len()/2])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("a stream cut short: %v", err)
	}
	if at, err := to.Applied(1); err != nil || at.Index != 0 {
		t.Fatalf("position %d after half a restore, %v", at.Index, err)
	}
	if err := to.Restore(1, at, bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	to.index[1] = at.Index
	if !bytes.Equal(stream(t, to, 1), b.Bytes()) {
		t.Error("the restored state differs")
	}
	to.want(1, "key7", strings.Repeat("body", 1000))
	to.want(2, "other group", "stays")
	for _, key := range []string{"old", "later"} {
		if _, err := to.get(1, key); !errors.Is(err, meta.ErrNoSuchKey) {
			t.Errorf("%s: %v", key, err)
		}
	}
	to.put(1, "next", "goes on")
	to.want(1, "next", "goes on")
}

// TestDamagedStream flips bytes of a snapshot in turn.
func TestDamagedStream(t *testing.T) {
	from, to := openDriver(t, t.TempDir(), state.Config{}), openDriver(t, t.TempDir(), state.Config{})
	from.createBucket(0)
	from.put(0, "key", "body")
	good := stream(t, from, 0)
	for i := 0; i < len(good); i += 3 {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if err := to.Restore(0, raftgroup.Position{Index: 2, Term: 1}, bytes.NewReader(bad)); err == nil {
			t.Fatalf("byte %d flipped: restored", i)
		}
	}
	if err := to.Restore(0, raftgroup.Position{Index: 2, Term: 1}, bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	to.want(0, "key", "body")
}

// TestDamageInUse flips bytes in all files of a machine at work: every answer is right, or the machine fails.
func TestDamageInUse(t *testing.T) {
	dir := t.TempDir()
	d := openDriver(t, dir, state.Config{MemtableSize: 128 << 10})
	d.createBucket(0)
	body := strings.Repeat("body", 500)
	for i := range 500 {
		d.put(0, fmt.Sprintf("key%03d", i), body)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		flip(t, f, 997)
	}
	failed := false
	for i := range 500 {
		got, err := d.get(0, fmt.Sprintf("key%03d", i))
		switch {
		case err == nil && got != body:
			t.Fatalf("key%03d has %d wrong bytes", i, len(got))
		case err != nil && !errors.Is(err, state.ErrDamaged):
			t.Fatalf("key%03d: %v", i, err)
		}
		failed = failed || err != nil
	}
	if !failed {
		t.Fatal("nothing was noticed")
	}
	if err := d.Scrub(t.Context(), 0); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("scrub: %v", err)
	}
	<-d.Failed()
	if _, err := d.Apply(nil); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("apply: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if m, err := state.Open(dir, state.Config{}); !errors.Is(err, state.ErrDamaged) {
		_ = m.Close()
		t.Errorf("open: %v", err)
	}
}

// flip changes a bit of every step-th byte of a file.
func flip(t *testing.T, path string, step int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return // merged into another meanwhile
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	for i := 10; i < len(b); i += step {
		if _, err := f.WriteAt([]byte{b[i] ^ 0x10}, int64(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVanish(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	d := openDriver(t, dir, state.Config{})
	d.createBucket(0)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.Failed():
	case <-time.After(10 * time.Second):
		t.Fatal("not noticed")
	}
	if err := d.Err(); !errors.Is(err, state.ErrVanished) {
		t.Errorf("failed with %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestScrub(t *testing.T) {
	dir, registry := t.TempDir(), prometheus.NewRegistry()
	d := openDriver(t, dir, state.Config{Registerer: registry})
	d.createBucket(0)
	d.put(0, "key", strings.Repeat("x", 10000))
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := d.Scrub(t.Context(), 1<<20); err != nil {
		t.Fatal(err)
	}
	if families, err := registry.Gather(); err != nil || len(families) != 6 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.tbl"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, path := range tables {
		flip(t, path, 5000)
	}
	if err := d.Scrub(t.Context(), 0); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("scrub: %v", err)
	}
}

func TestAdmit(t *testing.T) {
	d := openDriver(t, t.TempDir(), state.Config{ReserveBytes: 1 << 60})
	put := d.entry(0, meta.OpPutObject, putBody("key", nil))
	if err := d.Admit(put.Data); !errors.Is(err, meta.ErrFull) {
		t.Errorf("put: %v", err)
	}
	del := d.entry(0, meta.OpDeleteObjects, meta.DeleteObjects{})
	if err := d.Admit(del.Data); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func TestUnknownCommand(t *testing.T) {
	d := openDriver(t, t.TempDir(), state.Config{})
	for _, data := range []string{"x", "\x02" + strings.Repeat("x", 20), "\x01\xff" + strings.Repeat("\x00", 20)} {
		results := d.apply(raftgroup.Entry{Group: 0, Index: 1, Term: 1, Data: []byte(data)})
		if err, ok := results[0].(error); !ok || !errors.Is(err, meta.ErrFormat) {
			t.Errorf("%q: %v", data, results[0])
		}
	}
	if _, err := d.Query(0, "what"); !errors.Is(err, meta.ErrFormat) {
		t.Errorf("query: %v", err)
	}
}
