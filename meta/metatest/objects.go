package metatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"kintsugi/meta"
	"kintsugi/placement"
)

func testBuckets(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	ctx := t.Context()
	wantErr(t, c.CreateBucket(ctx, meta.Bucket{Name: bucket, Owner: "me"}), meta.ErrBucketExists)
	must(t, c.CreateBucket(ctx, meta.Bucket{Name: "another", Owner: "you"}))
	must(t, c.CreateBucket(ctx, meta.Bucket{Name: "bucket2"}))
	b, err := c.Bucket(ctx, bucket, meta.Linearizable)
	must(t, err)
	if b.Owner != "me" || time.Since(b.Created) > time.Minute || b.Creating {
		t.Errorf("bucket %+v", b)
	}
	list, more, err := c.Buckets(ctx, "", "", 2)
	must(t, err)
	if len(list) != 2 || !more || list[0].Name != "another" || list[1].Name != bucket {
		t.Errorf("buckets %v, %v", list, more)
	}
	list, more, err = c.Buckets(ctx, "b", bucket, 2)
	must(t, err)
	if len(list) != 1 || more || list[0].Name != "bucket2" {
		t.Errorf("buckets %v, %v", list, more)
	}
	must(t, c.SetVersioning(ctx, bucket, meta.VersioningEnabled))
	wantErr(t, c.SetVersioning(ctx, "none", meta.VersioningEnabled), meta.ErrNoSuchBucket)
	if b, err = c.Bucket(ctx, bucket, meta.Linearizable); err != nil || b.Versioning != meta.VersioningEnabled {
		t.Errorf("bucket %+v, %v", b, err)
	}
}

func testDeleteBucket(t *testing.T, open Open) {
	c := newClient(t, open, meta.VersioningEnabled)
	ctx := t.Context()
	wantErr(t, c.DeleteBucket(ctx, "none"), meta.ErrNoSuchBucket)
	put(t, c, "key", "body")
	wantErr(t, c.DeleteBucket(ctx, bucket), meta.ErrBucketNotEmpty)
	put(t, c, "key2", "the bucket takes writes again")
	remove(t, c, "key2", nil)
	v := remove(t, c, "key", nil)
	wantErr(t, c.DeleteBucket(ctx, bucket), meta.ErrBucketNotEmpty)
	list, err := c.Versions(ctx, meta.ListVersions{Bucket: bucket, Max: 10})
	must(t, err)
	if len(list.Versions) != 4 || !v.DeleteMarker {
		t.Fatalf("%d versions", len(list.Versions))
	}
	for _, v := range list.Versions {
		remove(t, c, v.Key, &v.ID)
	}
	u, err := c.CreateUpload(ctx, bucket, meta.Upload{Key: "upload"})
	must(t, err)
	_, err = c.PutPart(ctx, meta.PutPart{Bucket: bucket, Key: "upload", UploadID: u.ID, Part: meta.Part{Number: 1, Size: 5, Blobs: []meta.Blob{blob(c, "upload", 5)}}})
	must(t, err)
	must(t, c.DeleteBucket(ctx, bucket))
	if n := len(garbage(t, c)); n != 1 {
		t.Errorf("%d blobs dropped with the bucket's uploads, want 1", n)
	}
	_, err = c.PutObject(ctx, inline("key", "body"))
	wantErr(t, err, meta.ErrNoSuchBucket)
	_, err = get(t, c, "key", nil)
	wantErr(t, err, meta.ErrNoSuchBucket)
	_, err = c.Bucket(ctx, bucket, meta.Linearizable)
	wantErr(t, err, meta.ErrNoSuchBucket)
	must(t, c.CreateBucket(ctx, meta.Bucket{Name: bucket}))
	put(t, c, "key", "again")
}

func testUnversioned(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	_, err := get(t, c, "key", nil)
	wantErr(t, err, meta.ErrNoSuchKey)
	if p := put(t, c, "key", "one"); p.Version != meta.NullVersion || p.Versioned || p.ETag != etag("one") {
		t.Errorf("put %+v", p)
	}
	put(t, c, "key", "two")
	wantBody(t, c, "key", nil, "two")
	null := meta.NullVersion
	wantBody(t, c, "key", &null, "two")
	other := meta.VersionID(7)
	_, err = get(t, c, "key", &other)
	wantErr(t, err, meta.ErrNoSuchVersion)
	if d := remove(t, c, "key", nil); d.Versioned || d.DeleteMarker {
		t.Errorf("deleted %+v", d)
	}
	_, err = get(t, c, "key", nil)
	wantErr(t, err, meta.ErrNoSuchKey)
	remove(t, c, "key", nil)
	put(t, c, "", "the empty key")
	wantBody(t, c, "", nil, "the empty key")
	put(t, c, "empty", "")
	wantBody(t, c, "empty", nil, "")
}

