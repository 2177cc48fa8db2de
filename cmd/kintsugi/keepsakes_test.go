package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Keepsakes are a little of everything that a store keeps: what one release or one process put, another must find.
const (
	keepsakeBucket  = "photos"
	keepsakeHistory = "history"
	keepsakeEmpty   = "nothing"
	keepsakeType    = "image/x-keepsake"

	firstPartSize  = 5 << 20 // the smallest that S3 allows
	secondPartSize = 1000
)

// keepsakeSizes are in bytes, by key: in the metadata, of one chunk, of two, of two parts.
var keepsakeSizes = map[string]int{
	"a/empty": 0, "a/inline": 100, "a/inline, the most": 16 << 10, "a/sharded, the least": 16<<10 + 1,
	"b/one chunk": 300_000, "b/two chunks": 9<<20 + 1, "parts": firstPartSize + secondPartSize, "ünïcode/ö": 40_000,
}

// keepsakeVersions are the sizes of the versions of the key "doc", the oldest first. A delete marker is on top of them.
var keepsakeVersions = []int{50, 40_000, 60}

// keepsake is what key holds: of a short period, so that an archive of it is small.
func keepsake(key string, version, size int) []byte {
	const period = 1021
	b := bytes.Repeat(body(key, version, period), size/period+1)
	return b[:size]
}

// putKeepsakes makes them, and leaves one upload unfinished.
func putKeepsakes(t *testing.T, c *s3.Client) {
	t.Helper()
	for _, bucket := range []string{keepsakeBucket, keepsakeHistory, keepsakeEmpty} {
		mustCreateBucket(t, c, bucket)
	}
	for key, size := range keepsakeSizes {
		if key == "parts" {
			continue
		}
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(keepsakeBucket), Key: &key, Body: bytes.NewReader(keepsake(key, 0, size)),
			ContentType: aws.String(keepsakeType), Metadata: map[string]string{"from": "grandmother"},
			ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		})
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	ctx := t.Context()
	must(t, put(ctx, c, keepsakeBucket, "deleted", keepsake("deleted", 0, 50_000)))
	_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(keepsakeBucket), Key: aws.String("deleted")})
	must(t, err)
	finishUpload(t, c, "parts", startUpload(t, c, "parts"))
	startUpload(t, c, "unfinished")
	putVersions(t, c)
}

func putVersions(t *testing.T, c *s3.Client) {
	t.Helper()
	_, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: aws.String(keepsakeHistory), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	must(t, err)
	for i, size := range keepsakeVersions {
		must(t, put(t.Context(), c, keepsakeHistory, "doc", keepsake("doc", i, size)))
	}
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(keepsakeHistory), Key: aws.String("doc")})
	must(t, err)
}

// startUpload begins an upload of two parts with the first of them.
func startUpload(t *testing.T, c *s3.Client, key string) (id string) {
	t.Helper()
	started, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: aws.String(keepsakeBucket), Key: &key, ContentType: aws.String(keepsakeType), Metadata: map[string]string{"from": "grandmother"},
	})
	must(t, err)
	putPart(t, c, key, *started.UploadId, 1)
	return *started.UploadId
}

func putPart(t *testing.T, c *s3.Client, key, id string, number int32) {
	t.Helper()
	part := keepsake(key, 0, firstPartSize+secondPartSize)[:firstPartSize]
	if number == 2 {
		part = keepsake(key, 0, firstPartSize+secondPartSize)[firstPartSize:]
	}
	_, err := c.UploadPart(t.Context(), &s3.UploadPartInput{
		Bucket: aws.String(keepsakeBucket), Key: &key, UploadId: &id, PartNumber: &number, Body: bytes.NewReader(part),
	})
	must(t, err)
}

// finishUpload adds the second part and completes the upload with what the server has of both.
func finishUpload(t *testing.T, c *s3.Client, key, id string) {
	t.Helper()
	putPart(t, c, key, id, 2)
	listed, err := c.ListParts(t.Context(), &s3.ListPartsInput{Bucket: aws.String(keepsakeBucket), Key: &key, UploadId: &id})
	must(t, err)
	var parts []types.CompletedPart
	for _, p := range listed.Parts {
		parts = append(parts, types.CompletedPart{PartNumber: p.PartNumber, ETag: p.ETag})
	}
	_, err = c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: aws.String(keepsakeBucket), Key: &key, UploadId: &id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	must(t, err)
}

