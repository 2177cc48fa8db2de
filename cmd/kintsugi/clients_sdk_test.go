package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
	miniocredentials "github.com/minio/minio-go/v7/pkg/credentials"
)

// randomBytes returns n bytes that are the same in every run.
func randomBytes(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(p) // never fails
	return p
}

// newSDK returns a client of the AWS SDK with the settings that it has by default.
func (c *clientTest) newSDK() *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &c.server.endpoint, UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: testAccessKey, SecretAccessKey: testSecretKey}, nil
		}),
	})
}

func (c *clientTest) sdkGo(t *testing.T) {
	client, bucket := c.newSDK(), aws.String("sdk-go")
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	for name, sizeBytes := range map[string]int{"empty": 0, "small": 11, "inline/edge": 16 << 10, "chunk": 8<<20 + 1} {
		t.Run(strings.ReplaceAll(name, "/", "-"), func(t *testing.T) { sdkRoundTrip(t, client, bucket, name, sizeBytes) })
	}
	t.Run("multipart", func(t *testing.T) { sdkMultipart(t, client, bucket) })
	t.Run("conditions", func(t *testing.T) { sdkConditions(t, client, bucket) })
	t.Run("delete", func(t *testing.T) { sdkDelete(t, client, bucket) })
}

func sdkRoundTrip(t *testing.T, client *s3.Client, bucket *string, key string, sizeBytes int) {
	body := randomBytes(sizeBytes)
	put, err := client.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: bucket, Key: &key, Body: bytes.NewReader(body), Metadata: map[string]string{"who": "me"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := aws.ToString(put.ETag), fmt.Sprintf("%q", fmt.Sprintf("%x", md5.Sum(body))); got != want {
		t.Errorf("ETag: got %s, want %s", got, want)
	}
	got, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	back, err := io.ReadAll(got.Body)
	if err != nil || !bytes.Equal(back, body) {
		t.Errorf("got %d bytes back, %v, want the %d that were put", len(back), err, len(body))
	}
	if got.Metadata["who"] != "me" {
		t.Errorf("metadata: got %v", got.Metadata)
	}
}

func sdkMultipart(t *testing.T, client *s3.Client, bucket *string) {
	key, body, partBytes := aws.String("multipart"), randomBytes(12<<20), 5<<20
	upload, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for off := 0; off < len(body); off += partBytes {
		number := aws.Int32(int32(off/partBytes) + 1)
		part, err := client.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: upload.UploadId,
			PartNumber: number, Body: bytes.NewReader(body[off:min(off+partBytes, len(body))])})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: number, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32})
	}
	if _, err := client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: key,
		UploadId: upload.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}); err != nil {
		t.Fatal(err)
	}
	got, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=5000000-9999999")})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if back, err := io.ReadAll(got.Body); err != nil || !bytes.Equal(back, body[5_000_000:10_000_000]) {
		t.Errorf("a range over parts: got %d other bytes, %v", len(back), err)
	}
}

func sdkConditions(t *testing.T, client *s3.Client, bucket *string) {
	put := &s3.PutObjectInput{Bucket: bucket, Key: aws.String("once"), IfNoneMatch: aws.String("*")}
	put.Body = strings.NewReader("first")
	if _, err := client.PutObject(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	put.Body = strings.NewReader("second")
	if _, err := client.PutObject(t.Context(), put); errorCode(err) != "PreconditionFailed" {
		t.Errorf("If-None-Match on a key that exists: got %v", err)
	}
	_, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: aws.String("missing")})
	var noSuchKey *types.NoSuchKey
	if !errors.As(err, &noSuchKey) {
		t.Errorf("a missing key: got %v, want NoSuchKey", err)
	}
}

func sdkDelete(t *testing.T, client *s3.Client, bucket *string) {
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(2)})
	var all []types.ObjectIdentifier
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			all = append(all, types.ObjectIdentifier{Key: o.Key})
		}
	}
	if len(all) != 6 {
		t.Errorf("listed %d objects, want 6", len(all))
	}
	if _, err := client.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: all}}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: bucket}); err != nil {
		t.Error(err)
	}
}

// minioGo speaks the other dialect: signed chunks, and the library that mc is made of.
func (c *clientTest) minioGo(t *testing.T) {
	endpoint, err := url.Parse(c.server.endpoint)
	if err != nil {
		t.Fatal(err)
	}
	client, err := minio.New(endpoint.Host, &minio.Options{Creds: miniocredentials.NewStaticV4(testAccessKey, testSecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	const bucket = "minio-go"
	if err := client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, sizeBytes := range map[string]int{"empty": 0, "small": 5, "chunks": 200_001, "multipart": 17 << 20} {
		t.Run(name, func(t *testing.T) { minioRoundTrip(t, client, bucket, name, sizeBytes) })
	}
	for object := range client.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		if object.Err != nil {
			t.Fatal(object.Err)
		}
		if err := client.RemoveObject(t.Context(), bucket, object.Key, minio.RemoveObjectOptions{}); err != nil {
			t.Error(err)
		}
	}
	if err := client.RemoveBucket(t.Context(), bucket); err != nil {
		t.Error(err)
	}
}

func minioRoundTrip(t *testing.T, client *minio.Client, bucket, key string, sizeBytes int) {
	body := randomBytes(sizeBytes)
	if _, err := client.PutObject(t.Context(), bucket, key, bytes.NewReader(body), int64(sizeBytes), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	object, err := client.GetObject(t.Context(), bucket, key, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	back, err := io.ReadAll(object)
	if err != nil || !bytes.Equal(back, body) {
		t.Errorf("got %d bytes back, %v, want the %d that were put", len(back), err, sizeBytes)
	}
}