func testVersioned(t *testing.T, open Open) {
	c := newClient(t, open, meta.VersioningEnabled)
	one, two := put(t, c, "key", "one"), put(t, c, "key", "two")
	if one.Version == 0 || two.Version <= one.Version || !two.Versioned {
		t.Fatalf("versions %d, %d", one.Version, two.Version)
	}
	wantBody(t, c, "key", nil, "two")
	wantBody(t, c, "key", &one.Version, "one")
	marker := remove(t, c, "key", nil)
	if !marker.DeleteMarker || marker.Version <= two.Version {
		t.Fatalf("marker %+v", marker)
	}
	var hidden *meta.MarkerError
	_, err := get(t, c, "key", nil)
	if !errors.As(err, &hidden) || !errors.Is(err, meta.ErrNoSuchKey) || hidden.ID != marker.Version || hidden.Named {
		t.Errorf("got %v", err)
	}
	_, err = get(t, c, "key", &marker.Version)
	if !errors.As(err, &hidden) || errors.Is(err, meta.ErrNoSuchKey) || !hidden.Named {
		t.Errorf("got %v", err)
	}
	wantBody(t, c, "key", &two.Version, "two")
	if d := remove(t, c, "key", &marker.Version); !d.DeleteMarker {
		t.Errorf("deleted %+v", d)
	}
	wantBody(t, c, "key", nil, "two")
	remove(t, c, "key", &two.Version)
	wantBody(t, c, "key", nil, "one")
	remove(t, c, "key", &one.Version)
	_, err = get(t, c, "key", nil)
	if err != meta.ErrNoSuchKey {
		t.Errorf("got %v", err)
	}
	remove(t, c, "key", &one.Version)
}

func testSuspended(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	null := meta.NullVersion
	put(t, c, "key", "before")
	setVersioning(t, c, meta.VersioningEnabled)
	wantBody(t, c, "key", &null, "before")
	id := put(t, c, "key", "versioned").Version
	wantBody(t, c, "key", &null, "before")
	setVersioning(t, c, meta.VersioningSuspended)
	if p := put(t, c, "key", "null"); p.Version != null || !p.Versioned {
		t.Errorf("put %+v", p)
	}
	wantBody(t, c, "key", nil, "null")
	wantBody(t, c, "key", &null, "null")
	wantBody(t, c, "key", &id, "versioned")
	if d := remove(t, c, "key", nil); d.Version != null || !d.DeleteMarker {
		t.Errorf("deleted %+v", d)
	}
	var hidden *meta.MarkerError
	if _, err := get(t, c, "key", &null); !errors.As(err, &hidden) {
		t.Errorf("the null version is %v", err)
	}
	remove(t, c, "key", nil) // the null marker replaces the null marker
	list, err := c.Versions(t.Context(), meta.ListVersions{Bucket: bucket, Max: 10})
	must(t, err)
	if len(list.Versions) != 2 || !list.Versions[0].DeleteMarker || !list.Versions[0].IsLatest || list.Versions[1].ID != id {
		t.Errorf("versions %+v", list.Versions)
	}
	remove(t, c, "key", &null)
	wantBody(t, c, "key", nil, "versioned")
}

