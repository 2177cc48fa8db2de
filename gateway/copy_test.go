package gateway

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kintsugi/meta"
	"kintsugi/placement"
)

// copyTo copies source, as the header has it, to target.
func (s *testServer) copyTo(target, source string, headers ...string) *answer {
	s.t.Helper()
	return s.do(http.MethodPut, target, "", append([]string{"X-Amz-Copy-Source", source}, headers...)...)
}

// TestCopySizes copies what is kept with the metadata and what is kept on the drives.
func TestCopySizes(t *testing.T) {
	s := withBucket(t)
	for _, body := range []string{"", "small", pattern(16 << 10), pattern(16<<10 + 1), pattern(300_001)} {
		etag := s.put("/bucket/source", body, "Content-Type", "text/plain", "X-Amz-Meta-A", "b", "X-Amz-Tagging", "k=v").header.Get("ETag")
		a := s.copyTo("/bucket/copy", "/bucket/source").want(200, "")
		if a.element("ETag") != etag || !strings.HasSuffix(a.element("LastModified"), "Z") || a.element("ChecksumCRC64NVME") != crcOf(meta.CRC64NVME, body) {
			t.Errorf("%d bytes: %s", len(body), a.body)
		}
		s.del("/bucket/source").want(204, "")
		s.get("/bucket/copy").want(200, "").wantBody(body).wantHeader("ETag", etag).wantHeader("Content-Type", "text/plain").
			wantHeader("x-amz-meta-a", "b").wantHeader("x-amz-tagging-count", "1")
	}
	s.copyTo("/nobucket/key", "bucket/copy").want(404, "NoSuchBucket")
	s.copyTo("/bucket/key", "nobucket/copy").want(404, "NoSuchBucket")
	s.copyTo("/bucket/key", "bucket/nothing").want(404, "NoSuchKey")
}

func TestQuirk102CopySource(t *testing.T) {
	s := withVersions(t)
	s.put("/bucket/a%20b%2B%3F%2525", "special")
	old := s.put("/bucket/key", "old").header.Get("x-amz-version-id")
	s.put("/bucket/key", "new")
	for _, tc := range []struct {
		source, body string
		status       int
		code         string
	}{
		{"bucket/key", "new", 200, ""},
		{"/bucket/key", "new", 200, ""},
		{"/bucket%2Fkey", "new", 200, ""},
		{"/bucket/key?versionId=" + old, "old", 200, ""},
		{"/bucket/a%20b%2B%3F%2525", "special", 200, ""},
		{"/bucket/a%20b+%3F%2525", "special", 200, ""},
		{"/bucket/a%20b%2B%3F%25", "", 404, "NoSuchKey"}, // not decoded twice
		{"/bucket/%zz", "", 400, "InvalidArgument"},
		{"/bucket/%ff", "", 400, "InvalidArgument"},
		{"/bucket/", "", 400, "InvalidArgument"},
		{"/", "", 400, "InvalidArgument"},
		{"bucket", "", 400, "InvalidArgument"},
		{"/bucket/" + strings.Repeat("k", 1025), "", 400, "InvalidArgument"},
		{"/bucket/key?versionId=x", "", 400, "InvalidArgument"},
		{"/bucket/../bucket/key", "", 404, "NoSuchKey"},
		{"/../bucket/key", "", 404, "NoSuchBucket"},
	} {
		t.Run(tc.source[:min(len(tc.source), 40)], func(t *testing.T) {
			s.copyTo("/bucket/copy", tc.source).want(tc.status, tc.code)
			if tc.status == 200 {
				s.get("/bucket/copy").want(200, "").wantBody(tc.body)
			}
		})
	}
	s.copyTo("/bucket/copy", "bucket/key?versionId="+old).want(200, "").wantHeader("x-amz-copy-source-version-id", old)
}

func TestQuirk103SelfCopy(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	s.copyTo("/bucket/key", "bucket/key").want(400, "InvalidRequest")
	s.copyTo("/bucket/key", "bucket/key", "X-Amz-Metadata-Directive", "COPY").want(400, "InvalidRequest")
	s.copyTo("/bucket/key", "bucket/key", "X-Amz-Storage-Class", "STANDARD_IA").want(200, "")
	s.head("/bucket/key").want(200, "").wantHeader("x-amz-storage-class", "STANDARD_IA")
}

// TestQuirk103OldVersion: copying an old version onto its own key brings it back.
func TestQuirk103OldVersion(t *testing.T) {
	s := withVersions(t)
	for _, size := range []int{10, 100_000} {
		body := pattern(size)
		old := s.put("/bucket/key", body).header.Get("x-amz-version-id")
		s.put("/bucket/key", "new")
		id := s.copyTo("/bucket/key", "bucket/key?versionId="+old).want(200, "").header.Get("x-amz-version-id")
		if id == "" || id == old {
			t.Errorf("version %q", id)
		}
		s.del("/bucket/key?versionId="+old).want(204, "") // the blobs stay: two versions had them
		s.get("/bucket/key").want(200, "").wantBody(body)
	}
}

