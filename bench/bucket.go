package bench

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"

	"github.com/minio/sha256-simd"
)

// ensureBucket makes the bucket unless it is there.
func (r *run) ensureBucket() error {
	w := r.workers[0]
	_, err := w.client.do(w.bucketRequest("HEAD", ""), nil)
	var failure *Error
	if errors.As(err, &failure) && failure.Status == 404 {
		_, err = w.client.do(w.bucketRequest("PUT", ""), nil)
		r.created = err == nil
	}
	if err != nil {
		return fmt.Errorf("bench: bucket %s at %s: %w", r.config.Bucket, r.config.Endpoint, err)
	}
	return nil
}

// cleanup deletes every key below the prefix, and the bucket if this run made it.
func (r *run) cleanup() error {
	w := r.workers[0]
	for {
		// Always the first page: what it showed is gone when it is asked for again.
		body, err := w.listBody(r.config.Prefix, "", "")
		if err != nil {
			return fmt.Errorf("bench: cleanup: %w", err)
		}
		var page struct {
			Contents []struct{ Key string }
		}
		if err := xml.Unmarshal(body, &page); err != nil {
			return fmt.Errorf("bench: cleanup: %w", err)
		}
		if len(page.Contents) == 0 {
			break
		}
		var request bytes.Buffer
		request.WriteString("<Delete><Quiet>true</Quiet>")
		for _, c := range page.Contents {
			request.WriteString("<Object><Key>")
			_ = xml.EscapeText(&request, []byte(c.Key)) // a Buffer takes everything
			request.WriteString("</Key></Object>")
		}
		request.WriteString("</Delete>")
		if err := w.deleteObjects(request.Bytes()); err != nil {
			return fmt.Errorf("bench: cleanup: %w", err)
		}
	}
	if !r.created {
		return nil
	}
	if _, err := w.client.do(w.bucketRequest("DELETE", ""), nil); err != nil {
		return fmt.Errorf("bench: cleanup: %w", err)
	}
	return nil
}

func (w *worker) deleteObjects(body []byte) error {
	r := w.bucketRequest("POST", "delete=")
	md5Sum, shaSum := md5.Sum(body), sha256.Sum256(body)
	r.body, r.contentMD5 = body, base64.StdEncoding.EncodeToString(md5Sum[:])
	r.payloadHash = hex.EncodeToString(shaSum[:])
	var answer []byte
	if _, err := w.client.do(r, func(p []byte) { answer = append(answer, p...) }); err != nil {
		return err
	}
	if bytes.Contains(answer, []byte("<Error>")) {
		failure := &Error{Status: 200, body: answer}
		failure.Code, _ = textOf(answer, "Code")
		failure.Message, _ = textOf(answer, "Message")
		return failure
	}
	return nil
}
