package gateway

import (
	"strings"
	"testing"

	"kintsugi/meta"
)

func TestQuirk76Attributes(t *testing.T) {
	s := withVersions(t)
	version := s.put("/bucket/key", "hello", "X-Amz-Storage-Class", "STANDARD_IA").header.Get("x-amz-version-id")
	const all = "ETag, Checksum,ObjectParts,StorageClass,ObjectSize"
	s.get("/bucket/key?attributes").want(400, "InvalidRequest")
	s.get("/bucket/key?attributes", "X-Amz-Object-Attributes", "ETag,Size").want(400, "InvalidArgument")
	s.get("/bucket/none?attributes", "X-Amz-Object-Attributes", all).want(404, "NoSuchKey")
	a := s.get("/bucket/key?attributes", "X-Amz-Object-Attributes", all).want(200, "").wantHeader("x-amz-version-id", version)
	for name, want := range map[string]string{
		"ETag": "5d41402abc4b2a76b9719d911017c592", "ChecksumCRC64NVME": "M3eFcAZSQlc=", "ChecksumType": "FULL_OBJECT",
		"StorageClass": "STANDARD_IA", "ObjectSize": "5", "PartsCount": "",
	} {
		if got := a.element(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if a.header.Get("Last-Modified") == "" {
		t.Error("no Last-Modified")
	}
	a = s.get("/bucket/key?attributes", "X-Amz-Object-Attributes", "ETag", "X-Amz-Object-Attributes", "ObjectSize").want(200, "") // as the Go SDK sends it
	if a.element("ETag") == "" || a.element("ObjectSize") != "5" || a.element("StorageClass") != "" {
		t.Errorf("two lines: %s", a.body)
	}
	marker := s.del("/bucket/key").header.Get("x-amz-version-id")
	s.get("/bucket/key?attributes", "X-Amz-Object-Attributes", all).want(404, "NoSuchKey").wantHeader("x-amz-delete-marker", "true")
	s.get("/bucket/key?attributes&versionId="+marker, "X-Amz-Object-Attributes", all).want(405, "MethodNotAllowed")
	s.get("/bucket/key?attributes&versionId="+version, "X-Amz-Object-Attributes", all).want(200, "")
}

func TestQuirk76Parts(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key", "X-Amz-Checksum-Algorithm", "SHA256")
	parts := []string{s.part("/bucket/key", id, 1, minPart), s.part("/bucket/key", id, 4, "x")}
	s.complete("/bucket/key", id, parts).want(200, "")
	ask := func(headers ...string) *answer {
		t.Helper()
		return s.get("/bucket/key?attributes", append([]string{"X-Amz-Object-Attributes", "ObjectParts,Checksum"}, headers...)...)
	}
	a := ask().want(200, "")
	if strings.Join(a.elements("PartNumber"), " ") != "1 4" || a.element("PartsCount") != "2" || a.element("IsTruncated") != "false" ||
		!strings.HasSuffix(a.element("Checksum", "ChecksumSHA256"), "-2") || a.element("Checksum", "ChecksumType") != "COMPOSITE" {
		t.Errorf("all: %s", a.body)
	}
	if got := a.elements("ChecksumSHA256"); got[len(got)-1] != crcOf(meta.SHA256, "x") {
		t.Errorf("checksums %v", got)
	}
	a = ask("X-Amz-Max-Parts", "1").want(200, "")
	if a.element("PartNumber") != "1" || a.element("IsTruncated") != "true" || a.element("NextPartNumberMarker") != "1" {
		t.Errorf("first page: %s", a.body)
	}
	a = ask("X-Amz-Max-Parts", "1", "X-Amz-Part-Number-Marker", "1").want(200, "")
	if a.element("PartNumber") != "4" || a.element("IsTruncated") != "false" {
		t.Errorf("second page: %s", a.body)
	}
	ask("X-Amz-Max-Parts", "x").want(400, "InvalidArgument")
	ask("X-Amz-Part-Number-Marker", "-1").want(400, "InvalidArgument")
}