func TestQuirk104ReplaceMetadata(t *testing.T) {
	s := withBucket(t)
	for _, size := range []int{5, 200_000} {
		body := pattern(size)
		etag := s.put("/bucket/key", body, "Content-Type", "text/plain", "X-Amz-Meta-A", "1", "X-Amz-Tagging", "k=v").header.Get("ETag")
		shards := s.cluster.shards(t)
		s.copyTo("/bucket/key", "/bucket/key", "X-Amz-Metadata-Directive", "REPLACE", "Content-Type", "text/html", "X-Amz-Meta-B", "2").want(200, "")
		s.get("/bucket/key").want(200, "").wantBody(body).wantHeader("ETag", etag).wantHeader("Content-Type", "text/html").
			wantHeader("x-amz-meta-b", "2").wantHeader("x-amz-meta-a", "").wantHeader("x-amz-tagging-count", "1")
		if got := s.cluster.shards(t); got != shards {
			t.Errorf("a change of metadata made %d shards of %d", got, shards)
		}
	}
}

// TestQuirk104Race changes metadata while one client writes: none of its writes may be undone.
func TestQuirk104Race(t *testing.T) {
	s := withBucket(t)
	for _, size := range []int{10, 20_000} {
		s.put("/bucket/key", pattern(size))
		done := make(chan struct{})
		var copiers sync.WaitGroup
		for range 4 {
			copiers.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						r := s.request("PUT", "/bucket/key", "", "x-amz-copy-source", "/bucket/key", "x-amz-metadata-directive", "REPLACE")
						s.sign(r, "")
						if got := s.send(r); got.status != 200 && got.code() != "OperationAborted" {
							t.Errorf("copy: %d %s", got.status, got.body)
						}
					}
				}
			})
		}
		for i := range 40 {
			body := pattern(size) + strconv.Itoa(i)
			s.put("/bucket/key", body)
			s.get("/bucket/key").want(200, "").wantBody(body)
		}
		close(done)
		copiers.Wait()
	}
}

func TestQuirk105Directives(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x", "X-Amz-Tagging", "a=1&b=2")
	s.copyTo("/bucket/copy", "bucket/key", "X-Amz-Metadata-Directive", "KEEP").want(400, "InvalidArgument")
	s.copyTo("/bucket/copy", "bucket/key", "X-Amz-Tagging-Directive", "keep").want(400, "InvalidArgument")
	s.copyTo("/bucket/copy", "bucket/key", "X-Amz-Tagging", "c=3").want(200, "")
	s.head("/bucket/copy").wantHeader("x-amz-tagging-count", "2") // COPY is the default
	s.copyTo("/bucket/copy", "bucket/key", "X-Amz-Tagging-Directive", "REPLACE", "X-Amz-Tagging", "c=3").want(200, "")
	s.head("/bucket/copy").wantHeader("x-amz-tagging-count", "1")
	s.copyTo("/bucket/key", "bucket/key", "X-Amz-Tagging-Directive", "REPLACE").want(200, "")
	s.head("/bucket/key").wantHeader("x-amz-tagging-count", "")
}

func TestQuirk106SourceSize(t *testing.T) {
	if err := checkSourceSize(5 << 30); err != nil {
		t.Errorf("5 GiB: %v", err)
	}
	answer := answerTo(checkSourceSize(5<<30 + 1))
	if answer.Code != "InvalidRequest" || !strings.HasSuffix(answer.Message, "maximum allowable size for a copy source: 5368709120") {
		t.Errorf("more: %v", answer)
	}
}

func TestQuirk107PartCopyRange(t *testing.T) {
	s := withBucket(t)
	body := pattern(100_000)
	s.put("/bucket/source", body)
	id := s.openUpload("/bucket/key")
	target := partTarget("/bucket/key", id, 1)
	for _, bad := range []string{"bytes=0-", "bytes=-5", "0-5", "bytes=5-4", "bytes=a-b", "bytes=0-1,3-4", "bytes=0-100000", "bytes=100000-100001", ""} {
		if got := s.copyTo(target, "bucket/source", "X-Amz-Copy-Source-Range", bad); got.status != 400 || got.code() != "InvalidArgument" {
			t.Errorf("%q: %d %s", bad, got.status, got.code())
		}
	}
	a := s.copyTo(target, "bucket/source", "X-Amz-Copy-Source-Range", "bytes=7-99999").want(200, "")
	if a.element("ETag") == "" || a.element("LastModified") == "" || a.element("ChecksumCRC64NVME") != crcOf(meta.CRC64NVME, body[7:]) {
		t.Errorf("answer %s", a.body)
	}
	s.complete("/bucket/key", id, []string{listPart(1, a.element("ETag"))}).want(200, "")
	s.get("/bucket/key").want(200, "").wantBody(body[7:])

	s.copyTo(partTarget("/bucket/key", "nothing", 1), "bucket/source").want(404, "NoSuchUpload")
	s.copyTo(partTarget("/bucket/key", id, 0), "bucket/source").want(400, "InvalidArgument")
}

