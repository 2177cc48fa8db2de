package metarpc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
)

var update = flag.Bool("update", false, "write the golden files")

// fill gives every field of v another value than zero, so that one which a codec forgets is seen.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.UnixMilli(1_700_000_000_000 + int64(*n)).UTC()))
		return
	case meta.Consistency:
		v.SetUint(1)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(fmt.Sprintf("text \xff %d", *n)) // keys need not be UTF-8
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(uint64(*n%250 + 1))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n) << 20)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	default:
		panic("a field of type " + v.Type().String())
	}
}

func filled[T any]() T {
	var v T
	n := 0
	fill(reflect.ValueOf(&v).Elem(), &n)
	return v
}

// queries and results of this version, by name: every field is set.
func sampleQueries() map[string]any {
	return map[string]any{
		"object": filled[meta.GetObject](), "bucket": filled[meta.BucketQuery](), "buckets": filled[meta.BucketsQuery](),
		"list": filled[meta.ListQuery](), "upload": filled[meta.UploadQuery](), "parts": filled[meta.PartsQuery](),
		"garbage": filled[meta.GarbageQuery](), "live": filled[meta.LiveQuery](), "cluster-map": meta.ClusterMapQuery{},
	}
}

func sampleResults() map[string]any {
	version, inline := filled[meta.Version](), filled[meta.Version]()
	version.Body, version.Inline = nil, false
	inline.Blobs, inline.Parts = nil, nil
	return map[string]any{
		"nil": nil, "bytes": []byte("bytes"), "no bytes": []byte(nil), "int": 7, "bools": []bool{true, false},
		"bucket": filled[meta.Bucket](), "buckets": filled[[]meta.Bucket](), "frozen": filled[meta.Frozen](),
		"put": filled[meta.Put](), "deletes": sampleDeletes(), "id": filled[meta.VersionID](),
		"version": version, "inline": inline, "empty version": meta.Version{Modified: time.UnixMilli(1).UTC()},
		"upload": filled[meta.Upload](), "part": filled[meta.Part](), "parts": filled[[]meta.Part](),
		"page": samplePage(), "garbage": filled[meta.GarbagePage](), "empty page": meta.ListPage{More: true},
	}
}

func sampleDeletes() []meta.DeleteResult {
	marker := filled[meta.MarkerError]()
	return []meta.DeleteResult{
		{Deleted: filled[meta.Deleted]()},
		{Err: fault{Code: codeMeta + 11, Text: "precondition"}.err()},
		{Err: &marker},
	}
}

func samplePage() meta.ListPage {
	version, upload := filled[meta.Version](), filled[meta.Upload]()
	version.Body, version.BucketConsistency = nil, 0 // not of a listing
	return meta.ListPage{More: true, Entries: []meta.ListEntry{
		{Name: "prefix/", IsPrefix: true}, {Name: version.Key, Version: version}, {Name: "upload", Upload: &upload},
	}}
}

