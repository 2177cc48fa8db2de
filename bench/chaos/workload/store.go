package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"kintsugi/bench/chaos/history"
)

// store is one endpoint of the service.
type store struct {
	core   *minio.Core
	bucket string
	number uint8
	dead   atomic.Int64 // until when nobody should ask it, in nanoseconds of time.Now
}

// versionHeader carries the version of a body beside it.
const versionHeader = "Chaos-Version"

// dialTimeout bounds the wait for a connection: on a machine that is there it takes no time.
const dialTimeout = 3 * time.Second

// avoidTime is how long an endpoint that took no connection is left alone, as a load balancer would.
const avoidTime = 500 * time.Millisecond

func newStore(c Config, number int) (*store, error) {
	u, err := url.Parse(c.Endpoints[number])
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("workload: endpoint %q is no URL such as http://127.0.0.1:9000", c.Endpoints[number])
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		MaxIdleConnsPerHost: c.Clients,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true,
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds:      credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Secure:     u.Scheme == "https",
		Region:     c.Region,
		Transport:  once{transport},
		MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("workload: %w", err)
	}
	return &store{core: core, bucket: c.Bucket, number: uint8(number)}, nil
}

// once keeps package http from sending a request again by itself: it does so only with bodies that it can have again.
type once struct{ next http.RoundTripper }

func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodDelete: // others are not sent again, or only if nothing was sent
		clone := *r // a RoundTripper must not change the request
		clone.Body, clone.GetBody = opaque{http.NoBody}, nil
		r = &clone
	}
	return o.next.RoundTrip(r)
}

// opaque hides what body it is.
type opaque struct{ io.ReadCloser }

// classify says how an operation with this error ended. The status is 0 if there was no answer.
func classify(err error) (history.Outcome, uint16) {
	if err == nil {
		return history.OK, http.StatusOK
	}
	var answer minio.ErrorResponse
	if errors.As(err, &answer) && answer.StatusCode != 0 {
		return classifyStatus(answer), uint16(answer.StatusCode)
	}
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), isDial(err):
		return history.Unreachable, 0
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return history.Timeout, 0
	}
	return history.Aborted, 0
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func classifyStatus(e minio.ErrorResponse) history.Outcome {
	switch {
	case e.StatusCode == http.StatusNotFound && (e.Code == minio.NoSuchKey || e.Code == ""):
		return history.Absent
	case e.StatusCode == http.StatusPreconditionFailed:
		return history.Refused
	case e.StatusCode == http.StatusConflict:
		return history.Conflict
	case e.StatusCode >= 500 || e.StatusCode == http.StatusTooManyRequests:
		return history.Unavailable
	case e.StatusCode == http.StatusOK && e.Code != "": // an error in the body of a 200, as S3 does it
		return history.Unavailable
	}
	return history.Rejected
}