// checkKeepsakes wants every one of them, byte for byte, and nothing else.
func checkKeepsakes(t *testing.T, c *s3.Client) {
	t.Helper()
	ctx := t.Context()
	buckets, err := c.ListBuckets(ctx, nil)
	must(t, err)
	if len(buckets.Buckets) != 3 {
		t.Errorf("buckets: %v, want three", buckets.Buckets)
	}
	listed, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(keepsakeBucket)})
	must(t, err)
	if len(listed.Contents) != len(keepsakeSizes) {
		t.Errorf("%d objects are listed, want %d", len(listed.Contents), len(keepsakeSizes))
	}
	for _, o := range listed.Contents {
		if size, ok := keepsakeSizes[*o.Key]; !ok || *o.Size != int64(size) {
			t.Errorf("%s is listed with %d bytes, want %d", *o.Key, *o.Size, size)
		}
	}
	for key, size := range keepsakeSizes {
		checkKeepsake(t, c, key, size)
	}
	checkVersions(t, c)
}

func checkKeepsake(t *testing.T, c *s3.Client, key string, size int) {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(keepsakeBucket), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return
	}
	defer out.Body.Close()
	got, err := io.ReadAll(out.Body) // the SDK compares the checksum
	if err != nil || !bytes.Equal(got, keepsake(key, 0, size)) {
		t.Errorf("%s: %d bytes of %d, or others than were put: %v", key, len(got), size, err)
	}
	if aws.ToString(out.ContentType) != keepsakeType || out.Metadata["from"] != "grandmother" {
		t.Errorf("%s: headers %q, %v", key, aws.ToString(out.ContentType), out.Metadata)
	}
	if isParts := strings.HasSuffix(aws.ToString(out.ETag), `-2"`); isParts != (key == "parts") {
		t.Errorf("%s: ETag %s", key, aws.ToString(out.ETag))
	}
}

// checkVersions wants all versions under a delete marker.
func checkVersions(t *testing.T, c *s3.Client) {
	t.Helper()
	_, err := get(t.Context(), c, keepsakeHistory, "doc")
	if errorCode(err) != "NoSuchKey" {
		t.Errorf("what is deleted answers %v", err)
	}
	listed, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String(keepsakeHistory)})
	must(t, err)
	if len(listed.DeleteMarkers) != 1 || len(listed.Versions) != len(keepsakeVersions) {
		t.Fatalf("%d markers, %d versions", len(listed.DeleteMarkers), len(listed.Versions))
	}
	slices.Reverse(listed.Versions) // the newest comes first
	for i, v := range listed.Versions {
		got, err := getVersion(t.Context(), c, *v.VersionId)
		if err != nil || !bytes.Equal(got, keepsake("doc", i, keepsakeVersions[i])) {
			t.Errorf("version %d: %d bytes, %v", i, len(got), err)
		}
	}
}

func getVersion(ctx context.Context, c *s3.Client, id string) ([]byte, error) {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(keepsakeHistory), Key: aws.String("doc"), VersionId: &id})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

// checkUnfinished completes the upload that was left, and removes what comes of it.
func checkUnfinished(t *testing.T, c *s3.Client) {
	t.Helper()
	const key = "unfinished"
	bucket := aws.String(keepsakeBucket)
	uploads, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: bucket})
	must(t, err)
	if len(uploads.Uploads) != 1 || *uploads.Uploads[0].Key != key {
		t.Fatalf("uploads: %v", uploads.Uploads)
	}
	finishUpload(t, c, key, *uploads.Uploads[0].UploadId)
	got, err := get(t.Context(), c, keepsakeBucket, key)
	if err != nil || !bytes.Equal(got, keepsake(key, 0, firstPartSize+secondPartSize)) {
		t.Fatal(fmt.Errorf("%d bytes: %w", len(got), err))
	}
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String(key)})
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
