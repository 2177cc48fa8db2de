// Package checksum computes and compares what S3 promises of an object's bytes: the
// MD5 that is the ETag, one of five checksums, and how those of parts become those of
// a whole. It reads and writes their forms in headers.
//
// It must not know HTTP, buckets or where bytes are kept.
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
package checksum
