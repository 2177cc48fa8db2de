package gateway

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"kintsugi/meta"
)

// awsClient is the AWS library with its default settings.
func (s *testServer) awsClient() *s3.Client {
	return s3.New(s3.Options{
		Region: testRegion, BaseEndpoint: aws.String("http://" + s.address), UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: testAccessKey, SecretAccessKey: testSecretKey}, nil
		}),
	})
}

func TestAWSMultipart(t *testing.T) {
	s := withBucket(t)
	c, ctx := s.awsClient(), t.Context()
	bucket, key := aws.String("bucket"), aws.String("dir/a key+ü")
	opened, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for i, body := range []string{minPart, "tail"} {
		number := aws.Int32(int32(i + 1))
		part, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: opened.UploadId, PartNumber: number, Body: strings.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: number, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32})
	}
	done, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: key, UploadId: opened.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(done.ETag) != wantETag(t, minPart, "tail") || !strings.HasSuffix(aws.ToString(done.ChecksumCRC32), "-2") {
		t.Errorf("ETag %s, checksum %s", aws.ToString(done.ETag), aws.ToString(done.ChecksumCRC32))
	}
	copied, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("bucket/dir/a%20key%2B%C3%BC")})
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToString(copied.CopyObjectResult.ChecksumCRC32); got != crcOf(meta.CRC32, minPart+"tail") {
		t.Errorf("checksum of the copy: %s", got)
	}
	got, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("copy")}) // the library verifies the checksum
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if body, err := io.ReadAll(got.Body); err != nil || string(body) != minPart+"tail" {
		t.Errorf("%d bytes of the copy, %v", len(body), err)
	}
	attributes, err := c.GetObjectAttributes(ctx, &s3.GetObjectAttributesInput{Bucket: bucket, Key: key,
		ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesEtag, types.ObjectAttributesObjectParts}})
	if err != nil || aws.ToInt32(attributes.ObjectParts.TotalPartsCount) != 2 {
		t.Errorf("attributes %+v, %v", attributes, err)
	}
}

func TestMinioMultipart(t *testing.T) {
	s := withBucket(t)
	c, err := minio.NewCore(s.address, &minio.Options{Creds: credentials.NewStaticV4(testAccessKey, testSecretKey, ""), Region: testRegion})
	if err != nil {
		t.Fatal(err)
	}
	body := minPart + minPart[:1000]
	info, err := c.Client.PutObject(t.Context(), "bucket", "key", bytes.NewReader([]byte(body)), int64(len(body)), minio.PutObjectOptions{PartSize: minPartBytes})
	if err != nil {
		t.Fatal(err)
	}
	if quote(info.ETag) != wantETag(t, minPart, minPart[:1000]) {
		t.Errorf("ETag %s", info.ETag)
	}
	s.get("/bucket/key").want(200, "").wantBody(body)
	if _, err := c.ComposeObject(t.Context(), minio.CopyDestOptions{Bucket: "bucket", Object: "composed"},
		minio.CopySrcOptions{Bucket: "bucket", Object: "key"}, minio.CopySrcOptions{Bucket: "bucket", Object: "key"}); err != nil {
		t.Fatal(err)
	}
	s.get("/bucket/composed").want(200, "").wantBody(body + body)
	for upload := range c.ListIncompleteUploads(t.Context(), "bucket", "", true) {
		t.Errorf("left open: %+v", upload)
	}
}