func TestQueriesComeBack(t *testing.T) {
	for name, want := range sampleQueries() {
		t.Run(name, func(t *testing.T) {
			consistency := meta.Linearizable
			if get, ok := want.(meta.GetObject); ok {
				consistency = get.Consistency
				get.Consistency = 0 // it goes in the header
				want = get
			}
			head, err := encodeQuery(callHeader{group: 300, consistency: consistency}, want)
			if err != nil {
				t.Fatal(err)
			}
			h, data, err := parseCall(head)
			if err != nil || h.group != 300 || h.consistency != consistency || h.alone {
				t.Fatalf("header %+v, %v", h, err)
			}
			got, err := decodeQuery(h.query, data)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

func TestResultsComeBack(t *testing.T) {
	for name, want := range sampleResults() {
		t.Run(name, func(t *testing.T) {
			head, body, err := encodeResult(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeResult(head, body)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
			}
		})
	}
}

func TestUnknownIsRefused(t *testing.T) {
	if _, err := encodeQuery(callHeader{}, struct{}{}); !errors.Is(err, meta.ErrFormat) {
		t.Errorf("a query that is none: %v", err)
	}
	if _, _, err := encodeResult(struct{}{}); !errors.Is(err, meta.ErrFormat) {
		t.Errorf("a result that is none: %v", err)
	}
	for name, head := range map[string][]byte{
		"empty": nil, "short": {formatVersion, 1, 0, 0}, "later version": {formatVersion + 1, 1, 0, 0, 0}, "consistency": {formatVersion, 1, 9, 0, 0},
	} {
		if _, _, err := parseCall(head); !errors.Is(err, meta.ErrFormat) {
			t.Errorf("head %s: %v", name, err)
		}
	}
	for name, head := range map[string][]byte{"empty": nil, "later version": {formatVersion + 1, resultNil}, "kind": {formatVersion, 99}} {
		if _, err := decodeResult(head, nil); !errors.Is(err, meta.ErrFormat) {
			t.Errorf("answer %s: %v", name, err)
		}
	}
}

func TestErrorsComeBack(t *testing.T) {
	marker := &meta.MarkerError{ID: 7, Named: true, Modified: 9}
	for name, c := range map[string]struct {
		err   error
		is    error
		final bool
	}{
		"no such key":      {fmt.Errorf("key: %w", meta.ErrNoSuchKey), meta.ErrNoSuchKey, true},
		"precondition":     {meta.ErrPrecondition, meta.ErrPrecondition, true},
		"format":           {meta.ErrFormat, meta.ErrFormat, true},
		"command too long": {raftgroup.ErrTooLarge, meta.ErrTooLarge, true},
		"unavailable":      {meta.ErrUnavailable, errReplica, false},
		"corrupt":          {meta.ErrCorrupt, errReplica, false},
		"busy":             {raftgroup.ErrBusy, raftgroup.ErrBusy, false},
		"lost":             {raftgroup.ErrLost, errReplica, false},
		"deadline":         {os.ErrDeadlineExceeded, errReplica, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := overTheWire(t, c.err)
			if !errors.Is(got, c.is) || isFinal(got) != c.final || got.Error() != c.err.Error() {
				t.Errorf("got %v, final %v", got, isFinal(got))
			}
		})
	}
	if got := overTheWire(t, fmt.Errorf("named: %w", marker)); !reflect.DeepEqual(got, marker) || !isFinal(got) {
		t.Errorf("a marker came back as %#v", got)
	}
	hint := &raftgroup.NotLeaderError{Leader: 1 << 60, Term: 3}
	if got := overTheWire(t, hint); !reflect.DeepEqual(got, hint) || isFinal(got) {
		t.Errorf("a hint came back as %#v", got)
	}
	later := fault{Code: codeMeta + 999, Text: "of a later version"}.err()
	if !errors.Is(later, meta.ErrFormat) || !isFinal(later) {
		t.Errorf("an error of a later version came back as %v", later)
	}
	if got := faultIn(&rpc.StatusError{Code: codeMarker, Detail: []byte("junk")}).err(); !errors.Is(got, errReplica) {
		t.Errorf("junk came back as %v", got)
	}
}

// overTheWire returns err as the other process gets it.
func overTheWire(t *testing.T, err error) error {
	t.Helper()
	var status *rpc.StatusError
	if !errors.As(faultOf(err).status(), &status) {
		t.Fatal("no status")
	}
	return faultIn(status).err()
}

// frames draws a call or an answer for a golden file: a line each for head and body.
func frame(head, body []byte) string {
	return hex.EncodeToString(head) + "\n" + hex.EncodeToString(body) + "\n"
}

func unframe(t *testing.T, text string) (head, body []byte) {
	t.Helper()
	lines := strings.Split(text, "\n")
	head, err := hex.DecodeString(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	if body, err = hex.DecodeString(lines[1]); err != nil {
		t.Fatal(err)
	}
	return head, body
}

// golden compares bytes with those that version 1 sent, and returns the latter.
func golden(t *testing.T, name string, head, body []byte) ([]byte, []byte) {
	t.Helper()
	path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+"-1.hex")
	if *update {
		if err := os.WriteFile(path, []byte(frame(head, body)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	oldHead, oldBody := unframe(t, string(text))
	if !bytes.Equal(oldHead, head) || !bytes.Equal(oldBody, body) {
		t.Errorf("%s is encoded as\n%swant\n%s", name, frame(head, body), text)
	}
	return oldHead, oldBody
}

// TestGolden holds the encoding against that of version 1, and reads what that wrote.
func TestGolden(t *testing.T) {
	for name, q := range sampleQueries() {
		head, err := encodeQuery(callHeader{group: 3, consistency: meta.Eventual}, q)
		if err != nil {
			t.Fatal(err)
		}
		head, _ = golden(t, "query-"+name, head, nil)
		h, data, err := parseCall(head)
		if err != nil {
			t.Fatal(err)
		}
		if get, ok := q.(meta.GetObject); ok {
			get.Consistency = 0
			q = get
		}
		if got, err := decodeQuery(h.query, data); err != nil || !reflect.DeepEqual(got, q) {
			t.Errorf("query %s: %+v, %v", name, got, err)
		}
	}
	for name, v := range sampleResults() {
		head, body, err := encodeResult(v)
		if err != nil {
			t.Fatal(err)
		}
		head, body = golden(t, "result-"+name, head, body)
		if got, err := decodeResult(head, body); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("result %s: %+v, %v", name, got, err)
		}
	}
}

// TestLaterFields reads records to which a later version has added fields.
func TestLaterFields(t *testing.T) {
	type laterBucket struct {
		Name string `cbor:"1,keyasint"`
		More string `cbor:"99,keyasint"`
	}
	body, err := appendCBOR(nil, laterBucket{Name: "name", More: "more"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeResult([]byte{formatVersion, resultBucket}, body)
	if b, ok := got.(meta.Bucket); err != nil || !ok || b.Name != "name" {
		t.Errorf("got %+v, %v", got, err)
	}
	w := writer{}
	w.byte(0)
	w.byte(0)
	w.string("key")
	whole := writer{}
	whole.record(&meta.Version{Size: 5})
	r := reader{rest: string(whole.b)}
	w.string(r.string() + "fields to come")
	got, err = decodeResult([]byte{formatVersion, resultVersion}, append(w.b, "and more"...))
	if v, ok := got.(meta.Version); err != nil || !ok || v.Size != 5 || v.Key != "key" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// FuzzAnswer gives any bytes to the decoder of answers. What it accepts is encoded to something that means the same.
func FuzzAnswer(f *testing.F) {
	for _, v := range sampleResults() {
		head, body, err := encodeResult(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(head, body)
	}
	f.Fuzz(func(t *testing.T, head, body []byte) {
		v, err := decodeResult(head, body)
		if err != nil {
			return
		}
		head, body, err = encodeResult(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeResult(head, body)
		if err != nil {
			t.Fatal(err)
		}
		twice, body2, err := encodeResult(again)
		if err != nil || !bytes.Equal(twice[:2], head[:2]) || len(body) != len(body2) {
			t.Fatalf("%+v became %+v, %v", v, again, err)
		}
	})
}

// FuzzCall gives any bytes to the decoder of calls.
func FuzzCall(f *testing.F) {
	for _, q := range sampleQueries() {
		head, err := encodeQuery(callHeader{group: 1}, q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(head)
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		h, data, err := parseCall(head)
		if err != nil {
			return
		}
		q, err := decodeQuery(h.query, data)
		if err != nil {
			return
		}
		again, err := encodeQuery(h, q)
		if err != nil {
			t.Fatal(err)
		}
		h2, data, err := parseCall(again)
		if err != nil || h2 != h {
			t.Fatalf("header %+v became %+v, %v", h, h2, err)
		}
		if _, err := decodeQuery(h.query, data); err != nil {
			t.Fatal(err)
		}
	})
}