func testConditions(t *testing.T, open Open) {
	size, wrong := int64(4), int64(5)
	long := time.Now().Add(-time.Hour)
	for _, tc := range []struct {
		name      string
		current   string // "" none, "marker", or a body
		condition meta.Condition
		put, del  error
	}{
		{"none", "body", meta.Condition{}, nil, nil},
		{"If-Match holds", "body", meta.Condition{IfMatch: etag("body")}, nil, nil},
		{"If-Match any", "body", meta.Condition{IfMatch: "*"}, nil, nil},
		{"If-Match differs", "body", meta.Condition{IfMatch: "x"}, meta.ErrPrecondition, meta.ErrPrecondition},
		{"If-Match, no key", "", meta.Condition{IfMatch: "x"}, meta.ErrNoSuchKey, meta.ErrNoSuchKey},
		{"If-Match any, no key", "", meta.Condition{IfMatch: "*"}, meta.ErrNoSuchKey, meta.ErrNoSuchKey},
		{"If-Match, marker", "marker", meta.Condition{IfMatch: "*"}, meta.ErrNoSuchKey, meta.ErrNoSuchKey},
		{"If-None-Match, key", "body", meta.Condition{IfNoneMatch: true}, meta.ErrPrecondition, meta.ErrPrecondition},
		{"If-None-Match, no key", "", meta.Condition{IfNoneMatch: true}, nil, nil},
		{"If-None-Match, marker", "marker", meta.Condition{IfNoneMatch: true}, nil, nil},
		{"size holds", "body", meta.Condition{IfMatchSize: &size}, nil, nil},
		{"size differs", "body", meta.Condition{IfMatchSize: &wrong}, meta.ErrPrecondition, meta.ErrPrecondition},
		{"time differs", "body", meta.Condition{IfMatchModified: &long}, meta.ErrPrecondition, meta.ErrPrecondition},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient(t, open, meta.VersioningEnabled)
			for _, key := range []string{"put", "delete"} {
				if tc.current != "" {
					put(t, c, key, tc.current)
				}
				if tc.current == "marker" {
					remove(t, c, key, nil)
				}
			}
			p := inline("put", "new")
			p.Condition = tc.condition
			_, err := c.PutObject(t.Context(), p)
			wantErr(t, err, tc.put)
			_, err = c.DeleteObject(t.Context(), meta.DeleteObject{Bucket: bucket, Key: "delete", Condition: tc.condition})
			wantErr(t, err, tc.del)
		})
	}
}

func testRepeatedRequest(t *testing.T, open Open) {
	c := newClient(t, open, meta.VersioningEnabled)
	p := inline("key", "one")
	p.Version.RequestID, p.Condition.IfNoneMatch = "request", true
	first, err := c.PutObject(t.Context(), p)
	must(t, err)
	put(t, c, "key", "two")
	again, err := c.PutObject(t.Context(), p)
	must(t, err)
	if first.Version != again.Version || !bytes.Equal(first.Checksum.Value, again.Checksum.Value) || first.ETag != again.ETag {
		t.Errorf("first %+v, again %+v", first, again)
	}
	wantBody(t, c, "key", nil, "two")
	p.Key = "other"
	other, err := c.PutObject(t.Context(), p)
	must(t, err)
	wantBody(t, c, "other", &other.Version, "one")
	d := meta.DeleteObject{Bucket: bucket, Key: "key", RequestID: "delete"}
	m1, err := c.DeleteObject(t.Context(), d)
	must(t, err)
	m2, err := c.DeleteObject(t.Context(), d)
	must(t, err)
	if m1 != m2 {
		t.Errorf("%+v, then %+v", m1, m2)
	}
}

func testDeleteObjects(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	var dels []meta.DeleteObject
	for i := range 1000 {
		key := fmt.Sprint("key", i)
		put(t, c, key, "body")
		dels = append(dels, meta.DeleteObject{Key: key})
	}
	dels[500].Condition.IfMatch = "x"
	results, err := c.DeleteObjects(t.Context(), bucket, dels)
	must(t, err)
	for i, r := range results {
		if i == 500 {
			wantErr(t, r.Err, meta.ErrPrecondition)
		} else {
			must(t, r.Err)
		}
	}
	list, err := c.Objects(t.Context(), meta.ListObjects{Bucket: bucket, Max: 10})
	must(t, err)
	if len(list.Objects) != 1 || list.Objects[0].Key != "key500" {
		t.Errorf("left: %v", list.Objects)
	}
}

