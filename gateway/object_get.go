package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strconv"

	"github.com/valyala/fasthttp"

	"kintsugi/gateway/blob"
	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

// getObject answers GET and HEAD.
func (r *request) getObject() error {
	ctx, cancel := r.context()
	defer cancel()
	v, consistency, err := r.readObject(ctx)
	if err != nil {
		return err
	}
	err = r.sendObject(&v)
	if consistency != meta.Eventual || !errors.Is(err, blob.ErrUnreadable) {
		return err
	}
	// The replica may have been so far behind that the blobs it names are gone.
	if v, err = r.objectRecord(ctx, r.method == get, meta.Linearizable); err != nil {
		return err
	}
	return r.sendObject(&v)
}

// sendObject answers with a version, as far as the request's conditions allow.
func (r *request) sendObject(v *meta.Version) error {
	conditions := r.parseReadConditions("")
	switch verdict, condition := conditions.judge(v.ETag, v.Modified); verdict {
	case failed:
		return errPreconditionFailed.withField("Condition", condition)
	case notModified:
		r.setValidators(r.respond(fasthttp.StatusNotModified), v)
		return nil
	}
	part, err := r.selectBytes(v)
	if err != nil {
		return err
	}
	if r.method == head || v.Inline || part.n == 0 {
		return r.answerObject(v, part, nil)
	}
	return r.openObject(v, part)
}

// selection is what of an object is sent.
type selection struct {
	span
	partial bool
	part    *meta.Part // asked for by its number
	parts   int        // of the object, where a part was asked for
}

// selectBytes applies Range and partNumber.
func (r *request) selectBytes(v *meta.Version) (selection, error) {
	s := selection{span: span{0, v.Size}}
	header := r.headers.get("range")
	if text, ok := r.query.lookup("partNumber"); ok {
		if header != "" {
			return s, errInvalidRequest.withMessage("Cannot specify both Range header and partNumber query parameter")
		}
		return selectPart(v, text)
	}
	if header == "" || !r.rangeApplies(v) {
		return s, nil
	}
	var err error
	s.span, s.partial, err = parseRange(header, v.Size)
	return s, err
}

// rangeApplies evaluates If-Range: the range counts only if the object is still the one
// that the client has the other part of.
func (r *request) rangeApplies(v *meta.Version) bool {
	condition := r.headers.get("if-range")
	if condition == "" {
		return true
	}
	if date, ok := parseHTTPDate(condition); ok {
		return date.Unix() == v.Modified.Unix()
	}
	return unquoteETag(condition) == v.ETag
}

// selectPart returns the bytes of a part of a multipart object; any other object is its own first part.
func selectPart(v *meta.Version, text string) (selection, error) {
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || number > 10_000 {
		return selection{}, errInvalidArgument.withMessage("Part number must be an integer between 1 and 10000, inclusive").
			withField("ArgumentName", "partNumber").withField("ArgumentValue", text)
	}
	s := selection{span: span{0, v.Size}, partial: true}
	if len(v.Parts) == 0 && number == 1 {
		return s, nil
	}
	if number > len(v.Parts) {
		return s, errInvalidPartNumber.withField("PartNumberRequested", text).withField("ActualPartCount", formatInt(max(1, len(v.Parts))))
	}
	s.parts = len(v.Parts)
	s.part = &v.Parts[number-1]
	for i := range number - 1 {
		s.off += v.Parts[i].Size
	}
	s.n = s.part.Size
	return s, nil
}

// answerObject sets the answer's headers and, unless the body is a stream, the body.
func (r *request) answerObject(v *meta.Version, s selection, stream *objectBody) error {
	status := fasthttp.StatusOK
	if s.partial {
		status = fasthttp.StatusPartialContent
	}
	h := r.respond(status)
	if err := r.setObjectHeaders(h, v); err != nil {
		return err
	}
	if s.partial && v.Size > 0 {
		h.Set("Content-Range", s.contentRange(v.Size))
	}
	if s.parts > 0 {
		h.Set("x-amz-mp-parts-count", formatInt(s.parts))
	}
	r.setChecksumHeaders(h, v, s)
	switch {
	case r.method == head:
		h.SetContentLength(int(s.n))
		r.ctx.Response.SkipBody = true
	case stream != nil:
		r.ctx.Response.SetBodyStream(stream, int(s.n))
	case s.n > 0:
		if int64(len(v.Body)) != v.Size {
			return meta.ErrCorrupt
		}
		r.ctx.Response.SetBodyRaw(v.Body[s.off : s.off+s.n])
		r.server.metrics.sent.Add(float64(s.n))
	}
	return nil
}

// setChecksumHeaders tells the checksum of what is sent to those who ask: a client compares it with
// the bytes, so it must not go with a range.
func (r *request) setChecksumHeaders(h *fasthttp.ResponseHeader, v *meta.Version, s selection) {
	sum := v.Checksum
	switch {
	case r.headers.get("x-amz-checksum-mode") != "ENABLED":
		return
	case s.part != nil:
		sum = s.part.Checksum
	case s.partial && s.n != v.Size:
		return
	}
	setChecksum(h, sum, len(v.Parts))
}

// setChecksum sets the two headers of a checksum, if there is one.
func setChecksum(h *fasthttp.ResponseHeader, sum meta.Checksum, parts int) {
	if sum.Algorithm == meta.NoChecksum {
		return
	}
	h.Set(checksum.Header(sum.Algorithm), checksum.String(sum, parts))
	h.Set("x-amz-checksum-type", checksum.Type(sum))
}

// openObject opens the body. Its first bytes are read and verified before the answer's
// header goes out, so that what cannot be read is a 503 and not a cut-off 200.
func (r *request) openObject(v *meta.Version, s selection) error {
	ctx, cancel := context.WithCancel(context.Background())
	reader, err := r.server.config.Blobs.Read(ctx, v.Blobs, s.off, s.n)
	if err != nil {
		cancel()
		return err
	}
	stream := &objectBody{request: r, reader: reader, cancel: cancel, length: s.n}
	if err := r.answerObject(v, s, stream); err != nil {
		return errors.Join(err, stream.abandon())
	}
	r.streaming = true
	return nil
}

// objectBody sends an object's bytes after the handler returned, and ends the request.
type objectBody struct {
	request *request
	reader  *blob.Reader
	cancel  context.CancelFunc
	length  int64
	closed  bool
}

// Read is called once after WriteTo and finds nothing left.
func (b *objectBody) Read(p []byte) (int, error) { return b.reader.Read(p) }

// WriteTo sends the bytes. An error cuts the connection: the client must not take what it got for the whole.
func (b *objectBody) WriteTo(w io.Writer) (int64, error) {
	n, err := b.reader.WriteTo(w)
	b.request.server.metrics.sent.Add(float64(n))
	if err == nil && n != b.length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && !b.request.conn.broken {
		b.request.server.config.Logger.Warn("object cut off", slog.String("request", b.request.id),
			slog.String("bucket", b.request.bucket), slog.String("key", b.request.key), slog.Int64("sent", n), slog.Any("error", err))
	}
	return n, err
}

// Close is called when the answer is complete or cut off.
func (b *objectBody) Close() error {
	if b.closed {
		return nil
	}
	err := b.abandon()
	b.request.server.finish(b.request)
	return err
}

// abandon gives back what the reader holds.
func (b *objectBody) abandon() error {
	b.closed = true
	err := b.reader.Close()
	b.cancel()
	return err
}

func formatInt(n int) string { return strconv.Itoa(n) }