// TestPartCopies makes parts of a small and of a whole object, and copies what they make.
func TestPartCopies(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/big", minPart)
	s.put("/bucket/small", "tail")
	id := s.openUpload("/bucket/key", "X-Amz-Checksum-Algorithm", "CRC32C", "X-Amz-Checksum-Type", "FULL_OBJECT")
	one := s.copyTo(partTarget("/bucket/key", id, 1), "bucket/big").want(200, "")
	two := s.copyTo(partTarget("/bucket/key", id, 2), "bucket/small").want(200, "")
	a := s.complete("/bucket/key", id, []string{listPart(1, one.element("ETag")), listPart(2, two.element("ETag"))}).want(200, "")
	if got := a.element("ChecksumCRC32C"); got != crcOf(meta.CRC32C, minPart+"tail") {
		t.Errorf("checksum %s", got)
	}
	etag := s.get("/bucket/key").want(200, "").wantBody(minPart + "tail").header.Get("ETag")
	if etag != wantETag(t, minPart, "tail") {
		t.Errorf("ETag %s", etag)
	}
	// A copy elsewhere is one piece; a change of metadata leaves parts and ETag as they are.
	plain := s.put("/bucket/plain", minPart+"tail").header.Get("ETag")
	if got := s.copyTo("/bucket/copy", "bucket/key").want(200, "").element("ETag"); got != plain {
		t.Errorf("copy: ETag %s, want %s", got, plain)
	}
	s.copyTo("/bucket/key", "bucket/key", "X-Amz-Metadata-Directive", "REPLACE").want(200, "")
	s.get("/bucket/key?partNumber=2").want(206, "").wantBody("tail").wantHeader("ETag", etag)
}

func TestQuirk108MarkerAsSource(t *testing.T) {
	s := withVersions(t)
	s.put("/bucket/key", "x")
	marker := s.del("/bucket/key").want(204, "").header.Get("x-amz-version-id")
	s.copyTo("/bucket/copy", "bucket/key").want(404, "NoSuchKey")
	s.copyTo("/bucket/copy", "bucket/key?versionId="+marker).want(400, "InvalidRequest")
}

// TestQuirk58SourceConditions: whatever condition fails, a copy answers 412.
func TestQuirk58SourceConditions(t *testing.T) {
	s := withBucket(t)
	etag := s.put("/bucket/key", "x").header.Get("ETag")
	past := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	future := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	const prefix = "X-Amz-Copy-Source-"
	for _, tc := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"match", []string{prefix + "If-Match", etag}, 200},
		{"no match", []string{prefix + "If-Match", `"0"`}, 412},
		{"none match", []string{prefix + "If-None-Match", `"0"`}, 200},
		{"row 58: none match hit", []string{prefix + "If-None-Match", etag}, 412},
		{"modified", []string{prefix + "If-Modified-Since", past}, 200},
		{"not modified", []string{prefix + "If-Modified-Since", future}, 412},
		{"unmodified", []string{prefix + "If-Unmodified-Since", future}, 200},
		{"not unmodified", []string{prefix + "If-Unmodified-Since", past}, 412},
		{"match outweighs the date", []string{prefix + "If-Match", etag, prefix + "If-Unmodified-Since", past}, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code := map[int]string{412: "PreconditionFailed"}[tc.status]
			s.copyTo("/bucket/copy", "bucket/key", tc.headers...).want(tc.status, code)
			id := s.openUpload("/bucket/parts")
			s.copyTo(partTarget("/bucket/parts", id, 1), "bucket/key", tc.headers...).want(tc.status, code)
		})
	}
}

func TestQuirk46CopyConditions(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	etag := s.put("/bucket/there", pattern(50_000)).header.Get("ETag")
	s.copyTo("/bucket/there", "bucket/key", "If-None-Match", "*").want(412, "PreconditionFailed")
	s.copyTo("/bucket/there", "bucket/key", "If-Match", `"0"`).want(412, "PreconditionFailed")
	s.copyTo("/bucket/none", "bucket/key", "If-Match", etag).want(404, "NoSuchKey")
	s.copyTo("/bucket/none", "bucket/there", "If-None-Match", "*").want(200, "")
	s.copyTo("/bucket/there", "bucket/key", "If-Match", etag).want(200, "")
	s.get("/bucket/there").want(200, "").wantBody("x")
}

