//go:build !race

package gateway

import (
	"strconv"
	"strings"
	"testing"

	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

// TestManyParts completes the largest upload that there is. Its parts are told to the metadata alone,
// and the race detector, which takes ten times as long over them, finds nothing that others do not.
func TestManyParts(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key", "X-Amz-Checksum-Algorithm", "SHA256")
	sum := checksum.Of(meta.SHA256, nil)
	parts := make([]string, 0, maxParts)
	for number := 1; number <= maxParts; number++ {
		part := meta.Part{Number: number, Size: 3 * minPartBytes, ETag: sum.ETag(), Checksum: sum.Checksum, Blobs: []meta.Blob{{
			ID: s.meta.NewBlobID("bucket", "key"), Size: 3 * minPartBytes, ChunkSize: 8 << 20, Runs: []meta.Run{{Chunks: 2, K: 4, M: 2, Epoch: 1}},
		}}}
		if _, err := s.meta.PutPart(t.Context(), meta.PutPart{Bucket: "bucket", Key: "key", UploadID: id, Part: part}); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, listPart(number, quote(sum.ETag()), "<ChecksumSHA256>"+checksum.String(sum.Checksum, 0)+"</ChecksumSHA256>"))
	}
	s.complete("/bucket/key", id, append(parts, parts[0])).want(400, "MalformedXML")
	if got := s.complete("/bucket/key", id, parts).want(200, "").element("ETag"); !strings.HasSuffix(got, `-10000"`) {
		t.Errorf("ETag %s", got)
	}
	s.head("/bucket/key?partNumber=10000").want(206, "").wantHeader("Content-Length", strconv.Itoa(3*minPartBytes)).wantHeader("x-amz-mp-parts-count", "10000")
}
