package gateway

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/valyala/fasthttp"
)

// respond sets status and the headers that every answer has. Handlers call it once.
func (r *request) respond(status int) *fasthttp.ResponseHeader {
	r.status = status
	h := &r.ctx.Response.Header
	r.ctx.Response.SetStatusCode(status)
	h.DisableNormalizing()
	h.Set("x-amz-request-id", r.id)
	h.Set("x-amz-id-2", r.server.hostID)
	return h
}

// empty answers without a body.
func (r *request) empty(status int) error {
	r.respond(status)
	return nil
}

// document answers with XML. It takes the document over.
func (r *request) document(status int, d *document) error {
	h := r.respond(status)
	h.SetContentType("application/xml")
	r.ctx.Response.SetBodyStream(&documentBody{document: d}, len(d.buf))
	return nil
}

// documentBody writes a document and gives its buffer back.
type documentBody struct{ *document }

func (b *documentBody) Read([]byte) (int, error) { return 0, io.EOF }

// WriteTo is what fasthttp uses.
func (b *documentBody) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b.buf)
	return int64(n), err
}

func (b *documentBody) Close() error {
	b.free()
	return nil
}

// fail answers with an error document.
func (r *request) fail(err error) {
	answer := answerTo(err)
	if answer.Status >= fasthttp.StatusInternalServerError && answer.Code != errNotImplemented.Code && answer.Code != errSlowDown.Code {
		r.server.config.Logger.Warn("request failed", slog.String("request", r.id), slog.String("code", answer.Code),
			slog.String("method", r.method), slog.String("bucket", r.bucket), slog.String("key", r.key), slog.Any("error", err))
	}
	r.server.metrics.failed(answer.Code)
	r.ctx.Response.ResetBody()
	r.ctx.Response.Header.Reset()
	r.ctx.Response.Header.SetNoDefaultContentType(true)
	h := r.respond(answer.Status)
	if errors.Is(err, errFraming) {
		h.SetConnectionClose() // where the next request begins is anyone's guess
	}
	for _, f := range answer.header {
		h.Set(f.name, f.value)
	}
	if r.route != nil && r.bucket != "" {
		h.Set("x-amz-bucket-region", r.server.config.Region)
	}
	if r.method == fasthttp.MethodHead || answer.Status == fasthttp.StatusNotModified {
		return
	}
	h.SetContentType("application/xml")
	r.ctx.Response.SetBody(r.errorDocument(answer))
}

func (r *request) errorDocument(answer *s3Error) []byte {
	d := &document{buf: append(make([]byte, 0, 512), xmlHeader...)}
	d.open("Error")
	d.text("Code", answer.Code)
	d.text("Message", answer.Message)
	if r.bucket != "" {
		d.text("BucketName", r.bucket)
	}
	if r.key != "" {
		d.text("Key", r.key)
	}
	for _, f := range answer.fields {
		d.text(f.name, f.value)
	}
	d.text("Resource", r.path)
	d.text("RequestId", r.id)
	d.text("HostId", r.server.hostID)
	d.close("Error")
	return d.buf
}

// httpDate renders Unix milliseconds for a header.
func httpDate(milliseconds int64) string {
	return string(fasthttp.AppendHTTPDate(nil, time.UnixMilli(milliseconds)))
}