func TestQuirk38CopyChecksum(t *testing.T) {
	s := withBucket(t)
	for _, body := range []string{"small", pattern(50_000)} {
		s.put("/bucket/key", body, "X-Amz-Checksum-Sha256", crcOf(meta.SHA256, body))
		a := s.copyTo("/bucket/copy", "bucket/key").want(200, "")
		if got := a.element("ChecksumSHA256"); got != crcOf(meta.SHA256, body) {
			t.Errorf("kept: %s", a.body)
		}
		s.copyTo("/bucket/copy", "bucket/key", "X-Amz-Checksum-Algorithm", "CRC32C").want(200, "")
		s.head("/bucket/copy", "X-Amz-Checksum-Mode", "ENABLED").wantHeader("x-amz-checksum-crc32c", crcOf(meta.CRC32C, body))
		s.copyTo("/bucket/key", "bucket/key", "X-Amz-Checksum-Algorithm", "CRC32").want(200, "")
		s.get("/bucket/key", "X-Amz-Checksum-Mode", "ENABLED").wantBody(body).wantHeader("x-amz-checksum-crc32", crcOf(meta.CRC32, body))
	}
	s.copyTo("/bucket/copy", "bucket/key", "X-Amz-Checksum-Algorithm", "MD4").want(400, "InvalidRequest")
}

func TestQuirk27SourceOwner(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	s.copyTo("/bucket/copy", "bucket/key", "X-Amz-Source-Expected-Bucket-Owner", "someone").want(403, "AccessDenied")
	s.copyTo("/bucket/copy", "bucket/key", "X-Amz-Source-Expected-Bucket-Owner", testOwner).want(200, "")
}

func FuzzCopySource(f *testing.F) {
	f.Add("/bucket/key?versionId=null")
	f.Add("bucket%2Fa%20b")
	f.Add("/%zz?versionId=%00")
	f.Fuzz(func(t *testing.T, header string) {
		s, err := parseCopySource(header)
		if err != nil {
			if answerTo(err).Status >= 500 {
				t.Fatalf("%q is an internal error: %v", header, err)
			}
			return
		}
		if !validBucketName(s.bucket) || s.key == "" || len(s.key) > maxKeyBytes {
			t.Fatalf("%q names %q, %q", header, s.bucket, s.key)
		}
		// The same path in a request line names the same bucket and key.
		path, _, _ := strings.Cut(header, "?")
		if want, err := parseTarget("/"+strings.TrimPrefix(path, "/"), "host", nil); err == nil && !strings.Contains(header, "?") && !strings.Contains(strings.ToLower(header), "%2f") &&
			(want.bucket != s.bucket || want.key != s.key) {
			t.Fatalf("%q: %q %q, as a target %q %q", header, s.bucket, s.key, want.bucket, want.key)
		}
	})
}

// TestDrivesLost: with m drives gone copies and parts succeed; with more, what cannot be read is a
// 503 and leaves nothing behind, never a shorter copy.
func TestDrivesLost(t *testing.T) {
	s := withBucket(t)
	body := pattern(1 << 20)
	s.put("/bucket/key", body)
	id := s.openUpload("/bucket/parts")
	lose := func(drives ...byte) {
		for _, n := range drives {
			s.cluster.drives[placement.DriveID{n}].Fail()
		}
	}
	lose(1, 4)
	s.copyTo("/bucket/copy", "bucket/key").want(200, "")
	s.get("/bucket/copy").want(200, "").wantBody(body)
	part := s.copyTo(partTarget("/bucket/parts", id, 1), "bucket/key").want(200, "")
	s.put(partTarget("/bucket/parts", id, 2), "tail")
	lose(2)
	s.copyTo("/bucket/never", "bucket/key").want(503, "ServiceUnavailable")
	s.copyTo(partTarget("/bucket/parts", id, 3), "bucket/key").want(503, "ServiceUnavailable")
	s.head("/bucket/never").want(404, "")
	s.copyTo("/bucket/key", "bucket/key", "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-A", "b").want(200, "") // moves no bytes
	a := s.get("/bucket/parts?uploadId="+id).want(200, "")
	if got := strings.Join(a.elements("PartNumber"), " "); got != "1 2" {
		t.Errorf("parts %s", got)
	}
	s.complete("/bucket/parts", id, []string{listPart(1, part.element("ETag"))}).want(200, "")
	lose(3, 5, 6)
	id = s.openUpload("/bucket/parts")
	s.do("PUT", partTarget("/bucket/parts", id, 1), "x").want(503, "ServiceUnavailable")
}
