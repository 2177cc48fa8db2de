package workload

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7"

	"kintsugi/bench/chaos/history"
)

// line is a connection on which HTTP is spoken by hand, so that a request can end anywhere and take any time.
type line struct {
	net.Conn
	answers *bufio.Reader
}

// signedTime is how long the signature of a request by hand is good.
const signedTime = time.Hour

// smallWindow keeps much of what is not read yet at the server, in bytes. Less than some packets of the loopback interface would stall it altogether.
const smallWindow = 256 << 10

// dial connects to the endpoint.
func (s *store) dial(ctx context.Context) (*line, error) {
	u := s.core.EndpointURL()
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(smallWindow) // a larger one does, too
	if u.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: u.Hostname()})
	}
	return &line{conn, bufio.NewReader(conn)}, nil
}

// head is the beginning of a request for a key: everything but the body. It is signed; that of the body is not.
func (s *store) head(ctx context.Context, method string, key int32, version uint32, size int64) ([]byte, error) {
	more := http.Header{}
	if method == http.MethodPut {
		more.Set("X-Amz-Meta-"+versionHeader, strconv.FormatUint(uint64(version), 10))
	}
	u, err := s.core.PresignHeader(ctx, method, s.bucket, history.KeyName(key), signedTime, nil, more)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, u.RequestURI(), u.Host)
	if method == http.MethodPut {
		fmt.Fprintf(&text, "Content-Length: %d\r\n", size)
	}
	if err := more.Write(&text); err != nil {
		return nil, err
	}
	text.WriteString("\r\n")
	return text.Bytes(), nil
}

// answer reads the answer to a request up to its body. An answer that is an error is one like those of the library.
func (l *line) answer(method string) (*http.Response, error) {
	resp, err := http.ReadResponse(l.answers, &http.Request{Method: method})
	if err == nil && resp.StatusCode >= http.StatusMultipleChoices {
		resp.Body.Close()
		code := ""
		if resp.StatusCode == http.StatusNotFound {
			code = minio.NoSuchKey
		}
		err = minio.ErrorResponse{StatusCode: resp.StatusCode, Code: code}
	}
	return resp, err
}

// slam ends the connection with a reset, and what is on its way is lost.
func (l *line) slam() {
	if tcp, ok := l.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = l.Close()
}
