package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strconv"
	"strings"
)

// Values of x-amz-content-sha256 that are not a hash.
const (
	unsignedPayload        = "UNSIGNED-PAYLOAD"
	streamingSigned        = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingSignedTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamingUnsigned      = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	streamingPrefix        = "STREAMING-"
)

// trailerNames are the trailers that S3 knows.
var trailerNames = [...]string{
	"x-amz-checksum-crc32", "x-amz-checksum-crc32c", "x-amz-checksum-crc64nvme",
	"x-amz-checksum-sha1", "x-amz-checksum-sha256",
}

// Auth is an authenticated request. It keeps no memory of the Request.
type Auth struct {
	Identity  Identity
	Presigned bool

	payload payload
	hash    [sha256.Size]byte // that the body must have, of payloadHashed
	decoded int64             // x-amz-decoded-content-length; -1 if absent or invalid
	framed  bool              // aws-chunked was announced apart from payload
	sized   bool              // x-amz-decoded-content-length was sent
	trailer string            // one of trailerNames, or ""
	badName bool              // x-amz-trailer names something else
	exposed bool              // a body would need TLS, which there is not

	key  *signingKey // of payloads with signed chunks
	time [len(timeFormat)]byte
	seed [2 * sha256.Size]byte // the request's signature, in hex
}

// payload is how the signature covers the body.
type payload uint8

const (
	payloadUnsigned payload = iota
	payloadHashed
	payloadSigned        // chunks with signatures
	payloadSignedTrailer // and a signed trailer
	payloadUnsignedTrailer
)

// signedChunks tells whether chunks carry signatures.
func (p payload) signedChunks() bool { return p == payloadSigned || p == payloadSignedTrailer }

// hasTrailer tells whether a trailer follows the last chunk.
func (p payload) hasTrailer() bool { return p == payloadSignedTrailer || p == payloadUnsignedTrailer }

// describe notes all that the body's reader will need of the request.
func (a *Auth) describe(r *Request, s *scratch, c *claim, tlsOnly bool) error {
	if err := a.describePayload(c.payload); err != nil {
		return err
	}
	if a.Identity.Anonymous && a.payload.signedChunks() {
		return fail(InvalidRequest, "Signed chunks need a signed request.")
	}
	a.exposed = tlsOnly && !r.Secure && (a.payload == payloadUnsigned || a.payload == payloadUnsignedTrailer)
	a.decoded = -1
	if value := s.header("x-amz-decoded-content-length"); value != "" {
		a.framed, a.sized = true, true
		if n, err := strconv.ParseUint(value, 10, 63); err == nil {
			a.decoded = int64(n)
		}
	}
	for i := range s.headers {
		a.describeHeader(s.headers[i].name, s.headers[i].value)
	}
	return nil
}

func (a *Auth) describeHeader(name, value string) {
	switch {
	case strings.EqualFold(name, "content-encoding"):
		for coding := range strings.SplitSeq(value, ",") {
			a.framed = a.framed || strings.EqualFold(strings.TrimSpace(coding), "aws-chunked")
		}
	case strings.EqualFold(name, "x-amz-trailer"):
		a.trailer = trailerName(strings.TrimSpace(value))
		a.badName = a.trailer == ""
	}
}

// trailerName returns the known name that equals name but for case, or "".
func trailerName(name string) string {
	for _, known := range trailerNames {
		if strings.EqualFold(name, known) {
			return known
		}
	}
	return ""
}

func (a *Auth) describePayload(value string) error {
	switch value {
	case "", unsignedPayload:
		a.payload = payloadUnsigned
	case streamingSigned:
		a.payload = payloadSigned
	case streamingSignedTrailer:
		a.payload = payloadSignedTrailer
	case streamingUnsigned:
		a.payload = payloadUnsignedTrailer
	default:
		if n, err := hex.Decode(a.hash[:], []byte(value[:min(len(value), 2*sha256.Size)])); err != nil || n != sha256.Size || len(value) != 2*sha256.Size {
			return fail(InvalidArgument, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
		}
		a.payload = payloadHashed
	}
	return nil
}

// Body returns the reader that verifies the request's body. raw must say io.EOF only where the
// HTTP framing ends, and not where the connection was cut; it may be nil if there is no
// body. contentLength is the value of the header, negative without one.
func (a *Auth) Body(raw io.Reader, contentLength int64) (*Body, error) {
	if raw == nil {
		raw, contentLength = eof{}, 0
	}
	streaming := a.payload.signedChunks() || a.payload.hasTrailer()
	switch {
	case a.exposed && contentLength != 0:
		return nil, fail(AccessDenied, "Unsigned payloads are allowed over TLS only.")
	case !streaming && !a.framed:
		return newPlain(a, raw, contentLength), nil
	case !streaming && !a.sized && (a.payload == payloadHashed || contentLength == 0):
		// Content-Encoding: aws-chunked alone, on bytes that are signed as they are or on none.
		return newPlain(a, raw, contentLength), nil
	case a.payload == payloadHashed:
		return nil, fail(InvalidRequest, "A body in aws-chunked encoding needs a STREAMING value in x-amz-content-sha256.")
	case a.decoded < 0:
		return nil, fail(MissingContentLength, "You must provide the x-amz-decoded-content-length HTTP header.")
	case a.badName:
		return nil, fail(InvalidRequest, "The value specified in the x-amz-trailer header is not supported")
	case a.payload.hasTrailer() && a.trailer == "":
		return nil, fail(MalformedTrailer, "The request contained trailing data that was not well-formed or did not conform to our published schema.")
	}
	return newFramed(a, raw, contentLength), nil
}

// eof is a body of nothing.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
