package gateway

import (
	"slices"
	"strings"
	"testing"
)

// withVersions starts a server with a versioned bucket.
func withVersions(t testing.TB) *testServer {
	s := withBucket(t)
	s.put("/bucket?versioning", versioningBody("Enabled"))
	return s
}

func TestQuirk91Versions(t *testing.T) {
	s := withVersions(t)
	var ids []string
	for _, body := range []string{"1", "2", "3"} {
		ids = append(ids, s.put("/bucket/key", body).header.Get("x-amz-version-id"))
	}
	marker := s.del("/bucket/key").want(204, "").header.Get("x-amz-version-id")
	s.put("/bucket/other", "x")
	page := s.get("/bucket?versions").want(200, "")
	slices.Reverse(ids)
	if got := page.elements("VersionId"); !slices.Equal(got[:4], append([]string{marker}, ids...)) {
		t.Errorf("got %v, want %s before %v", got, marker, ids)
	}
	if got := strings.Join(page.elements("IsLatest"), " "); got != "true false false false true" {
		t.Errorf("IsLatest %s", got)
	}
	if got := len(page.elements("DeleteMarker")); strings.Count(page.body, "<DeleteMarker>") != 1 {
		t.Errorf("%d delete markers", got)
	}
	var got []string
	key, version := "", ""
	for range 10 {
		target := "/bucket?versions&max-keys=1&key-marker=" + key
		if version != "" {
			target += "&version-id-marker=" + version
		}
		page := s.get(target).want(200, "")
		got = append(got, page.elements("VersionId")...)
		if key, version = page.element("NextKeyMarker"), page.element("NextVersionIdMarker"); key == "" {
			break
		}
	}
	if !slices.Equal(got, page.elements("VersionId")) {
		t.Errorf("in pages of one: %v, at once: %v", got, page.elements("VersionId"))
	}
	s.get("/bucket?versions&version-id-marker="+marker).want(400, "InvalidArgument")
	s.get("/bucket?versions&key-marker=key&version-id-marker=x").want(400, "InvalidArgument")
}

func TestQuirk142CurrentMarker(t *testing.T) {
	s := withVersions(t)
	id := s.put("/bucket/key", "x").header.Get("x-amz-version-id")
	gone := s.del("/bucket/key").want(204, "").wantHeader("x-amz-delete-marker", "true")
	marker := gone.header.Get("x-amz-version-id")
	s.get("/bucket/key").want(404, "NoSuchKey").wantHeader("x-amz-delete-marker", "true").wantHeader("x-amz-version-id", marker)
	s.head("/bucket/key").want(404, "").wantHeader("x-amz-delete-marker", "true")
	s.get("/bucket/key?versionId="+id).want(200, "").wantBody("x").wantHeader("x-amz-version-id", id)
	s.del("/bucket/key?versionId="+marker).want(204, "").wantHeader("x-amz-delete-marker", "true").wantHeader("x-amz-version-id", marker)
	s.get("/bucket/key").want(200, "").wantBody("x")
}

func TestQuirk143NamedMarker(t *testing.T) {
	s := withVersions(t)
	s.put("/bucket/key", "x")
	marker := s.del("/bucket/key").header.Get("x-amz-version-id")
	s.get("/bucket/key?versionId="+marker).want(405, "MethodNotAllowed").wantHeader("Allow", "DELETE").wantHeader("x-amz-delete-marker", "true")
	s.head("/bucket/key?versionId="+marker).want(405, "").wantHeader("Allow", "DELETE")
}

func TestQuirk144NullVersions(t *testing.T) {
	s := withBucket(t)
	if got := s.put("/bucket/key", "x").header.Get("x-amz-version-id"); got != "" {
		t.Errorf("an unversioned bucket told the version %q", got)
	}
	if got := s.get("/bucket?versions").elements("VersionId"); !slices.Equal(got, []string{"null"}) {
		t.Errorf("versions %v", got)
	}
	s.get("/bucket/key?versionId=null").want(200, "").wantBody("x").wantHeader("x-amz-version-id", "null")
	s.get("/bucket/key?versionId=bad").want(400, "InvalidArgument")
	s.get("/bucket/key?versionId=00000000000000aa").want(404, "NoSuchVersion")
	s.get("/bucket/key").want(200, "").wantHeader("x-amz-version-id", "")
	s.put("/bucket?versioning", versioningBody("Suspended"))
	s.get("/bucket/key").want(200, "").wantBody("x").wantHeader("x-amz-version-id", "null")
	s.put("/bucket/key", "y").wantHeader("x-amz-version-id", "null")
	for _, target := range []string{"/bucket/key", "/bucket/key?tagging"} {
		s.get(target).want(200, "").wantHeader("x-amz-version-id", "null")
	}
	s.head("/bucket/key").want(200, "").wantHeader("x-amz-version-id", "null")
	s.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "/bucket/key").want(200, "").wantHeader("x-amz-copy-source-version-id", "null")
}

func TestQuirk145VersionIDs(t *testing.T) {
	s := withVersions(t)
	first := s.put("/bucket/key", "1").header.Get("x-amz-version-id")
	second := s.put("/bucket/key", pattern(100_000)).header.Get("x-amz-version-id")
	if first == "" || second == "" || first == second {
		t.Fatalf("versions %q and %q", first, second)
	}
	s.get("/bucket/key").want(200, "").wantHeader("x-amz-version-id", second).wantBody(pattern(100_000))
	s.del("/bucket/key?versionId="+second).want(204, "").wantHeader("x-amz-version-id", second)
	s.get("/bucket/key").want(200, "").wantHeader("x-amz-version-id", first).wantBody("1")
}
