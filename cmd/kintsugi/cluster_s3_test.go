package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// plainClient speaks S3 with as little processor time as will do: on a small machine the client must not be the
// load. Nothing is ever tried again.
type plainClient struct {
	endpoint string
	bucket   string
	http     *http.Client
	signer   *v4.Signer
}

func newPlainClient(endpoint, bucket string) *plainClient {
	return &plainClient{
		endpoint: endpoint, bucket: bucket, signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
		http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
	}
}

// answerError is an answer that says no.
type answerError struct {
	status int
	code   string // S3's
}

func (e *answerError) Error() string { return fmt.Sprintf("%d %s", e.status, e.code) }

// do sends one request and reads the whole answer.
func (c *plainClient) do(ctx context.Context, method, key, query string, body []byte, header ...string) ([]byte, http.Header, error) {
	target := c.endpoint + "/" + c.bucket
	if key != "" {
		target += "/" + key
	}
	if query != "" {
		target += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	const unsigned = "UNSIGNED-PAYLOAD"
	req.Header.Set("X-Amz-Content-Sha256", unsigned)
	keys := aws.Credentials{AccessKeyID: testAccessKey, SecretAccessKey: testSecretKey}
	if err := c.signer.SignHTTP(ctx, keys, req, unsigned, "s3", "us-east-1", time.Now()); err != nil {
		return nil, nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	if n, err := strconv.Atoi(resp.Header.Get("Content-Length")); err == nil && method != http.MethodHead {
		answer.Grow(n + bytes.MinRead)
	}
	if _, err := answer.ReadFrom(resp.Body); err != nil {
		return nil, nil, fmt.Errorf("after %d bytes: %w", answer.Len(), err)
	}
	if resp.StatusCode >= 300 {
		return nil, resp.Header, &answerError{resp.StatusCode, between(answer.String(), "<Code>", "</Code>")}
	}
	return answer.Bytes(), resp.Header, nil
}

func between(s, open, end string) string {
	_, s, _ = strings.Cut(s, open)
	s, _, _ = strings.Cut(s, end)
	return s
}

// list returns the keys below a prefix with their sizes, all pages.
func (c *plainClient) list(ctx context.Context, prefix string) (map[string]int, error) {
	found, token := map[string]int{}, ""
	for {
		query := "list-type=2&prefix=" + url.QueryEscape(prefix)
		if token != "" {
			query += "&continuation-token=" + url.QueryEscape(token)
		}
		answer, _, err := c.do(ctx, http.MethodGet, "", query, nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Contents []struct {
				Key  string
				Size int
			}
			NextContinuationToken string
		}
		if err := xml.Unmarshal(answer, &page); err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			found[o.Key] = o.Size
		}
		if token = page.NextContinuationToken; token == "" {
			return found, nil
		}
	}
}

// putParts writes data in parts of 5 MiB.
func (c *plainClient) putParts(ctx context.Context, key string, data []byte) error {
	const partBytes = 5 << 20
	answer, _, err := c.do(ctx, http.MethodPost, key, "uploads=", nil)
	if err != nil {
		return err
	}
	upload := url.QueryEscape(between(string(answer), "<UploadId>", "</UploadId>"))
	var list strings.Builder
	for part := 1; len(data) > 0; part++ {
		n := min(len(data), partBytes)
		_, header, err := c.do(ctx, http.MethodPut, key, fmt.Sprintf("partNumber=%d&uploadId=%s", part, upload), data[:n])
		if err != nil {
			return fmt.Errorf("part %d: %w", part, err)
		}
		data = data[n:]
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", part, header.Get("ETag"))
	}
	answer, _, err = c.do(ctx, http.MethodPost, key, "uploadId="+upload,
		[]byte("<CompleteMultipartUpload>"+list.String()+"</CompleteMultipartUpload>"))
	if code := between(string(answer), "<Code>", "</Code>"); err == nil && code != "" {
		err = &answerError{http.StatusOK, code}
	}
	return err
}
