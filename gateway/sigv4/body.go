package sigv4

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// hashPiece bounds a read that is hashed, in bytes, so that it is hashed while in the cache.
const hashPiece = 1 << 20

// Body is a request's payload, without framing. Read returns io.EOF only after all
// that the signature promises was verified, and where the length is known it keeps back
// the last bytes until then: whoever has read the whole payload has a verified one.
type Body struct {
	source  source
	length  int64
	trailer *frames // nil without one
	err     error
}

// source is one way to frame and verify a body.
type source interface{ read(p []byte) (int, error) }

// Read implements io.Reader. Errors are an *Error or the connection's, and final.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.source.read(p)
	b.err = err
	return n, err
}

// DecodedLength returns the number of payload bytes, -1 if it is not known beforehand.
func (b *Body) DecodedLength() int64 { return b.length }

// Trailer returns the value of a trailer (name in lower case), "" if there is none. Valid after io.EOF.
func (b *Body) Trailer(name string) string {
	if b.trailer == nil || b.err != io.EOF || name != b.trailer.trailer {
		return ""
	}
	return b.trailer.value
}

// plain is a body without framing of its own.
type plain struct {
	raw  io.Reader
	left int64     // bytes to come; negative: unknown
	sum  hash.Hash // nil: not signed
	want [sha256.Size]byte
}

func newPlain(a *Auth, raw io.Reader, length int64) *Body {
	p := &plain{raw: raw, left: length, want: a.hash}
	if a.payload == payloadHashed {
		p.sum = sha256.New()
	}
	return &Body{source: p, length: max(length, -1)}
}

func (b *plain) read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.verified(io.EOF)
	}
	if b.sum != nil {
		p = p[:min(len(p), hashPiece)]
	}
	if b.left > 0 {
		p = p[:min(int64(len(p)), b.left)]
	}
	n, err := b.raw.Read(p)
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case b.left == 0:
		if err := b.verified(nil); err != nil {
			return 0, err
		}
		return n, nil
	case b.left > 0 && errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return 0, incomplete()
	case err == io.EOF:
		if err = b.verified(io.EOF); err != io.EOF {
			return 0, err
		}
	}
	return n, err
}

// verified returns ok if the hash is the promised one.
func (b *plain) verified(ok error) error {
	if b.sum == nil {
		return ok
	}
	var got [sha256.Size]byte
	b.sum.Sum(got[:0])
	if !bytes.Equal(got[:], b.want[:]) {
		return fail(SHA256Mismatch, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	b.sum = nil
	return ok
}
