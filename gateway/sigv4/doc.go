// Package sigv4 authenticates requests by AWS Signature Version 4 (header,
// presigned URL, or none: anonymous) and hands out the only way to the body: a
// reader that verifies what the signature says of it while it passes by.
//
// It works on the raw request line and headers, exactly as they were received,
// and knows no HTTP library. It must not know what a bucket, an object or a
// right is.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
package sigv4
