package rpc

import (
	"errors"
	"fmt"
	"io"
	"net"
)

const (
	// readAhead is the buffer for headers and heads. What a body has beyond it is read straight to where it belongs.
	readAhead = 4 << 10
	// copyBelow is up to which size a frame is put together for one plain write. Above, the kernel gathers its parts.
	copyBelow = 8 << 10
	// keepHead is the largest buffer for heads that a connection keeps between calls.
	keepHead = 16 << 10
)

// conn reads and writes frames on one connection. One goroutine at a time reads, one writes.
type conn struct {
	raw     net.Conn     // Close of it ends everything that waits
	rw      net.Conn     // raw, or TLS on top of it
	tcp     *net.TCPConn // rw, if it is TCP: takes many parts at once
	records *gatherConn  // below rw, if that is TLS
	version uint8
	peer    Identity
	failed  bool // an error came up: no more calls

	buf        []byte // buf[start:end] was read ahead
	start, end int

	out       []byte // the frame being put together
	inHeader  [maxHeaderSize]byte
	outHeader [maxHeaderSize]byte
	parts     [3][]byte
	vector    net.Buffers // of parts; WriteTo consumes it
}

func newConn(raw net.Conn) *conn {
	return &conn{raw: raw, rw: raw, buf: make([]byte, readAhead)}
}

// ready is called when the handshake is over.
func (c *conn) ready(version uint8, peer Identity) {
	c.version, c.peer = version, peer
	c.tcp, _ = c.rw.(*net.TCPConn)
}

// write sends a frame and returns how many bytes of it went out.
func (c *conn) write(h header, head, body []byte) (int, error) {
	h.headSize, h.bodySize = len(head), len(body)
	if h.headSize > MaxHead || h.bodySize > MaxBody {
		return 0, fmt.Errorf("%w: head of %d bytes, body of %d", ErrTooLarge, len(head), len(body))
	}
	if maxHeaderSize+len(head)+len(body) <= copyBelow {
		c.out = appendHeader(c.out[:0], c.version, h, head)
		c.out = append(append(c.out, head...), body...)
		return c.rw.Write(c.out)
	}
	encoded := appendHeader(c.outHeader[:0], c.version, h, head)
	if c.tcp != nil {
		return c.writeVector(encoded, head, body)
	}
	return c.writeRecords(encoded, head, body)
}

// writeRecords sends the parts over TLS, or a connection in memory.
func (c *conn) writeRecords(encoded, head, body []byte) (n int, err error) {
	if c.records != nil {
		c.records.begin()
		defer func() { err = errors.Join(err, c.records.flush()) }()
	}
	for _, part := range [...][]byte{encoded, head, body} {
		if len(part) == 0 {
			continue
		}
		m, err := c.rw.Write(part)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// writeVector sends the parts with one system call, where the socket takes them.
func (c *conn) writeVector(encoded, head, body []byte) (int, error) {
	c.parts = [3][]byte{encoded, head, body}
	c.vector = c.parts[:]
	n, err := c.vector.WriteTo(c.tcp)
	c.parts = [3][]byte{}
	return int(n), err
}

// read takes the header and head of the next frame; io.EOF means that there is none. The head is put into into,
// or a new slice if that is too short.
func (c *conn) read(into []byte) (header, []byte, error) {
	size := headerSize(c.version)
	if err := c.fill(size); err != nil {
		return header{}, nil, err
	}
	encoded := c.inHeader[:size] // a copy: reading the head may overwrite the buffer
	copy(encoded, c.buf[c.start:])
	h, err := parseHeader(c.version, encoded)
	if err != nil {
		return header{}, nil, err
	}
	c.start += size
	head := into[:0]
	if h.headSize > cap(into) {
		head = make([]byte, h.headSize)
	}
	head = head[:h.headSize]
	if err := c.readFull(head); err != nil {
		return header{}, nil, err
	}
	return h, head, verifyHead(c.version, encoded, head)
}

// fill reads until n bytes, at most readAhead, are there.
func (c *conn) fill(n int) error {
	if c.end-c.start >= n {
		return nil
	}
	c.end = copy(c.buf, c.buf[c.start:c.end])
	c.start = 0
	for c.end < n {
		m, err := c.rw.Read(c.buf[c.end:])
		c.end += m
		if err != nil && c.end < n {
			return cut(err, c.end > 0)
		}
	}
	return nil
}

// readFull fills p, first with what was read ahead.
func (c *conn) readFull(p []byte) error {
	n := copy(p, c.buf[c.start:c.end])
	c.start += n
	if n == len(p) {
		return nil
	}
	_, err := io.ReadFull(c.rw, p[n:])
	return cut(err, true)
}

// readSome reads what is there, at most len(p) bytes.
func (c *conn) readSome(p []byte) (int, error) {
	if c.end > c.start {
		n := copy(p, c.buf[c.start:c.end])
		c.start += n
		return n, nil
	}
	n, err := c.rw.Read(p)
	if n > 0 {
		return n, nil
	}
	return 0, cut(err, true)
}

// skip drops n bytes.
func (c *conn) skip(n int) error {
	ahead := min(n, c.end-c.start)
	c.start += ahead
	if n == ahead {
		return nil
	}
	_, err := io.CopyN(io.Discard, c.rw, int64(n-ahead))
	return cut(err, true)
}

// buffered tells whether the next n bytes were read ahead.
func (c *conn) buffered(n int) bool { return c.end-c.start >= n }

// cut makes an end within a frame different from one between frames.
func cut(err error, within bool) error {
	if err == io.EOF && within {
		return io.ErrUnexpectedEOF
	}
	return err
}
