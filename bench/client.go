package bench

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	readBufferBytes   = 64 << 10
	bodyPieceBytes    = 256 << 10 // read at once from a large body
	maxErrorBodyBytes = 16 << 10
)

// request is one S3 request; path and query are escaped as they are sent and signed.
type request struct {
	method      string
	host        string
	path        []byte
	query       string // keys in order, values escaped: also the canonical query
	payloadHash string
	contentMD5  string // base64, for DeleteObjects
	body        []byte // as it is sent

	decodedLength string // of a body in signed chunks
}

// response is what a request brought. The body went to the sink.
type response struct {
	status    int
	bodyBytes int64
}

// client is one worker's connection. It speaks HTTP/1.1 on it directly, for the
// sake of its own processor time: one system call sends a request, fasthttp's
// parser reads the answer's header and the body is read into a buffer that is
// used again. Not for concurrent use.
type client struct {
	address string
	host    string
	tls     *tls.Config // nil for http
	timeout time.Duration
	signer  *signer // nil for anonymous requests

	conn   net.Conn // nil before the first request and after a failure
	in     *bufio.Reader
	header fasthttp.ResponseHeader
	server string // what the endpoint called itself last

	head    []byte
	encoded []byte // the body in signed chunks
	piece   []byte // of an answer's body
	out     [2][]byte
	buffers net.Buffers
}

func newClient(c Config) *client {
	endpoint, _ := url.Parse(c.Endpoint) // Config was validated
	cl := &client{address: endpoint.Host, host: endpoint.Host, timeout: c.Timeout, piece: make([]byte, bodyPieceBytes)}
	port := "80"
	if endpoint.Scheme == "https" {
		port = "443"
		// The user asked for it, against a server with a certificate of its own.
		cl.tls = &tls.Config{ServerName: endpoint.Hostname(), InsecureSkipVerify: c.Insecure}
	}
	if endpoint.Port() == "" {
		cl.address = net.JoinHostPort(endpoint.Hostname(), port)
	}
	if c.AccessKey != "" {
		cl.signer = newSigner(c)
	}
	return cl
}

func (c *client) close() {
	if c.conn != nil {
		// There is nothing to lose with a connection that is given up.
		_ = c.conn.Close()
		c.conn = nil
	}
}

// do sends r and gives the answer's body to sink, piece by piece; sink may be nil.
// An answer other than 2xx is an *Error. It ends by itself after the timeout: a
// request that was sent is always awaited, so that a stopped run counts what was done.
func (c *client) do(r *request, sink func([]byte)) (response, error) {
	r.host = c.host
	reused := c.conn != nil
	resp, started, err := c.attempt(r, sink)
	if err != nil && reused && !started && !isTimeout(err) {
		// The server closed the connection while it was idle: every client tries once more.
		resp, _, err = c.attempt(r, sink)
	}
	return resp, err
}

// attempt also reports whether any of the answer had arrived.
func (c *client) attempt(r *request, sink func([]byte)) (resp response, started bool, err error) {
	if err := c.connect(); err != nil {
		return response{}, false, err
	}
	writeErr := c.send(r)
	if writeErr != nil {
		// A server that refuses a body answers before it has read all of it.
		_ = c.conn.SetReadDeadline(time.Now().Add(time.Second))
	}
	if started, err = c.readHeader(); err != nil {
		c.close()
		return response{}, started, errors.Join(writeErr, err)
	}
	resp, err = c.readBody(r, sink)
	var failure *Error
	if writeErr != nil || c.header.ConnectionClose() || err != nil && !errors.As(err, &failure) {
		c.close()
	}
	return resp, true, err
}

