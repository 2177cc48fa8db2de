package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/valyala/fasthttp"

	"kintsugi/gateway/sigv4"
)

const (
	// maxHeaderBytes bounds names and values of the header, as S3 does.
	maxHeaderBytes = 8 << 10

	// maxQueryParameters is far more than any operation has.
	maxQueryParameters = 64

	contentLength    = "content-length:"
	transferEncoding = "transfer-encoding:"
)

var errFraming = errors.New("message framing is ambiguous")

// request is one request from its header to the last byte of its answer. All
// its strings are copies: they do not alias the connection's buffers.
type request struct {
	server  *Server
	ctx     *fasthttp.RequestCtx
	conn    *conn
	id      string // x-amz-request-id
	started time.Time

	method string
	host   string
	target
	query   query
	headers headers

	auth  *sigv4.Auth
	route *route
	raw   rawBody
	body  *sigv4.Body // nil until openBody
	put   upload      // what checkPut found in the header

	admitted  bool // counts among the requests in flight
	streaming bool // finish comes with the end of the answer's body
	status    int
}

// newRequestID returns 16 hexadecimal digits. Writes carry the id into the metadata, so
// that a command that is sent twice is executed once.
func newRequestID() string {
	var text [16]byte
	n := rand.Uint64()
	for i := range text {
		text[i] = "0123456789ABCDEF"[n&15]
		n >>= 4
	}
	return string(text[:])
}

// begin prepares r, new or released, for a request.
func (r *request) begin(s *Server, ctx *fasthttp.RequestCtx) {
	r.server, r.ctx = s, ctx
	r.id = newRequestID()
	r.started = time.Now()
	r.conn, _ = ctx.Conn().(*conn)
	r.raw.conn = r.conn
}

// parse reads the header, strictly. Nothing of it is believed yet.
func (r *request) parse() error {
	h := &r.ctx.Request.Header
	r.method = string(h.Method())
	r.host = string(h.Host())
	if err := checkFraming(h); err != nil {
		return err
	}
	r.headers.read(h)
	if len(r.headers.bytes) > maxHeaderBytes {
		return errRequestHeaderTooLarge
	}
	var err error
	if r.target, err = parseTarget(string(h.RequestURI()), r.host, r.server.config.Domains); err != nil {
		return err
	}
	if bytes.Count(h.RequestURI(), []byte{'&'}) > maxQueryParameters {
		return errInvalidURI
	}
	r.query, err = parseQuery(r.query, r.rawQuery)
	return err
}

// checkFraming refuses what something in front of us may have read otherwise: both
// Content-Length and Transfer-Encoding, of which fasthttp lets the latter win, any transfer coding but
// chunked, which fasthttp may ignore, lines that end without CR, continued lines, and another HTTP than 1.
func checkFraming(h *fasthttp.RequestHeader) error {
	version := string(h.Protocol())
	if version != "HTTP/1.1" && version != "HTTP/1.0" {
		return errFraming
	}
	sized, coded := false, false
	for line := range bytes.Lines(h.RawHeaders()) {
		if !bytes.HasSuffix(line, []byte("\r\n")) || line[0] == ' ' || line[0] == '\t' {
			return errFraming
		}
		if hasName(line, contentLength) {
			sized = true
		}
		if hasName(line, transferEncoding) {
			coded = true
			if !bytes.EqualFold(bytes.TrimSpace(line[len(transferEncoding):]), []byte("chunked")) {
				return errFraming
			}
		}
	}
	if coded && (sized || version == "HTTP/1.0") {
		return errFraming
	}
	return nil
}

// hasName tells whether a header line begins with name, which is in lower case and has its colon.
func hasName(line []byte, name string) bool {
	return len(line) > len(name) && line[0]|0x20 == name[0] && bytes.EqualFold(line[:len(name)], []byte(name))
}

// authenticate tells who sent the request.
func (r *request) authenticate() error {
	auth, err := r.server.verifier.Authenticate(&sigv4.Request{
		Method:  r.method,
		Path:    r.path,
		Query:   r.rawQuery,
		Host:    r.host,
		Secure:  r.conn.secure,
		Headers: &r.headers,
	})
	r.auth = auth
	return err
}

// authorise lets the root identity do everything and everyone else nothing.
func (r *request) authorise() error {
	if !r.auth.Identity.Anonymous {
		return nil
	}
	for _, p := range r.query {
		if _, ok := responseOverrides[p.name]; ok {
			return errInvalidRequest.withMessage("Request specific response headers cannot be used for anonymous GET requests.")
		}
	}
	return errAccessDenied
}

// openBody gives the request its verified body, of which the framing headers are checked now and the
// bytes as they are read.
func (r *request) openBody() error {
	length := int64(r.ctx.Request.Header.ContentLength())
	if length == -2 { // neither a length nor chunks: no body
		length = 0
	}
	body, err := r.auth.Body(&r.raw, length)
	r.body = body
	return err
}

// readAll returns the whole body, of at most limit bytes, verified.
func (r *request) readAll(limit int64) ([]byte, error) {
	if r.body.DecodedLength() > limit {
		return nil, errMalformedXML.withMessage("The document is too large.")
	}
	data, err := io.ReadAll(io.LimitReader(r.body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, errMalformedXML.withMessage("The document is too large.")
	}
	return data, r.checkDocument(data)
}

// context bounds an operation on metadata or data that does not wait for the client.
func (r *request) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), r.server.config.OperationTimeout)
}

// owner returns the identity's canonical user id.
func (r *request) owner() string { return r.auth.Identity.UserID }

// release drops what r refers to, so that a pooled request holds no memory of its last use.
func (r *request) release() {
	fields, marks, text, q := r.headers.fields, r.headers.marks, r.headers.bytes, r.query
	clear(fields)
	clear(q)
	*r = request{query: q[:0], headers: headers{fields: fields[:0], marks: marks[:0], bytes: text[:0]}}
}
