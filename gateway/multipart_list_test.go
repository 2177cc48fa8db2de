package gateway

import (
	"slices"
	"strings"
	"testing"

	"kintsugi/meta"
)

func TestListParts(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/a%20key", "X-Amz-Checksum-Algorithm", "CRC32", "X-Amz-Storage-Class", "STANDARD_IA")
	for _, number := range []int{1, 2, 5, 10000} {
		s.part("/bucket/a%20key", id, number, strings.Repeat("x", number%100))
	}
	a := s.get("/bucket/a%20key?uploadId="+id).want(200, "")
	for name, want := range map[string]string{
		"Bucket": "bucket", "Key": "a key", "UploadId": id, "StorageClass": "STANDARD_IA", "ChecksumAlgorithm": "CRC32", "ChecksumType": "COMPOSITE",
		"PartNumberMarker": "0", "MaxParts": "1000", "IsTruncated": "false", "NextPartNumberMarker": "",
	} {
		if got := a.element(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := a.element("Owner", "ID"); got != testOwner {
		t.Errorf("owner %q", got)
	}
	if got := strings.Join(a.elements("PartNumber"), " "); got != "1 2 5 10000" {
		t.Errorf("parts %s", got)
	}
	if got := a.elements("ChecksumCRC32")[0]; got != crcOf(meta.CRC32, "x") {
		t.Errorf("checksum %s", got)
	}
	var pages []string
	marker := ""
	for range 5 {
		a := s.get("/bucket/a%20key?max-parts=2&uploadId="+id+"&part-number-marker="+marker).want(200, "")
		pages = append(pages, strings.Join(a.elements("PartNumber"), " ")+" "+a.element("IsTruncated"))
		if marker = a.element("NextPartNumberMarker"); marker == "" {
			break
		}
	}
	if got := strings.Join(pages, ", "); got != "1 2 true, 5 10000 false" {
		t.Errorf("pages %s", got)
	}
	a = s.get("/bucket/a%20key?max-parts=0&encoding-type=url&uploadId="+id).want(200, "")
	if a.element("IsTruncated") != "false" || len(a.elements("PartNumber")) != 0 || a.element("Key") != "a%20key" {
		t.Errorf("max-parts=0: %s", a.body)
	}
	for _, query := range []string{"max-parts=-1", "max-parts=x", "part-number-marker=-1", "part-number-marker=x"} {
		s.get("/bucket/a%20key?uploadId="+id+"&"+query).want(400, "InvalidArgument")
	}
}

func TestQuirk90ListUploads(t *testing.T) {
	s := withBucket(t)
	var ids []string
	for _, key := range []string{"a", "dir/b", "dir/b", "dir/c", "e"} {
		ids = append(ids, s.openUpload("/bucket/"+key))
	}
	slices.Sort(ids[1:3]) // opened within a millisecond, perhaps
	list := func(query string) *answer {
		t.Helper()
		return s.get("/bucket?uploads&"+query).want(200, "")
	}
	if got := list("").elements("UploadId"); !slices.Equal(got, ids) { // row 89: at once; by key, then by time
		t.Errorf("all: %v, want %v", got, ids)
	}
	if got := list("prefix=dir/").elements("Key"); !slices.Equal(got, []string{"dir/b", "dir/b", "dir/c"}) {
		t.Errorf("prefix: %v", got)
	}
	a := list("delimiter=/")
	if got := a.elements("Key"); !slices.Equal(got, []string{"a", "e"}) || a.element("CommonPrefixes", "Prefix") != "dir/" {
		t.Errorf("delimiter: %s", a.body)
	}
	var got []string
	key, id := "", ""
	for range 9 {
		a := list("max-uploads=1&key-marker=" + key + "&upload-id-marker=" + id)
		got = append(got, a.elements("UploadId")...)
		if truncated := a.element("IsTruncated") == "true"; truncated != (a.element("NextKeyMarker") != "") {
			t.Fatalf("row 81: %s", a.body)
		}
		if key, id = a.element("NextKeyMarker"), a.element("NextUploadIdMarker"); key == "" {
			break
		}
	}
	if !slices.Equal(got, ids) {
		t.Errorf("in pages of one: %v, want %v", got, ids)
	}
	if got := list("key-marker=dir/b").elements("Key"); !slices.Equal(got, []string{"dir/c", "e"}) {
		t.Errorf("after a key: %v", got)
	}
	if got := list("max-uploads=0"); len(got.elements("Key")) != 0 || got.element("IsTruncated") != "false" {
		t.Errorf("max-uploads=0: %s", got.body)
	}
	s.get("/bucket?uploads&max-uploads=x").want(400, "InvalidArgument")
	s.get("/nobucket?uploads").want(404, "NoSuchBucket")
}
