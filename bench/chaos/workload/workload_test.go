package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minio/minio-go/v7"

	"kintsugi/bench/chaos/history"
)

func TestClassify(t *testing.T) {
	answer := func(status int, code string) error { return minio.ErrorResponse{StatusCode: status, Code: code} }
	call := func(err error) error { return &url.Error{Op: "Get", URL: "http://x", Err: err} }
	for _, c := range []struct {
		name   string
		err    error
		want   history.Outcome
		status uint16
	}{
		{"well", nil, history.OK, 200},
		{"no key", answer(404, "NoSuchKey"), history.Absent, 404},
		{"no bucket", answer(404, "NoSuchBucket"), history.Rejected, 404},
		{"no upload", answer(404, "NoSuchUpload"), history.Rejected, 404},
		{"condition", answer(412, "PreconditionFailed"), history.Refused, 412},
		{"conflict", answer(409, "ConditionalRequestConflict"), history.Conflict, 409},
		{"slow down", answer(503, "SlowDown"), history.Unavailable, 503},
		{"too many", answer(429, ""), history.Unavailable, 429},
		{"error in a 200", answer(200, "InternalError"), history.Unavailable, 200},
		{"forbidden", answer(403, "AccessDenied"), history.Rejected, 403},
		{"nobody listens", call(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), history.Unreachable, 0},
		{"no route in time", call(&net.OpError{Op: "dial", Err: context.DeadlineExceeded}), history.Unreachable, 0},
		{"no answer in time", call(context.DeadlineExceeded), history.Timeout, 0},
		{"cut", call(io.ErrUnexpectedEOF), history.Aborted, 0},
		{"reset", call(&net.OpError{Op: "read", Err: syscall.ECONNRESET}), history.Aborted, 0},
		{"anything", errors.New("what?"), history.Aborted, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, status := classify(c.err); got != c.want || status != c.status {
				t.Errorf("got %s, %d; want %s, %d", got, status, c.want, c.status)
			}
		})
	}
}

func TestMixAndSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	c := Config{Mix: Mix{history.Get: 3, history.Put: 1}, Sizes: []SizeShare{{1, 1, 1}, {100, 200, 3}}}
	kinds, sizes := map[history.Kind]int{}, map[string]int{}
	for range 4000 {
		kinds[c.Mix.kind(r)]++
		size := c.size(r)
		if size != 1 && (size < 100 || size > 200) {
			t.Fatalf("size %d", size)
		}
		sizes[fmt.Sprint(size == 1)]++
	}
	if n := kinds[history.Get]; n < 2800 || n > 3200 || n+kinds[history.Put] != 4000 {
		t.Errorf("kinds %v", kinds)
	}
	if n := sizes["true"]; n < 850 || n > 1150 {
		t.Errorf("sizes %v", sizes)
	}
}

// After a stall there must be no burst.
func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(Config{Clients: 2, Rate: 20}, rand.New(rand.NewPCG(1, 1)))
		count := func(d time.Duration) (n int) {
			for until := time.Now().Add(d); time.Now().Before(until); n++ {
				p.wait(t.Context())
			}
			return n
		}
		if n := count(10 * time.Second); n < 90 || n > 110 {
			t.Errorf("%d operations in 10 s, want about 100", n)
		}
		time.Sleep(time.Minute) // an operation that takes long
		if n := count(time.Second); n > 20 {
			t.Errorf("%d operations in the second after a stall", n)
		}
	})
}
