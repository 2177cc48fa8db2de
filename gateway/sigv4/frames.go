package sigv4

import (
	"bytes"
	"errors"
	"io"
)

// The aws-chunked framing, for each chunk but the last:
//
//	hex(size) [";chunk-signature=" hex64] CRLF size bytes CRLF
//
// then a chunk of size 0, which in place of its bytes may have trailer lines
// ("name:value" LF or CRLF), the signature of these, and an empty line.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
const (
	minChunk     = 8192 // bytes, of all chunks but the last with any
	maxLine      = 512  // bytes
	maxIdleReads = 100  // reads without a byte or an error
	signatureTag = ";chunk-signature="
)

// frames takes the payload out of an aws-chunked body. Payload is read straight into the
// caller's memory; only chunk lines and trailers pass through buf.
type frames struct {
	raw     io.Reader
	encoded int64 // bytes that Content-Length still promises; negative: unknown
	decoded int64 // payload bytes still to come
	chunk   int64 // of these, in the current chunk
	started bool  // a chunk line was read
	short   bool  // the current chunk is smaller than minChunk
	done    bool

	signer  *chunkSigner // nil: chunks are not signed
	signed  bool         // the trailer is signed
	trailer string       // name of the expected trailer, "" if none
	value   string       // of the trailer

	buf  [maxLine]byte
	r, w int // buf[r:w] was read and not yet used
}

func newFramed(a *Auth, raw io.Reader, length int64) *Body {
	f := &frames{raw: raw, encoded: length, decoded: a.decoded, trailer: a.trailer}
	if !a.payload.hasTrailer() {
		f.trailer = ""
	}
	if a.payload.signedChunks() {
		f.signer = newChunkSigner(a)
		f.signed = a.payload == payloadSignedTrailer
	}
	return &Body{source: f, length: a.decoded, trailer: f}
}

func (f *frames) read(p []byte) (int, error) {
	if f.done {
		return 0, io.EOF
	}
	if f.chunk == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
		if f.done {
			return 0, io.EOF
		}
	}
	n, err := f.payload(p[:min(int64(len(p)), f.chunk)])
	if err != nil {
		return 0, err
	}
	f.chunk -= int64(n)
	f.decoded -= int64(n)
	if f.chunk == 0 && f.signer != nil {
		if err := f.signer.verify(); err != nil {
			return 0, err
		}
	}
	if f.decoded == 0 { // the caller has all: hand it over only when the end is verified, too
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// payload reads bytes of the chunk, those first that came along with its line.
func (f *frames) payload(p []byte) (n int, err error) {
	if f.signer != nil {
		p = p[:min(len(p), hashPiece)]
	}
	if f.r < f.w {
		n = copy(p, f.buf[f.r:f.w])
		f.r += n
	} else if n, err = f.more(p); err != nil {
		return 0, err
	}
	if f.signer != nil {
		f.signer.sum.Write(p[:n])
	}
	return n, nil
}

// more reads at least a byte from the connection.
func (f *frames) more(p []byte) (int, error) {
	if f.encoded == 0 {
		return 0, incomplete()
	}
	if f.encoded > 0 {
		p = p[:min(int64(len(p)), f.encoded)]
	}
	for range maxIdleReads {
		n, err := f.raw.Read(p)
		if n > 0 {
			f.encoded -= int64(n)
			return n, nil // an error comes again with the next read
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, incomplete()
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// next reads the line of the next chunk, and all that follows if it is the last.
func (f *frames) next() error {
	if f.started {
		if line, err := f.line(); err != nil {
			return err
		} else if len(line) != 0 {
			return malformed()
		}
	}
	f.started = true
	line, err := f.line()
	if err != nil {
		return err
	}
	size, err := f.chunkLine(line)
	if err != nil {
		return err
	}
	if size == 0 {
		return f.finish()
	}
	if f.short {
		return fail(InvalidChunkSize, "Only the last chunk is allowed to have a size less than 8192 bytes")
	}
	if size > f.decoded {
		return incomplete()
	}
	f.chunk, f.short = size, size < minChunk
	return nil
}

// chunkLine parses a chunk's size and keeps its signature.
func (f *frames) chunkLine(line []byte) (int64, error) {
	digits := line
	if f.signer != nil {
		i := bytes.IndexByte(line, ';')
		if i < 0 || !bytes.HasPrefix(line[i:], []byte(signatureTag)) {
			return 0, badSignature()
		}
		digits = line[:i]
		if !f.signer.announce(line[i+len(signatureTag):]) {
			return 0, badSignature()
		}
	}
	if len(digits) == 0 || len(digits) > 15 {
		return 0, malformed()
	}
	var size int64
	for _, c := range digits {
		if !isHex(c) {
			return 0, malformed()
		}
		size = size<<4 | int64(unhex(c))
	}
	return size, nil
}

// finish verifies the last chunk and the trailer, and that nothing follows.
func (f *frames) finish() error {
	if f.decoded != 0 {
		return incomplete()
	}
	if f.signer != nil {
		if err := f.signer.verify(); err != nil {
			return err
		}
	}
	if f.trailer != "" {
		if err := f.readTrailer(); err != nil {
			return err
		}
	} else if line, err := f.line(); err != nil {
		return err
	} else if len(line) != 0 {
		return malformed()
	}
	return f.end()
}

// end makes sure that the body ends here, which also lets the connection's own framing come to its end.
func (f *frames) end() error {
	if f.r < f.w || f.encoded > 0 {
		return malformed()
	}
	if f.encoded < 0 {
		if _, err := f.more(f.buf[:1]); err == nil {
			return malformed()
		} else if !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
	}
	f.done = true
	return nil
}

// line returns the next line without its end. It is valid until the next call.
func (f *frames) line() ([]byte, error) {
	for {
		if i := bytes.IndexByte(f.buf[f.r:f.w], '\n'); i >= 0 {
			line := f.buf[f.r : f.r+i]
			f.r += i + 1
			return bytes.TrimSuffix(line, []byte{'\r'}), nil
		}
		f.w = copy(f.buf[:], f.buf[f.r:f.w])
		f.r = 0
		if f.w == len(f.buf) {
			return nil, malformed()
		}
		n, err := f.more(f.buf[f.w:])
		if err != nil {
			return nil, err
		}
		f.w += n
	}
}

func malformed() error {
	return fail(InvalidRequest, "The body is not well-formed aws-chunked encoding.")
}
