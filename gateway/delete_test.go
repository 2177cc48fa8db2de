package gateway

import (
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// deleteMany calls DeleteObjects with a Content-MD5.
func (s *testServer) deleteMany(body string) *answer {
	s.t.Helper()
	sum := md5.Sum([]byte(body))
	return s.do("POST", "/bucket?delete", body, "Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
}

func deleteBody(quiet bool, keys ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<Delete><Quiet>%v</Quiet>", quiet)
	for _, key := range keys {
		fmt.Fprintf(&b, "<Object><Key>%s</Key></Object>", key)
	}
	return b.String() + "</Delete>"
}

func TestQuirk54To56DeleteConditions(t *testing.T) {
	s := withBucket(t)
	etag := s.put("/bucket/key", "x").header.Get("ETag")
	s.del("/bucket/key", "If-Match", `"other"`).want(412, "PreconditionFailed")      // 54
	s.del("/bucket/missing", "If-Match", etag).want(404, "NoSuchKey")                // 55
	s.del("/bucket/key", "x-amz-if-match-size", "2").want(412, "PreconditionFailed") // 56
	s.del("/bucket/key", "x-amz-if-match-last-modified-time", "Thu, 01 Dec 1994 16:00:00 GMT").want(412, "PreconditionFailed")
	s.del("/bucket/key", "x-amz-if-match-size", "x").want(400, "InvalidArgument")
	s.get("/bucket/key").want(200, "")
	s.del("/bucket/key", "If-Match", etag, "x-amz-if-match-size", "1").want(204, "")
	s.get("/bucket/key").want(404, "NoSuchKey")
}

func TestQuirk57DeleteManyWithETag(t *testing.T) {
	s := withBucket(t)
	etag := strings.Trim(s.put("/bucket/a", "x").header.Get("ETag"), `"`)
	s.put("/bucket/b", "y")
	got := s.deleteMany("<Delete><Object><Key>a</Key><ETag>&quot;"+etag+"&quot;</ETag></Object><Object><Key>b</Key><ETag>other</ETag></Object></Delete>").want(200, "")
	if got.element("Key") != "a" || !strings.Contains(got.body, "<Error><Key>b</Key><Code>PreconditionFailed</Code>") {
		t.Errorf("got %s", got.body)
	}
	s.get("/bucket/b").want(200, "")
}

func TestQuirk123DeleteMissing(t *testing.T) {
	s := withBucket(t)
	s.del("/bucket/missing").want(204, "")
	s.del("/bucket/missing?versionId=null").want(204, "")
	s.del("/bucket/missing?versionId=bad").want(400, "InvalidArgument")
	s.del("/nowhere/key").want(404, "NoSuchBucket")
}

func TestQuirk124DeleteManyNeedsDigest(t *testing.T) {
	s := withBucket(t)
	body := deleteBody(false, "a")
	s.do("POST", "/bucket?delete", body).want(400, "InvalidRequest")
	s.deleteMany(body).want(200, "")
	s.do("POST", "/bucket?delete", "<Delete><Object><Key>abc</Key></Object></Delete>", "x-amz-checksum-crc32", "AAAAAA==").want(400, "BadDigest")
	s.do("POST", "/bucket?delete", body, "Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==").want(400, "BadDigest")
}

func TestQuirk125DeleteManyBounds(t *testing.T) {
	s := withBucket(t)
	s.deleteMany("<Delete></Delete>").want(400, "MalformedXML")
	s.deleteMany("<Delete><Object></Object></Delete>").want(200, "") // an error for the one key
	s.deleteMany("x").want(400, "MalformedXML")
	keys := make([]string, 1001)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	s.deleteMany(deleteBody(false, keys...)).want(400, "MalformedXML")
	if got := s.deleteMany(deleteBody(false, keys[:1000]...)).want(200, ""); len(got.elements("Key")) != 1000 {
		t.Errorf("%d keys", len(got.elements("Key")))
	}
}

func TestQuirk126Quiet(t *testing.T) {
	s := withBucket(t)
	s.fill("a", "b")
	if got := s.deleteMany(deleteBody(true, "a", "missing")).want(200, ""); len(got.elements("Key")) != 0 {
		t.Errorf("got %s", got.body)
	}
	if got := s.deleteMany(deleteBody(false, "b", "missing")).elements("Key"); !slices.Equal(got, []string{"b", "missing"}) {
		t.Errorf("got %v", got)
	}
	if got, _ := s.pages(""); len(got) != 0 {
		t.Errorf("left %v", got)
	}
}

func TestQuirk127DeleteManyEscapes(t *testing.T) {
	s := withBucket(t)
	keys := []string{" a ", "a&b<c>", "line\rbreak", "ü"}
	s.fill(keys...)
	got := s.deleteMany(deleteBody(false, " a ", "a&amp;b&lt;c&gt;", "line&#13;break", "ü")).want(200, "")
	if !slices.Equal(got.elements("Key"), keys) {
		t.Errorf("got %q", got.elements("Key"))
	}
	if got, _ := s.pages(""); len(got) != 0 {
		t.Errorf("left %q", got)
	}
}

func TestDeleteManyVersions(t *testing.T) {
	s := withVersions(t)
	id := s.put("/bucket/key", "x").header.Get("x-amz-version-id")
	first := s.deleteMany(deleteBody(false, "key")).want(200, "")
	if first.element("DeleteMarker") != "true" || first.element("DeleteMarkerVersionId") == "" {
		t.Errorf("got %s", first.body)
	}
	body := "<Delete><Object><Key>key</Key><VersionId>" + id + "</VersionId></Object><Object><Key>key</Key><VersionId>x</VersionId></Object></Delete>"
	second := s.deleteMany(body).want(200, "")
	if second.element("VersionId") != id || !strings.Contains(second.body, "<Code>NoSuchVersion</Code>") {
		t.Errorf("got %s", second.body)
	}
}
