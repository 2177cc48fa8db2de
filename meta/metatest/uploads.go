package metatest

import (
	"fmt"
	"testing"

	"kintsugi/meta"
)

type uploadTest struct {
	testing.TB
	c  *meta.Client
	id string
}

func newUpload(t testing.TB, c *meta.Client) *uploadTest {
	t.Helper()
	u, err := c.CreateUpload(t.Context(), bucket, meta.Upload{Key: "key", Headers: meta.Headers{ContentType: "text/plain"}})
	must(t, err)
	return &uploadTest{t, c, u.ID}
}

// part puts a part of size n and returns how it is listed in Complete.
func (u *uploadTest) part(n int, size int64) (meta.CompletedPart, meta.Blob) {
	u.Helper()
	b := blob(u.c, "key", size)
	p := meta.Part{Number: n, Size: size, ETag: fmt.Sprintf("%x", b.ID[:16]), Blobs: []meta.Blob{b}}
	p, err := u.c.PutPart(u.Context(), meta.PutPart{Bucket: bucket, Key: "key", UploadID: u.id, Part: p})
	must(u, err)
	return meta.CompletedPart{Number: n, ETag: p.ETag}, b
}

func (u *uploadTest) complete(minSize int64, parts ...meta.CompletedPart) (meta.Put, error) {
	return u.c.CompleteUpload(u.Context(), meta.CompleteUpload{
		Bucket: bucket, Key: "key", UploadID: u.id, Parts: parts, ETag: "whole", MinPartSize: minSize,
	})
}

func testComplete(t *testing.T, open Open) {
	c := newClient(t, open, meta.VersioningEnabled)
	u := newUpload(t, c)
	one, dropped := u.part(1, 5)
	one2, kept := u.part(1, 6)
	three, _ := u.part(3, 7)
	_, unlisted := u.part(5, 8)
	for _, tc := range []struct {
		name  string
		min   int64
		parts []meta.CompletedPart
		want  error
	}{
		{"none", 0, nil, meta.ErrInvalidPart},
		{"replaced", 0, []meta.CompletedPart{one}, meta.ErrInvalidPart},
		{"missing", 0, []meta.CompletedPart{{Number: 2}}, meta.ErrInvalidPart},
		{"order", 0, []meta.CompletedPart{three, one2}, meta.ErrPartOrder},
		{"twice", 0, []meta.CompletedPart{one2, one2}, meta.ErrPartOrder},
		{"small", 7, []meta.CompletedPart{one2, three}, meta.ErrPartTooSmall},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := u.complete(tc.min, tc.parts...)
			wantErr(t, err, tc.want)
		})
	}
	_, err := c.CompleteUpload(t.Context(), meta.CompleteUpload{
		Bucket: bucket, Key: "key", UploadID: u.id, Parts: []meta.CompletedPart{one2}, Condition: meta.Condition{IfMatch: "x"},
	})
	wantErr(t, err, meta.ErrNoSuchKey)
	first, err := u.complete(6, one2, three)
	must(t, err)
	put(t, c, "key", "newer")
	again, err := u.complete(6, one2, three)
	must(t, err)
	if first.Version != again.Version || first.ETag != again.ETag || first.Modified != again.Modified {
		t.Errorf("first %+v, again %+v", first, again)
	}
	v, err := c.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: "key", Version: &first.Version})
	must(t, err)
	if v.Size != 13 || len(v.Parts) != 2 || len(v.Blobs) != 2 || v.Blobs[0].ID != kept.ID || v.Headers.ContentType != "text/plain" {
		t.Errorf("version %+v", v)
	}
	got := garbage(t, c)
	if len(got) != 2 || !got[dropped.ID] || !got[unlisted.ID] {
		t.Errorf("garbage %v", got)
	}
	_, err = c.PutPart(t.Context(), meta.PutPart{Bucket: bucket, Key: "key", UploadID: u.id, Part: meta.Part{Number: 1}})
	wantErr(t, err, meta.ErrNoSuchUpload)
}

// TestManyParts completes uploads whose parts stay in their pages, with and without unlisted parts.
func testManyParts(t *testing.T, open Open) {
	for _, step := range []int{1, 3} {
		t.Run(fmt.Sprint("every ", step), func(t *testing.T) {
			c := newClient(t, open, meta.Unversioned)
			u := newUpload(t, c)
			var listed []meta.CompletedPart
			size := int64(0)
			for n := 1; n <= 300; n++ {
				p, _ := u.part(n*30, int64(n))
				if n%step == 0 {
					listed = append(listed, p)
					size += int64(n)
				}
			}
			_, err := u.complete(1, listed...)
			must(t, err)
			check := func() {
				t.Helper()
				v, err := c.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: "key"})
				must(t, err)
				if v.Size != size || len(v.Parts) != len(listed) || len(v.Blobs) != len(listed) {
					t.Fatalf("size %d, %d parts, %d blobs", v.Size, len(v.Parts), len(v.Blobs))
				}
			}
			check()
			if got := len(garbage(t, c)); got != 300-len(listed) {
				t.Errorf("%d blobs dropped, want %d", got, 300-len(listed))
			}
			check()
			remove(t, c, "key", nil)
			if got := len(garbage(t, c)); got != len(listed) {
				t.Errorf("%d blobs dropped, want %d", got, len(listed))
			}
		})
	}
}