func testGarbage(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	a, b := blob(c, "key", 100000), blob(c, "key", 100000)
	p := meta.PutObject{Bucket: bucket, Key: "key", Version: meta.Version{Size: 100000, Blobs: []meta.Blob{a}}}
	_, err := c.PutObject(t.Context(), p)
	must(t, err)
	// A copy onto itself with other metadata shares the blob.
	p.Shared, p.Version.Headers.ContentType = true, "text/plain"
	_, err = c.PutObject(t.Context(), p)
	must(t, err)
	if got := garbage(t, c); len(got) != 0 {
		t.Errorf("garbage %v of a shared blob", got)
	}
	live, err := c.BlobsLive(t.Context(), []placement.BlobID{a.ID, b.ID, {0xff, 0xff}})
	must(t, err)
	if !live[0] || live[1] || live[2] {
		t.Errorf("live %v", live)
	}
	remove(t, c, "key", nil)
	if got := garbage(t, c); len(got) != 1 || !got[a.ID] {
		t.Errorf("garbage %v", got)
	}
	_, err = c.PutObject(t.Context(), p)
	wantErr(t, err, meta.ErrNoSuchKey)
	p.Shared, p.Version.Blobs, p.Started = false, []meta.Blob{b}, time.Now().Add(-2*meta.MaxBlobAge).UnixMilli()
	_, err = c.PutObject(t.Context(), p)
	wantErr(t, err, meta.ErrBlobExpired)
	p.Started, p.Version.Size = 0, 5
	_, err = c.PutObject(t.Context(), p)
	wantErr(t, err, meta.ErrFormat)
}

func testTags(t *testing.T, open Open) {
	c := newClient(t, open, meta.VersioningEnabled)
	id := put(t, c, "key", "one").Version
	put(t, c, "key", "two")
	for _, version := range []*meta.VersionID{nil, &id} {
		tags := map[string]string{"a": fmt.Sprint(version)}
		_, err := c.SetTags(t.Context(), bucket, "key", version, tags)
		must(t, err)
		v, err := c.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: "key", Version: version})
		must(t, err)
		if v.Headers.Tags["a"] != tags["a"] {
			t.Errorf("tags %v", v.Headers.Tags)
		}
	}
	_, err := c.SetTags(t.Context(), bucket, "none", nil, nil)
	wantErr(t, err, meta.ErrNoSuchKey)
}

func testClusterMap(t *testing.T, open Open) {
	c := open(t)
	ctx := context.Background()
	if m, err := c.ClusterMap(ctx); m != nil || err != nil {
		t.Fatal(m, err)
	}
	m, err := placement.Birth(placement.ClusterID{1}, 64, 1, 0, []placement.Drive{{ID: placement.DriveID{1}, Weight: 1}})
	must(t, err)
	must(t, c.SetClusterMap(ctx, m))
	must(t, c.SetClusterMap(ctx, m))
	next, err := m.With(placement.AddDrive{Drive: placement.Drive{ID: placement.DriveID{2}, Weight: 1}})
	must(t, err)
	must(t, c.SetClusterMap(ctx, next))
	wantErr(t, c.SetClusterMap(ctx, m), meta.ErrStaleEpoch)
	got, err := c.ClusterMap(ctx)
	must(t, err)
	if got.Epoch != next.Epoch || len(got.Drives) != 2 {
		t.Errorf("got epoch %d", got.Epoch)
	}
}

func testBucketConsistency(t *testing.T, open Open) {
	c := newClient(t, open, meta.VersioningEnabled)
	ctx := t.Context()
	must(t, c.CreateBucket(ctx, meta.Bucket{Name: "stale", Consistency: meta.Eventual}))
	b, err := c.Bucket(ctx, "stale", meta.Linearizable)
	if must(t, err); b.Consistency != meta.Eventual {
		t.Errorf("a bucket made for eventual reads has %d", b.Consistency)
	}
	for i := range 8 { // of several groups
		put(t, c, fmt.Sprint("key", i), "body")
	}
	for _, want := range []meta.Consistency{meta.Eventual, meta.Linearizable} {
		must(t, c.SetConsistency(ctx, bucket, want))
		if b, err := c.Bucket(ctx, bucket, meta.Linearizable); err != nil || b.Consistency != want || b.Versioning != meta.VersioningEnabled {
			t.Errorf("bucket %+v, %v, want consistency %d", b, err, want)
		}
		for i := range 8 {
			v, err := c.Object(ctx, meta.GetObject{Bucket: bucket, Key: fmt.Sprint("key", i)})
			if err != nil || v.BucketConsistency != want {
				t.Errorf("a version tells consistency %d, %v, want %d", v.BucketConsistency, err, want)
			}
		}
	}
	wantErr(t, c.SetConsistency(ctx, "nowhere", meta.Eventual), meta.ErrNoSuchBucket)
}
