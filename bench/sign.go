package bench

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"time"
)

const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	chunkedPayload  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	emptySHA256     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	amzTimeLayout   = "20060102T150405Z"
)

// signer makes AWS Signature Version 4 for one worker. It keeps the day's key and
// the second's time stamp, and allocates nothing per request. Not for concurrent use.
type signer struct {
	accessKey, secretKey string
	region               string

	second int64  // Unix time that stamp is of
	stamp  []byte // 20060102T150405Z
	scope  []byte // date/region/s3/aws4_request
	mac    hash.Hash
	digest hash.Hash

	canonical []byte
	toSign    []byte
	sum       []byte
	signature []byte // hex of the last signature; the seed of a chunk chain
}

func newSigner(c Config) *signer {
	return &signer{accessKey: c.AccessKey, secretKey: c.SecretKey, region: c.Region, digest: sha256.New()}
}

// at moves the signer to the time t and returns its time stamp.
func (s *signer) at(t time.Time) []byte {
	if t.Unix() == s.second {
		return s.stamp
	}
	s.second = t.Unix()
	day := string(s.stamp[:min(len(s.stamp), 8)])
	s.stamp = t.UTC().AppendFormat(s.stamp[:0], amzTimeLayout)
	if today := string(s.stamp[:8]); today != day {
		key := []byte("AWS4" + s.secretKey)
		for _, part := range []string{today, s.region, "s3", "aws4_request"} {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(part))
			key = mac.Sum(nil)
		}
		s.mac = hmac.New(sha256.New, key)
		s.scope = append(s.scope[:0], today+"/"+s.region+"/s3/aws4_request"...)
	}
	return s.stamp
}

// appendHeaders appends the headers that authenticate r at the time t to dst.
func (s *signer) appendHeaders(dst []byte, r *request, t time.Time) []byte {
	stamp := s.at(t)
	signed := "host;x-amz-content-sha256;x-amz-date"
	c := append(s.canonical[:0], r.method...)
	c = append(append(c, '\n'), r.path...)
	c = append(append(c, '\n'), r.query...)
	c = append(append(c, "\nhost:"...), r.host...)
	c = append(append(c, "\nx-amz-content-sha256:"...), r.payloadHash...)
	c = append(append(c, "\nx-amz-date:"...), stamp...)
	if r.decodedLength != "" {
		signed += ";x-amz-decoded-content-length"
		c = append(append(c, "\nx-amz-decoded-content-length:"...), r.decodedLength...)
	}
	c = append(append(c, "\n\n"...), signed...)
	s.canonical = append(append(c, '\n'), r.payloadHash...)
	s.sign("AWS4-HMAC-SHA256", s.canonical)

	dst = append(append(dst, "x-amz-date: "...), stamp...)
	dst = append(append(dst, "\r\nx-amz-content-sha256: "...), r.payloadHash...)
	if r.decodedLength != "" {
		dst = append(append(dst, "\r\nx-amz-decoded-content-length: "...), r.decodedLength...)
	}
	dst = append(append(dst, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential="...), s.accessKey...)
	dst = append(append(dst, '/'), s.scope...)
	dst = append(append(dst, ",SignedHeaders="...), signed...)
	dst = append(append(dst, ",Signature="...), s.signature...)
	return append(dst, "\r\n"...)
}

// sign leaves in s.signature the hex signature over the SHA-256 of canonical.
func (s *signer) sign(algorithm string, canonical []byte) {
	s.digest.Reset()
	s.digest.Write(canonical)
	s.sum = s.digest.Sum(s.sum[:0])
	s.startToSign(algorithm)
	s.toSign = hex.AppendEncode(s.toSign, s.sum)
	s.finish()
}

// signChunk leaves in s.signature that of a chunk which follows the last signature.
func (s *signer) signChunk(chunk []byte) {
	s.digest.Reset()
	s.digest.Write(chunk)
	s.sum = s.digest.Sum(s.sum[:0])
	s.startToSign("AWS4-HMAC-SHA256-PAYLOAD")
	s.toSign = append(append(s.toSign, s.signature...), '\n')
	s.toSign = append(s.toSign, emptySHA256+"\n"...)
	s.toSign = hex.AppendEncode(s.toSign, s.sum)
	s.finish()
}

func (s *signer) startToSign(algorithm string) {
	s.toSign = append(append(s.toSign[:0], algorithm...), '\n')
	s.toSign = append(append(s.toSign, s.stamp...), '\n')
	s.toSign = append(append(s.toSign, s.scope...), '\n')
}

func (s *signer) finish() {
	s.mac.Reset()
	s.mac.Write(s.toSign)
	s.sum = s.mac.Sum(s.sum[:0])
	s.signature = hex.AppendEncode(s.signature[:0], s.sum)
}