// TestCopyOfManyParts copies a version of many blobs onto itself.
func testCopyOfManyParts(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	p := meta.PutObject{Bucket: bucket, Key: "key"}
	for n := range 100 {
		p.Version.Blobs = append(p.Version.Blobs, blob(c, "key", 10))
		p.Version.Parts = append(p.Version.Parts, meta.Part{Number: n + 1, Size: 10})
		p.Version.Size += 10
	}
	_, err := c.PutObject(t.Context(), p)
	must(t, err)
	v, err := c.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: "key"})
	must(t, err)
	p.Version, p.Shared = v, true
	_, err = c.PutObject(t.Context(), p)
	must(t, err)
	if got := garbage(t, c); len(got) != 0 {
		t.Errorf("%d shared blobs dropped", len(got))
	}
	v, err = c.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: "key"})
	must(t, err)
	if len(v.Blobs) != 100 || len(v.Parts) != 100 || v.Parts[99].Number != 100 {
		t.Errorf("%d blobs, %d parts", len(v.Blobs), len(v.Parts))
	}
	remove(t, c, "key", nil)
	if got := garbage(t, c); len(got) != 100 {
		t.Errorf("%d blobs dropped, want 100", len(got))
	}
}

// TestCopiedParts completes an upload of few parts with many blobs, as UploadPartCopy makes them.
func testCopiedParts(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	u := newUpload(t, c)
	var listed []meta.CompletedPart
	for n := 1; n <= 2; n++ {
		p := meta.Part{Number: n, ETag: "e"}
		for range 20 {
			p.Blobs = append(p.Blobs, blob(c, "key", 3))
			p.Size += 3
		}
		_, err := c.PutPart(t.Context(), meta.PutPart{Bucket: bucket, Key: "key", UploadID: u.id, Part: p})
		must(t, err)
		listed = append(listed, meta.CompletedPart{Number: n, ETag: "e"})
	}
	_, err := u.complete(0, listed...)
	must(t, err)
	v, err := c.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: "key"})
	must(t, err)
	if len(v.Parts) != 2 || len(v.Blobs) != 40 || v.Size != 120 {
		t.Errorf("%d parts, %d blobs, %d bytes", len(v.Parts), len(v.Blobs), v.Size)
	}
	put(t, c, "key", "new")
	if got := garbage(t, c); len(got) != 40 {
		t.Errorf("%d blobs dropped, want 40", len(got))
	}
}

// TestEmptyPart completes an upload of one part without bytes.
func testEmptyPart(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	u := newUpload(t, c)
	_, err := c.PutPart(t.Context(), meta.PutPart{Bucket: bucket, Key: "key", UploadID: u.id, Part: meta.Part{Number: 1, ETag: "e"}})
	must(t, err)
	_, err = u.complete(5, meta.CompletedPart{Number: 1, ETag: "e"})
	must(t, err)
	v, err := c.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: "key", Body: true})
	must(t, err)
	if v.Size != 0 || len(v.Parts) != 1 || v.Inline {
		t.Errorf("version %+v", v)
	}
}

func testAbortAndParts(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	u := newUpload(t, c)
	for _, n := range []int{40, 1, 33, 32, 10000} {
		u.part(n, int64(n))
	}
	var got []int
	for after, more := 0, true; more; {
		var parts []meta.Part
		var err error
		parts, more, err = c.Parts(t.Context(), bucket, "key", u.id, after, 2)
		must(t, err)
		for _, p := range parts {
			got = append(got, p.Number)
			after = p.Number
		}
	}
	if fmt.Sprint(got) != "[1 32 33 40 10000]" {
		t.Errorf("parts %v", got)
	}
	if _, err := c.Upload(t.Context(), bucket, "key", u.id); err != nil {
		t.Error(err)
	}
	must(t, c.AbortUpload(t.Context(), bucket, "key", u.id))
	wantErr(t, c.AbortUpload(t.Context(), bucket, "key", u.id), meta.ErrNoSuchUpload)
	_, err := c.Upload(t.Context(), bucket, "key", u.id)
	wantErr(t, err, meta.ErrNoSuchUpload)
	_, err = u.complete(0, meta.CompletedPart{Number: 1})
	wantErr(t, err, meta.ErrNoSuchUpload)
	if got := garbage(t, c); len(got) != 5 {
		t.Errorf("%d blobs dropped, want 5", len(got))
	}
}

// testAbortMany: what uploads leave does not wait in line for one another.
func testAbortMany(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	const uploads, parts = 10, 3
	for range uploads {
		u := newUpload(t, c)
		for n := range parts {
			u.part(n+1, 1)
		}
		must(t, c.AbortUpload(t.Context(), bucket, "key", u.id))
	}
	dropped := 0
	for group := range c.Groups() {
		list, err := c.Garbage(t.Context(), group, 100)
		must(t, err)
		dropped += len(list)
	}
	if dropped != uploads*parts {
		t.Errorf("%d blobs can be removed at once, want %d", dropped, uploads*parts)
	}
}

func testListUploads(t *testing.T, open Open) {
	c := newClient(t, open, meta.Unversioned)
	var want []string
	for _, key := range []string{"a", "a", "b/1", "b/2", "c"} {
		u, err := c.CreateUpload(t.Context(), bucket, meta.Upload{Key: key})
		must(t, err)
		if key == "a" || key == "c" {
			want = append(want, key+" "+u.ID)
		}
	}
	if want[0] > want[1] {
		want[0], want[1] = want[1], want[0]
	}
	want = append(want[:2:2], "b/", want[2])
	var got []string
	q := meta.ListUploads{Bucket: bucket, Delimiter: "/", Max: 1}
	for {
		page, err := c.Uploads(t.Context(), q)
		must(t, err)
		for _, u := range page.Uploads {
			got = append(got, u.Key+" "+u.ID)
		}
		got = append(got, page.Prefixes...)
		if !page.Truncated {
			break
		}
		q.KeyMarker, q.UploadIDMarker = page.NextKey, page.NextUploadID
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