// connect makes sure of a connection and gives it the time of one request.
func (c *client) connect() error {
	deadline := time.Now().Add(c.timeout)
	if c.conn != nil {
		return c.conn.SetDeadline(deadline)
	}
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.Dial("tcp", c.address)
	if err != nil {
		return err
	}
	if c.tls != nil {
		conn = tls.Client(conn, c.tls)
	}
	c.conn, c.in = conn, bufio.NewReaderSize(conn, readBufferBytes)
	return c.conn.SetDeadline(deadline)
}

// send writes header and body with one system call.
func (c *client) send(r *request) error {
	h := append(append(c.head[:0], r.method...), ' ')
	h = append(h, r.path...)
	if r.query != "" {
		h = append(append(h, '?'), r.query...)
	}
	h = append(append(h, " HTTP/1.1\r\nHost: "...), r.host...)
	h = append(h, "\r\n"...)
	if c.signer != nil {
		h = c.signer.appendHeaders(h, r, time.Now())
	}
	if r.contentMD5 != "" {
		h = append(append(append(h, "Content-MD5: "...), r.contentMD5...), "\r\n"...)
	}
	body := r.body
	if r.decodedLength != "" {
		h = append(h, "Content-Encoding: aws-chunked\r\n"...)
		c.encoded = appendSignedChunks(slices.Grow(c.encoded[:0], chunkedSize(len(body))), body, c.signer)
		body = c.encoded
	}
	if r.method != "GET" && r.method != "HEAD" {
		h = strconv.AppendInt(append(h, "Content-Length: "...), int64(len(body)), 10)
		h = append(h, "\r\n"...)
	}
	c.head = append(h, "\r\n"...)
	if len(body) == 0 {
		_, err := c.conn.Write(c.head)
		return err
	}
	c.out = [2][]byte{c.head, body}
	c.buffers = c.out[:]
	_, err := c.buffers.WriteTo(c.conn)
	return err
}

func (c *client) readHeader() (started bool, err error) {
	for {
		if _, err := c.in.Peek(1); err != nil {
			return started, err
		}
		started = true
		if err := c.header.Read(c.in); err != nil {
			return true, err
		}
		if c.header.StatusCode() >= 200 {
			return true, nil
		}
	}
}

// readBody reads the body to its end, so that the connection can be used again.
func (c *client) readBody(r *request, sink func([]byte)) (response, error) {
	resp := response{status: c.header.StatusCode()}
	if server := c.header.Server(); string(server) != c.server {
		c.server = string(server)
	}
	var failure *Error
	if resp.status < 200 || resp.status > 299 {
		failure = &Error{Status: resp.status}
		sink = failure.collect
	}
	length := int64(c.header.ContentLength())
	if r.method != "HEAD" && resp.status != 204 && resp.status != 304 && length != 0 {
		var err error
		if resp.bodyBytes, err = c.drain(length, sink); err != nil {
			return resp, fmt.Errorf("body of status %d after %d bytes: %w", resp.status, resp.bodyBytes, err)
		}
	}
	if failure != nil {
		failure.parse()
		return resp, failure
	}
	return resp, nil
}

// drain reads a body of length bytes; -1 stands for chunked, -2 for up to the end.
func (c *client) drain(length int64, sink func([]byte)) (int64, error) {
	var from io.Reader = c.in
	switch {
	case length == -1:
		from = httputil.NewChunkedReader(c.in)
	case length < 0:
		length = -1
	}
	var n int64
	for n != length {
		want := c.piece
		if length >= 0 {
			want = want[:min(int64(len(want)), length-n)]
		}
		got, err := from.Read(want)
		n += int64(got)
		if sink != nil {
			sink(want[:got])
		}
		if err == io.EOF && length < 0 {
			return n, c.afterChunks()
		}
		if err == io.EOF && n < length {
			return n, io.ErrUnexpectedEOF
		}
		if err != nil && n != length {
			return n, err
		}
	}
	return n, nil
}

// afterChunks skips the trailer and the empty line that end a chunked body.
func (c *client) afterChunks() error {
	if c.header.ConnectionClose() {
		return nil
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			return nil
		}
	}
}
