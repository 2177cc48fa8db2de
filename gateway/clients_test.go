package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// TestAWSClient uses the SDK as it comes: checksum trailers, path style alone is set.
func TestAWSClient(t *testing.T) {
	server := newTestServer(t)
	client := s3.New(s3.Options{
		BaseEndpoint: aws.String("http://" + server.address),
		Region:       testRegion,
		UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: testAccessKey, SecretAccessKey: testSecretKey}, nil
		}),
	})
	ctx, bucket := t.Context(), aws.String("sdk-bucket")
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		body := pattern(size)
		key := aws.String("dir/key with spaces+ü")
		put, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(body), Metadata: map[string]string{"a": "b"}})
		if err != nil {
			t.Fatalf("put %d bytes: %v", size, err)
		}
		get, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
		if err != nil {
			t.Fatalf("get %d bytes: %v", size, err)
		}
		got, err := io.ReadAll(get.Body)
		if err != nil || string(got) != body || *get.ETag != *put.ETag || get.Metadata["a"] != "b" {
			t.Errorf("%d bytes: got %d bytes, %v", size, len(got), err)
		}
		get.Body.Close()
	}
	page, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Delimiter: aws.String("/")})
	if err != nil || len(page.CommonPrefixes) != 1 || *page.CommonPrefixes[0].Prefix != "dir/" {
		t.Errorf("list: %+v, %v", page, err)
	}
	var missing *types.NoSuchKey
	if _, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("missing")}); !errors.As(err, &missing) {
		t.Errorf("missing key: %v", err)
	}
	var notFound *types.NotFound
	if _, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String("missing")}); !errors.As(err, &notFound) {
		t.Errorf("head of a missing key: %v", err)
	}
	deleted, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("dir/key with spaces+ü")}}}})
	if err != nil || len(deleted.Deleted) != 1 {
		t.Errorf("delete: %+v, %v", deleted, err)
	}
	if _, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket}); err != nil {
		t.Error(err)
	}
}

// TestMinioClient covers signed chunks, and bodies of unknown length.
func TestMinioClient(t *testing.T) {
	server := newTestServer(t)
	client, err := minio.New(server.address, &minio.Options{Creds: credentials.NewStaticV4(testAccessKey, testSecretKey, "")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, bucket := t.Context(), "minio-bucket"
	if err := client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		body := pattern(size)
		if _, err := client.PutObject(ctx, bucket, "key", strings.NewReader(body), int64(size), minio.PutObjectOptions{}); err != nil {
			t.Fatalf("put %d bytes: %v", size, err)
		}
		object, err := client.GetObject(ctx, bucket, "key", minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(object)
		if err != nil || !bytes.Equal(got, []byte(body)) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		object.Close()
	}
	names := 0
	for object := range client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
		if object.Err != nil || object.Key != "key" {
			t.Errorf("listed %+v", object)
		}
		names++
	}
	if names != 1 {
		t.Errorf("listed %d keys", names)
	}
	if _, err := client.StatObject(ctx, bucket, "missing", minio.StatObjectOptions{}); minio.ToErrorResponse(err).Code != "NoSuchKey" {
		t.Errorf("missing key: %v", err)
	}
	if err := client.RemoveObject(ctx, bucket, "key", minio.RemoveObjectOptions{}); err != nil {
		t.Error(err)
	}
	if err := client.RemoveBucket(ctx, bucket); err != nil {
		t.Error(err)
	}
}
