package workload

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"kintsugi/bench/chaos/history"
)

// loadOn is a load on a server, of which nothing is under way.
func loadOn(t *testing.T, h http.HandlerFunc) *Load {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	l, err := New(Config{Endpoints: []string{server.URL}, AccessKey: "key", SecretKey: "secret", Region: "us-east-1", Bucket: "bucket", Seed: 1, Clients: 1, Keys: 1,
		Timeout: time.Minute, Mix: Mix{history.Get: 1}, Sizes: []SizeShare{{1, 100, 1}}}, history.NewLog(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What is certain about an upload that is completed and aborted at once follows from what was answered to its completion.
func TestCompleteOrAbort(t *testing.T) {
	for _, c := range []struct {
		name, answer string // to the completion
		status       int
		want         history.Outcome
		doubtful     bool
	}{
		{"completed", "<CompleteMultipartUploadResult><Bucket>bucket</Bucket><ETag>e</ETag></CompleteMultipartUploadResult>", 200, history.OK, false},
		{"aborted", "<Error><Code>NoSuchUpload</Code></Error>", 404, history.Conflict, false},
		{"nobody knows", "<Error><Code>InternalError</Code></Error>", 500, history.Unavailable, true},
		{"a lie", "<Error><Code>NoSuchBucket</Code></Error>", 404, history.Rejected, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := loadOn(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // what a client cannot send it notices itself
				switch {
				case r.Method == http.MethodPut:
					w.Header().Set("ETag", `"part"`)
				case r.URL.Query().Has("uploads"):
					fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
				case r.Method == http.MethodPost:
					w.WriteHeader(c.status)
					fmt.Fprint(w, c.answer)
				}
			})
			if got := l.client(0).completeOrAbort(t.Context(), 0); got != c.want {
				t.Errorf("got %s", got)
			}
			ops := l.log.Snapshot().Ops
			if len(ops) != 1 || ops[0].Kind != history.Abort || ops[0].Doubtful() != c.doubtful {
				t.Errorf("got %v, %v", ops, l.log.Snapshot().Messages)
			}
		})
	}
}

// A write by hand has no effect for certain until its last byte was sent.
func TestOddPut(t *testing.T) {
	l := loadOn(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil && n == r.ContentLength && r.Header.Get("X-Amz-Meta-Chaos-Version") == "1" {
			w.Header().Set("ETag", `"e"`)
		}
	})
	c := &client{load: l, rand: rand.New(rand.NewPCG(1, 1))}
	x, conn, body, err := c.oddPut(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !x.op.Odd || !x.op.Partial || x.op.Doubtful() {
		t.Errorf("before its body was sent: %+v", x.op)
	}
	if _, err := io.Copy(conn, body); err != nil {
		t.Fatal(err)
	}
	x.op.Partial = false
	resp, err := conn.answer(http.MethodPut)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("ETag"); got != `"e"` {
		t.Errorf("the server has not got the whole request: ETag %q", got)
	}
	if x.endAs(history.Aborted, 0, nil); !l.log.Snapshot().Ops[0].Doubtful() {
		t.Error("a write that was sent whole is not held for possible")
	}
}
